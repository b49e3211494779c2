"""The guard on a pooled connection. ``test_identity`` tests it over sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp.connector import Connection

from ringme_async.errors import ConnectError, ResponseLost
from ringme_async.transports.connection_guard import ConnectionGuard, guard_of
from tests.transports.sending import failure_of, opened, request
from tests.wire import Peer, answer, serving


class Pooled:
    """The protocol of an HTTP library for a connection."""

    def __init__(self) -> None:
        self.should_close = False
        self.seen: list[object] = []

    def force_close(self) -> None:
        self.should_close = True

    def data_received(self, data: bytes) -> None:
        self.seen.append(data)

    def eof_received(self) -> None:
        self.seen.append("eof")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.seen.append(exc)

    def pause_writing(self) -> None:
        self.seen.append("pause")

    def resume_writing(self) -> None:
        self.seen.append("resume")


class Lease:
    protocol: object = "something"


class FakeTransport(asyncio.Transport):
    """A transport that records its protocol and whether it was aborted."""

    aborted = False

    def __init__(self) -> None:
        super().__init__()
        self.protocol: asyncio.BaseProtocol = asyncio.Protocol()

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


def guarded() -> tuple[FakeTransport, Pooled, ConnectionGuard]:
    fake, pooled = FakeTransport(), Pooled()
    guard = guard_of(fake, pooled)
    assert fake.get_protocol() is guard
    assert guard_of(fake, pooled) is guard
    return fake, pooled, guard


def test_the_library_gets_all_that_happens_to_a_connection() -> None:
    _, pooled, guard = guarded()
    broken = OSError("broken")
    guard.begin(Lease())
    guard.data_received(b"data")
    guard.pause_writing()
    guard.resume_writing()
    guard.eof_received()
    guard.connection_lost(broken)
    assert pooled.seen == [b"data", "pause", "resume", "eof", broken]


def test_bytes_between_two_exchanges_close_the_connection_unread() -> None:
    fake, pooled, guard = guarded()
    guard.data_received(b"stray")
    assert fake.aborted
    guard.data_received(b"more of it")
    assert pooled.seen == []


def test_a_connection_in_use_that_is_discarded_ends_with_its_exchange() -> None:
    fake, pooled, guard = guarded()
    guard.begin(lease := Lease())
    guard.discard()
    assert pooled.should_close
    assert not fake.aborted
    lease.protocol = None
    guard.discard()
    assert fake.aborted


@pytest.mark.usefixtures("each_transport")
async def test_a_discarded_connection_in_use_answers_its_request_and_no_other() -> None:
    async def talk(peer: Peer) -> None:
        while await peer.request():
            await peer.send(answer(b"hello"))

    async with serving(talk) as server, opened() as transport:
        first = await transport.send(request(server.url()))
        sending = asyncio.create_task(transport.send(request(server.url())))
        await asyncio.sleep(0)
        assert first.connection is not None
        first.connection.discard()
        assert (await sending).body == b"hello"
        assert server.connections == 1
        await transport.send(request(server.url()))
        assert server.connections == 2


@pytest.mark.usefixtures("each_transport")
async def test_a_discarded_idle_connection_is_closed() -> None:
    async with serving(answer(b"hello")) as server, opened() as transport:
        response = await transport.send(request(server.url()))
        assert response.connection is not None
        response.connection.discard()
        await server.idle.wait()


async def test_a_connection_that_ends_while_it_is_made_needs_no_guard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect = aiohttp.TCPConnector.connect

    async def lost(*args: Any, **kwargs: Any) -> Connection:
        connection = await connect(*args, **kwargs)
        assert connection.protocol is not None
        connection.protocol.close()
        return connection

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", lost)
    async with serving(answer()) as server, opened() as transport:
        error = await failure_of(transport, request(server.url()))
    assert type(error) is ConnectError


async def test_a_connection_that_ends_while_the_request_is_sent_is_a_lost_response(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send: Callable[..., Awaitable[aiohttp.ClientResponse]] = aiohttp.ClientRequest.send

    async def lost(self: aiohttp.ClientRequest, connection: Connection) -> aiohttp.ClientResponse:
        response = await send(self, connection)
        assert connection.transport is not None
        assert connection.protocol is not None
        connection.transport.abort()
        connection.protocol.connection_lost(None)
        return response

    monkeypatch.setattr(aiohttp.ClientRequest, "send", lost)
    async with serving(answer()) as server, opened() as transport:
        error = await failure_of(transport, request(server.url()))
    assert type(error) is ResponseLost
