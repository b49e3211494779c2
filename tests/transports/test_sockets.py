"""Sockets that are read in small pieces."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from ringme_async.transports.sockets import SmallReads, small_reads
from tests.transports.sending import opened, request
from tests.wire import answer, serving

PIECE = 2**16
Pair = tuple[SmallReads, socket.socket]


@pytest.fixture
def connected() -> Iterator[Pair]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with small_reads((socket.AF_INET, socket.SOCK_STREAM, 0, "", address)) as reader:
            reader.connect(address)
            writer, _ = server.accept()
            with writer:
                yield reader, writer


def test_no_more_is_read_at_once_than_a_piece(connected: Pair) -> None:
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


def test_no_more_is_read_than_is_asked_for(connected: Pair) -> None:
    reader, writer = connected
    writer.sendall(b"abcdef")
    assert reader.recv(3) == b"abc"
    assert reader.recv(2, socket.MSG_PEEK) == b"de"
    assert reader.recv(3) == b"def"


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6 here")
def test_a_socket_is_made_for_the_family_of_its_address() -> None:
    with small_reads((socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("::1", 0, 0, 0))) as made:
        assert made.family == socket.AF_INET6


async def test_the_session_of_a_transport_reads_in_small_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(reader: SmallReads, bufsize: int, flags: int = 0, /) -> bytes:
        piece = real(reader, bufsize, flags)
        pieces.append(len(piece))
        return piece

    real = SmallReads.recv
    pieces: list[int] = []
    monkeypatch.setattr(SmallReads, "recv", read)
    async with serving(answer(b"x" * 4 * PIECE)) as server, opened() as transport:
        response = await transport.send(request(server.url()))
    assert len(response.body) == 4 * PIECE
    assert sum(pieces) > 4 * PIECE
    assert max(pieces) <= PIECE
