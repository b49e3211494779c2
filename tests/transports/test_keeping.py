"""Which connections a transport keeps for the next request, and how long."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import threading
import warnings
from contextlib import AsyncExitStack

import pytest

from ringme_async import BearerToken, InvalidRequest, RingMe
from ringme_async.errors import ConnectError
from ringme_async.transports import Timeouts, Transport
from ringme_async.transports.http11 import connection_pool as pool
from ringme_async.transports.httptools import HttptoolsTransport
from tests.leaping import MINUTE, leap
from tests.transports import certificates, sending
from tests.transports.sending import failure_of, opened, request
from tests.wire import Peer, Script, answer, serving

pytestmark = pytest.mark.usefixtures("each_transport")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
# Each response, and whether its connection may be reused.
ENDS = {
    "nothing": (HEAD, True),
    "keep-alive": (HEAD + b"Connection: keep-alive\r\n", True),
    "close": (HEAD + b"Connection: close\r\n", False),
    "Close": (HEAD + b"Connection: Close\r\n", False),
    "close, foo": (HEAD + b"Connection: close, foo\r\n", False),
    "foo, close": (HEAD + b"Connection: foo,close\r\n", False),
    "two fields, close first": (HEAD + b"Connection: close\r\nConnection: foo\r\n", False),
    "two fields, close last": (HEAD + b"Connection: foo\r\nConnection: close\r\n", False),
    "HTTP/1.0": (HEAD.replace(b"1.1", b"1.0"), False),
    "HTTP/1.0 keep-alive": (HEAD.replace(b"1.1", b"1.0") + b"Connection: keep-alive\r\n", True),
}


def repeating(head: bytes, body: bytes) -> Script:
    async def repeat(peer: Peer) -> None:
        while asked := await peer.request():
            await peer.send(head + b"\r\n" + (b"" if asked.startswith(b"HEAD") else body))

    return repeat


@pytest.mark.every_loop
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("head", "kept"), ENDS.values(), ids=list(ENDS))
async def test_a_connection_that_the_server_ends_is_not_reused(
    method: str, head: bytes, kept: bool
) -> None:
    async with serving(repeating(head, b"hello")) as server, opened() as transport:
        for _ in range(2):
            response = await transport.send(request(server.url(), method))
            assert response.status == 200

    assert server.connections == (1 if kept else 2)


@pytest.mark.every_loop
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_a_connection_with_an_unfinished_request_is_not_reused(tls: bool) -> None:
    async def refuse_early(peer: Peer) -> None:
        if server.connections == 1:
            await peer.reader.readuntil(b"\r\n\r\n")
            await peer.send(answer(b"too large", status="413 Content Too Large"))
            # The rest is never read, and exceeds the system's buffers.
            await asyncio.Event().wait()
        while await peer.request():
            await peer.send(answer(b"hello"))

    shown = certificates.of_server("127.0.0.1") if tls else None
    trust = certificates.of_client() if tls else None
    async with serving(refuse_early, tls=shown) as server, opened(ssl=trust) as transport:
        first = await transport.send(request(server.url(), "PUT", b"x" * 20_000_000))
        second = await transport.send(request(server.url()))

    assert (first.status, second.body) == (413, b"hello")
    assert server.connections == 2


@pytest.mark.every_loop
@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors where Linux lists them")
async def test_an_unclosed_transport_leaves_no_descriptor() -> None:
    def held() -> int:
        return len(os.listdir("/proc/self/fd"))

    async def use() -> None:
        ringme = RingMe(server.url(), auth=BearerToken("t"), transport=sending.made())
        await ringme.clients.get(12)

    record = b'{"id": 12, "name": "Acme"}'
    async with serving(answer(record, "Content-Type: application/json")) as server:
        before = held()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            for _ in range(10):
                await use()
            gc.collect()
            await server.idle.wait()
            while held() > before:
                await asyncio.sleep(0)
        assert server.connections == 10


class TestThePoolOfTheFastTransport:
    """aiohttp reads its own clock, which does not leap."""

    @pytest.fixture
    def each_transport(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sending, "make", HttptoolsTransport)

    async def together(self, count: int, transport: Transport, url: str) -> None:
        await asyncio.gather(*(transport.send(request(url)) for _ in range(count)))

    async def test_closes_idle_connections_after_a_while(self) -> None:
        async with serving(self.meeting(20)) as server, opened() as transport:
            await self.together(20, transport, server.url())
            leap(14)
            await transport.send(request(server.url("/alone")))
            leap(2)
            while server.open_connections > 1:
                await asyncio.sleep(0)
            await transport.send(request(server.url("/alone")))
            assert server.connections == 20
            leap(16)
            await server.idle.wait()

    async def test_does_not_reuse_a_connection_that_expired_while_the_loop_was_blocked(
        self,
    ) -> None:
        async with serving(answer(b"hello")) as server, opened() as transport:
            await transport.send(request(server.url()))
            leap(16)
            await transport.send(request(server.url()))

        assert server.connections == 2

    async def test_closes_the_least_recently_used_connection_over_the_limit(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pool, "_MOST_IDLE", 2)
        async with AsyncExitStack() as stack, opened() as transport:
            servers = [await stack.enter_async_context(serving(answer())) for _ in range(3)]
            for server in (servers[0], servers[1], servers[0], servers[2]):
                await transport.send(request(server.url()))
            await servers[1].idle.wait()
            assert [server.open_connections for server in servers] == [1, 0, 1]

    def meeting(self, count: int) -> Script:
        """Answer concurrent requests together, and a single request at once."""
        everybody = asyncio.Barrier(count)

        async def meet(peer: Peer) -> None:
            while asked := await peer.request():
                if not asked.startswith(b"GET /alone"):
                    await everybody.wait()
                await peer.send(answer())

        return meet


@pytest.mark.every_loop
class TestLettingGoOfTheFastTransport:
    @pytest.fixture
    def each_transport(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sending, "make", HttptoolsTransport)

    async def test_closes_connections_at_once(self) -> None:
        async with serving(answer()) as server:
            transport = HttptoolsTransport()
            await transport.send(request(server.url()))
            transport.let_go()
            await server.idle.wait()
            with pytest.raises(InvalidRequest, match="is closed"):
                await transport.send(request(server.url()))

    async def test_cancels_connects_in_flight(self) -> None:
        async def keep_silent(peer: Peer) -> None:
            await peer.until_closed()

        async with serving(keep_silent) as server:
            transport = HttptoolsTransport()
            url = f"https://127.0.0.1:{server.port}/"
            connecting = asyncio.create_task(failure_of(transport, request(url)))
            while not server.connections:
                await asyncio.sleep(0)
            transport.let_go()
            error = await connecting
            await server.idle.wait()

        assert type(error) is ConnectError

    async def test_needs_no_loop_if_the_transport_was_never_used(self) -> None:
        HttptoolsTransport().let_go()

    def test_closes_the_sockets_of_a_loop_that_has_ended(self) -> None:
        def serve() -> None:
            accepted, _ = listener.accept()
            held.append(accepted)
            accepted.recv(65_536)
            accepted.sendall(answer(b"hello"))

        held: list[socket.socket] = []
        transport = HttptoolsTransport()
        with socket.create_server(("127.0.0.1", 0)) as listener, asyncio.Runner() as runner:
            serving_once = threading.Thread(target=serve)
            serving_once.start()
            runner.run(transport.send(request(f"http://127.0.0.1:{listener.getsockname()[1]}/")))
            serving_once.join()
        with held[0] as server_side:
            transport.let_go()
            server_side.settimeout(MINUTE)
            assert server_side.recv(65_536) == b""
        with warnings.catch_warnings():
            # asyncio can close a transport only while its loop is open.
            warnings.simplefilter("ignore", ResourceWarning)
            del transport
            gc.collect()


async def test_closing_wins_over_a_simultaneous_time_out() -> None:
    async def keep_silent(peer: Peer) -> None:
        await peer.until_closed()

    async with serving(keep_silent) as server:
        for steps in range(12):
            transport = sending.made()
            timeouts = Timeouts(connect=MINUTE, attempt=10 * MINUTE)
            asked = request(f"https://127.0.0.1:{server.port}/", timeouts=timeouts)
            sending_it = asyncio.create_task(failure_of(transport, asked))
            before = server.connections
            while server.connections == before:
                await asyncio.sleep(0)
            leap(2 * MINUTE)
            for _ in range(steps):
                await asyncio.sleep(0)
            await transport.aclose()
            error = await sending_it
            await server.idle.wait()
            assert not error.sent
