"""How the resolver looks names up, and how long it caches addresses."""

from __future__ import annotations

import asyncio
import socket
from typing import NoReturn

import pytest

from ringme_async.errors import ConnectError
from ringme_async.transports.http11 import resolver as resolving
from ringme_async.transports.http11.resolver import Resolver
from ringme_async.transports.httptools import HttptoolsTransport
from tests.leaping import leap
from tests.transports.sending import failure_of, request
from tests.wire import answer, serving

TCP = socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, ""


def known_as(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Have each name resolve to these addresses. Returns: The names looked up."""

    async def look_up(host: str, port: int, **_: object) -> list[object]:
        asked.append(host)
        return [(*TCP, (address, port)) for address in addresses]

    asked: list[str] = []
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    return asked


async def test_addresses_are_used_for_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = known_as(monkeypatch, "127.0.0.1")
    resolver = Resolver()

    for seconds in (0, 9, 2, 9, 2):
        leap(seconds)
        await resolver.resolve("pbx.example.com", 443)

    assert len(asked) == 3


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_address_is_not_looked_up(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    asked = known_as(monkeypatch)

    ((*_, address),) = await Resolver().resolve(host, 443)

    assert address[:2] == (host, 443)
    assert asked == []


async def test_the_cache_of_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = known_as(monkeypatch, "127.0.0.1")
    monkeypatch.setattr(resolving, "_MOST_NAMES", 2)
    resolver = Resolver()

    for name in "abcbca":
        await resolver.resolve(name, 443)

    assert asked == ["a", "b", "c", "b", "a"]


async def test_a_name_without_addresses_is_not_sent_to(monkeypatch: pytest.MonkeyPatch) -> None:
    known_as(monkeypatch)
    transport = HttptoolsTransport()
    error = await failure_of(transport, request("http://pbx.example.com/"))
    await transport.aclose()

    assert type(error) is ConnectError
    assert not error.sent


async def test_an_error_of_the_loop_about_a_socket_is_a_connect_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def in_use(sock: socket.socket, address: object) -> NoReturn:
        raise RuntimeError("File descriptor 12 is used by transport <TCPTransport>")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", in_use)
    transport = HttptoolsTransport()
    async with serving(answer()) as server:
        error = await failure_of(transport, request(server.url()))
    await transport.aclose()

    assert type(error) is ConnectError
    assert not error.sent
    assert "File descriptor 12" in str(error)
