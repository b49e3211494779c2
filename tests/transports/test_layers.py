"""The layers of a connection: their unsent bytes, and failures while they are made."""

from __future__ import annotations

import asyncio
import socket
from typing import NoReturn

import pytest

from ringme_async._internal.deadlines import Deadlines
from ringme_async.errors import ConnectError
from ringme_async.transports.http11.connection import HTTPConnection
from ringme_async.transports.http11.connection_pool import ConnectionPool
from ringme_async.transports.http11.header_parser import HeaderParser
from ringme_async.transports.http11.response_parser import ResponseParser
from ringme_async.transports.httptools import HttptoolsTransport
from ringme_async.transports.write_coalescing import WriteCoalescer
from tests.transports import certificates
from tests.transports.sending import failure_of, request
from tests.wire import Peer, answer, serving


class Layer(asyncio.Transport):
    """A transport with this many unsent bytes."""

    def __init__(self, unsent: int) -> None:
        super().__init__()
        self._unsent = unsent
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self._unsent

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize("unsent", [(0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 1), (0, 1, 0)])
async def test_a_connection_is_reused_only_if_no_layer_has_unsent_bytes(
    unsent: tuple[int, ...],
) -> None:
    deadlines = Deadlines()
    connection = HTTPConnection(
        asyncio.get_running_loop(),
        ConnectionPool(),
        ResponseParser(HeaderParser(), 1_000),
        deadlines,
        WriteCoalescer(deadlines),
    )
    layers = [Layer(size) for size in unsent]
    for layer in layers:
        connection.connection_made(layer)
    waiter = connection.send_request(
        b"GET / HTTP/1.1\r\n\r\n", "https://pbx.example.com/", bodiless=False
    )
    connection.parser.feed(answer(b"hello"))
    await waiter

    assert connection.finish_exchange() is not any(unsent)
    assert layers[-1].aborted is any(unsent)


async def keep_silent(peer: Peer) -> None:
    await peer.until_closed()


@pytest.mark.every_loop
async def test_a_connection_that_ends_during_its_tls_handshake_is_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def come_to_nothing(transport: asyncio.Transport, *_: object, **__: object) -> None:
        # As asyncio does if the connection ends at the same moment.
        transport.abort()

    monkeypatch.setattr(asyncio.get_running_loop(), "start_tls", come_to_nothing)
    transport = HttptoolsTransport(ssl=certificates.of_client())
    async with serving(keep_silent) as server:
        error = await failure_of(transport, request(f"https://127.0.0.1:{server.port}/"))
        await transport.aclose()
        await server.idle.wait()

    assert type(error) is ConnectError
    assert not error.sent


@pytest.mark.every_loop
async def test_a_connection_that_ends_while_it_is_made_is_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    connect = loop.create_connection

    async def connect_and_end(factory: object, sock: socket.socket) -> object:
        transport, protocol = await connect(factory, sock=sock)  # type: ignore[arg-type,type-var]
        transport.abort()
        return transport, protocol

    monkeypatch.setattr(loop, "create_connection", connect_and_end)
    transport = HttptoolsTransport()
    async with serving(keep_silent) as server:
        error = await failure_of(transport, request(server.url(), "PUT", b"{}"))
        await transport.aclose()
        await server.idle.wait()

    assert type(error) is ConnectError
    assert not error.sent


@pytest.mark.every_loop
async def test_a_socket_that_the_loop_refuses_is_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(factory: object, sock: socket.socket) -> NoReturn:
        sock.close()
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", refuse)
    transport = HttptoolsTransport()
    async with serving(answer()) as server:
        error = await failure_of(transport, request(server.url()))
        await transport.aclose()

    assert type(error) is ConnectError
    assert not error.sent
