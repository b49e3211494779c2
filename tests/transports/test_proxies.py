"""Each transport meets every response of a proxy to CONNECT."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ringme_async import BearerToken, ClientUpdate, ConnectError, RetryPolicy, RingMe
from ringme_async.errors import TransportTimeout
from ringme_async.transports import Timeouts
from ringme_async.transports.aiohttp import AiohttpTransport
from tests.leaping import MINUTE
from tests.transports import certificates, sending
from tests.transports.sending import failure_of, opened, request
from tests.wire import Peer, Script, WireServer, answer, serving

pytestmark = [pytest.mark.usefixtures("each_transport"), pytest.mark.every_loop]

PATIENT = Timeouts(connect=MINUTE, attempt=10 * MINUTE)
URL = "https://pbx.example.com/"

OPEN = {
    "as usual": b"HTTP/1.1 200 Connection established\r\n\r\n",
    "no reason": b"HTTP/1.1 200\r\n\r\n",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n",
    "Connection: close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    "all at once": b"HTTP/1.0 200 OK\r\nConnection: close\r\nProxy-Connection: close\r\n\r\n",
    "length of none": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "interim answer": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "lines that end with LF": b"HTTP/1.1 200 OK\nVia: one\n\n",
    "a body": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "an empty body in chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "early bytes": b"HTTP/1.1 200 OK\r\n\r\nhello",
}
REFUSED = {
    "101": b"HTTP/1.1 101 Switching\r\n\r\n",
    "302": b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
    "407": b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 5\r\n\r\nhello",
    "407 of HTTP/1.0": b"HTTP/1.0 407 No\r\n\r\nhello",
    "502 with half a body": b"HTTP/1.1 502 Bad\r\nContent-Length: 500\r\n\r\nhello",
}
NO_HTTP = {
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a head of another": b"220 mail.example.com ESMTP\r\n\r\n",
    "HTTP/1.1 without a status": b"HTTP/1.1 OK\r\n\r\n",
}


def relaying(reply: bytes, server: WireServer) -> Script:
    """Make a proxy that sends some bytes and then relays to one server."""

    async def relay(peer: Peer) -> None:
        asked = await peer.request()
        assert asked.startswith(b"CONNECT pbx.example.com:443 HTTP/1.1\r\n")
        await peer.send(reply)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)

        async def back() -> None:
            while data := await reader.read(65_536):
                await peer.send(data)

        answering = asyncio.create_task(back())
        try:
            while data := await peer.reader.read(65_536):
                writer.write(data)
        finally:
            answering.cancel()
            await asyncio.wait([answering])
            writer.transport.abort()

    return relay


@asynccontextmanager
async def before(proxy: Script, scheme: str = "http") -> AsyncIterator[tuple[str, WireServer]]:
    shown = certificates.of_server("localhost") if scheme == "https" else None
    async with serving(proxy, tls=shown) as server:
        yield f"{scheme}://localhost:{server.port}", server


@pytest.mark.parametrize("reply", OPEN.values(), ids=list(OPEN))
async def test_a_tunnel_opens_with_the_head_of_the_answer(reply: bytes) -> None:
    if sys.flags.dev_mode and sending.make is AiohttpTransport and b"\r" not in reply:
        pytest.skip("aiohttp reads no such lines in Python's development mode")
    shown = certificates.of_server("pbx.example.com")
    async with (
        serving(answer(b"hello"), tls=shown) as server,
        before(relaying(reply, server)) as (proxy, _),
        opened(proxy=proxy, ssl=certificates.of_client()) as transport,
    ):
        asked = request(URL, "PUT", b"{}", PATIENT)
        bodies = [(await transport.send(asked)).body for _ in range(2)]

    assert bodies == [b"hello", b"hello"]
    assert server.connections == 1


async def test_a_tunnel_leads_through_a_proxy_in_tls() -> None:
    shown = certificates.of_server("pbx.example.com")
    async with (
        serving(answer(b"hello"), tls=shown) as server,
        before(relaying(OPEN["as usual"], server), "https") as (proxy, seen),
        opened(proxy=proxy, ssl=certificates.of_client()) as transport,
    ):
        bodies = [(await transport.send(request(URL, timeouts=PATIENT))).body for _ in range(2)]

    assert bodies == [b"hello", b"hello"]
    assert seen.connections == 1


@pytest.mark.parametrize("reply", (REFUSED | NO_HTTP).values(), ids=list(REFUSED | NO_HTTP))
async def test_a_refused_tunnel_fails_at_once_as_not_sent(reply: bytes) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply)
        await peer.until_closed()

    async with before(refuse) as (proxy, seen), opened(proxy=proxy) as transport:
        error = await failure_of(transport, request(URL, "PUT", b"{}", PATIENT))
        await seen.idle.wait()

    assert type(error) is ConnectError
    assert not error.sent
    assert "pbx.example.com:443" in str(error)


async def test_an_endless_head_opens_no_tunnel() -> None:
    async def pour(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await peer.send(b"X-One: " + b"1" * 65_536)

    async with before(pour) as (proxy, seen), opened(proxy=proxy) as transport:
        error = await failure_of(transport, request(URL, "PUT", b"{}", PATIENT))
        await seen.idle.wait()

    assert type(error) is ConnectError
    assert not error.sent


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 200 OK\r\nVia"], ids=["silence", "half a head"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_an_incomplete_proxy_response_ends_in_the_connect_time_out(
    reply: bytes, scheme: str
) -> None:
    async def stall(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply)
        await peer.reader.read(1)

    trust = certificates.of_client()
    short = Timeouts(connect=0.2, attempt=10 * MINUTE)
    async with (
        before(stall, scheme) as (proxy, seen),
        opened(proxy=proxy, ssl=trust) as transport,
    ):
        error = await failure_of(transport, request(URL, "PUT", b"{}", short))
        await seen.idle.wait()

    assert type(error) is TransportTimeout
    assert not error.sent
    assert "within 0.2 s" in str(error)


async def test_a_proxy_that_hangs_up_in_the_middle_of_its_answer_opens_no_tunnel() -> None:
    async def hang_up(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nVia: one")

    async with before(hang_up) as (proxy, _), opened(proxy=proxy) as transport:
        error = await failure_of(transport, request(URL, "PUT", b"{}", PATIENT))

    assert type(error) is ConnectError
    assert not error.sent


async def test_a_change_that_met_no_tunnel_was_surely_not_applied() -> None:
    async def stall(peer: Peer) -> None:
        await peer.request()
        await peer.reader.read(1)

    async with before(stall) as (proxy, _):
        timeouts = Timeouts(connect=0.1, attempt=10 * MINUTE)
        async with RingMe(
            URL,
            auth=BearerToken("t"),
            transport=sending.made(proxy=proxy),
            timeouts=timeouts,
            retry=RetryPolicy(attempts=1),
        ) as ringme:
            with pytest.raises(TransportTimeout) as caught:
                await ringme.clients.update(12, ClientUpdate(timezone="Asia/Omsk"))

    assert not caught.value.maybe_applied
