"""Which connect failures prove that nothing listens at an address."""

from __future__ import annotations

import errno
import socket

import pytest

from ringme_async import AiohttpTransport, ConnectError, Request, Transport
from ringme_async.transports.connection_errors import connect_error
from ringme_async.transports.httptools import HttptoolsTransport

_SEVERAL = "Multiple exceptions: [Errno {}] Connect call failed, [Errno {}] Connect call failed"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), "unresolved"),
        (socket.gaierror(socket.EAI_AGAIN, "later"), None),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "refused"),
        (OSError(errno.ENETUNREACH, "unreachable"), None),
        (OSError(_SEVERAL.format(errno.ECONNREFUSED, errno.ECONNREFUSED)), "refused"),
        (OSError(_SEVERAL.format(errno.ECONNREFUSED, errno.ENETUNREACH)), None),
        (OSError("it was closed"), None),
        (UnicodeError("a label is too long"), None),
    ],
    ids=repr,
)
def test_only_a_certain_connect_failure_has_a_kind(error: BaseException, kind: str | None) -> None:
    assert connect_error("a.example:443", "no", error, direct=True).kind == kind
    assert connect_error("a.example:443", "no", error).kind is None


def a_port_that_refuses() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize("make", [AiohttpTransport, HttptoolsTransport])
async def test_a_refusing_host_differs_from_a_refusing_proxy(
    make: type[AiohttpTransport | HttptoolsTransport],
) -> None:
    url = f"http://127.0.0.1:{a_port_that_refuses()}"

    assert await kind_at(make(), f"{url}/") == "refused"
    assert await kind_at(make(proxy=url), "http://127.0.0.1:9/") is None


async def kind_at(transport: Transport, url: str) -> str | None:
    try:
        with pytest.raises(ConnectError) as caught:
            await transport.send(Request("GET", url))
    finally:
        await transport.aclose()
    return caught.value.kind
