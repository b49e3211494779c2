"""Sockets that read small pieces and coalesce writes."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from ringme_async.transports.write_coalescing import (
    ThriftySocket,
    WriteCoalescer,
    thrifty_socket_factory,
)
from tests.transports.sending import in_flight, opened
from tests.transports.sending import request as asked
from tests.wire import answer, serving

PIECE = 2**16
BATCH = 8
Pair = tuple[ThriftySocket, socket.socket]


needs_more = pytest.mark.skipif(not hasattr(socket, "MSG_MORE"), reason="not of this system")


@pytest.fixture
def connected(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        make = thrifty_socket_factory(WriteCoalescer(in_flight(getattr(request, "param", BATCH))))
        with make((socket.AF_INET, socket.SOCK_STREAM, 0, "", address)) as reader:
            reader.connect(address)
            writer, _ = server.accept()
            with writer:
                yield reader, writer


def test_a_read_takes_at_most_one_small_piece(connected: Pair) -> None:
    reader, writer = connected

    def send() -> None:
        writer.sendall(b"x" * 4 * PIECE)
        writer.shutdown(socket.SHUT_WR)

    sending = threading.Thread(target=send)
    sending.start()
    pieces = list(iter(lambda: reader.recv(2**18), b""))
    sending.join()
    assert max(map(len, pieces)) <= PIECE
    assert b"".join(pieces) == b"x" * 4 * PIECE


def test_a_read_takes_at_most_the_requested_size(connected: Pair) -> None:
    reader, writer = connected
    writer.sendall(b"abcdef")
    assert reader.recv(3) == b"abc"
    assert reader.recv(2, socket.MSG_PEEK) == b"de"
    assert reader.recv(3) == b"def"


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6 here")
def test_a_socket_is_made_for_the_family_of_its_address() -> None:
    make = thrifty_socket_factory(WriteCoalescer(in_flight(BATCH)))
    with make((socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("::1", 0, 0, 0))) as made:
        assert made.family == socket.AF_INET6


async def test_the_session_of_a_transport_reads_in_small_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(reader: ThriftySocket, bufsize: int, flags: int = 0, /) -> bytes:
        piece = real(reader, bufsize, flags)
        pieces.append(len(piece))
        return piece

    real = ThriftySocket.recv
    pieces: list[int] = []
    monkeypatch.setattr(ThriftySocket, "recv", read)
    async with serving(answer(b"x" * 4 * PIECE)) as server, opened() as transport:
        response = await transport.send(asked(server.url()))
    assert len(response.body) == 4 * PIECE
    assert sum(pieces) > 4 * PIECE
    assert max(pieces) <= PIECE


@needs_more
async def test_writes_leave_at_the_end_of_their_turn(connected: Pair) -> None:
    sender, peer = connected
    sender.send(b"abc")
    sender.sendmsg([b"d", b"ef"])
    with pytest.raises(BlockingIOError):
        peer.recv(6, socket.MSG_DONTWAIT)
    await asyncio.sleep(0)
    assert peer.recv(6) == b"abcdef"


@needs_more
async def test_closing_a_socket_sends_its_deferred_writes(connected: Pair) -> None:
    sender, peer = connected
    sender.send(b"abc")
    sender.close()
    await asyncio.sleep(0)
    assert peer.recv(6) == b"abc"
    assert peer.recv(6) == b""


@pytest.mark.parametrize("connected", [BATCH - 1], indirect=True)
async def test_with_few_requests_in_flight_writes_leave_at_once(connected: Pair) -> None:
    sender, peer = connected
    sender.send(b"abc")
    assert peer.recv(3) == b"abc"
    sender.sendmsg([b"d", b"ef"])
    assert peer.recv(3) == b"def"
