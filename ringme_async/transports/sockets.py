"""Sockets that are read in small pieces."""

from __future__ import annotations

import socket
from typing import Any, Final

__all__ = ["SmallReads", "small_reads"]

# Below what the C library has the system hand out and take back each time; more than most answers.
_PIECE: Final = 2**16
_read: Final = socket.socket.recv


class SmallReads(socket.socket):
    """A socket of which no more is read at once than a piece.

    asyncio makes room for 256 KiB before it reads anything. The system has to hand that memory out,
    fill it with zeros and take it back with each answer, which takes a tenth of the time of a
    request.
    """

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Read what has come in, a piece at most."""
        return _read(self, min(_PIECE, bufsize), flags)


def small_reads(
    address: tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]],
) -> SmallReads:
    """Make a socket for an address, as ``getaddrinfo`` gives it."""
    family, kind, protocol, _, _ = address
    return SmallReads(family, kind, protocol)
