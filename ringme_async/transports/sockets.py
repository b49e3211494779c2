"""Sockets that are read in small pieces."""

from __future__ import annotations

import socket
from typing import Any, Final

__all__ = ["SmallReads", "small_reads"]

# More than most answers take, and less than the 128 KiB from which a C library such as glibc has
# the system hand out memory, and take it back, each time.
_PIECE: Final = 2**16


class SmallReads(socket.socket):
    """A socket of which no more is read at once than a piece.

    asyncio's own loop makes room for 256 KiB before it reads anything. Over plain HTTP that takes a
    tenth of the CPU time of a request, since the system hands that memory out and takes it back for
    each answer. Under TLS, and on loops that read otherwise, such as uvloop, it changes nothing.
    """

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Read what has come in, a piece at most."""
        return super().recv(min(_PIECE, bufsize), flags)


def small_reads(
    address: tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]],
) -> SmallReads:
    """Make a socket for an address, as ``getaddrinfo`` gives it."""
    family, kind, protocol, _, _ = address
    return SmallReads(family, kind, protocol)
