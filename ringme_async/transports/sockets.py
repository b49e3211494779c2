"""Sockets that take little of the system's time: small reads, and requests that leave together."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ringme_async.transports.departures import Departures

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Address", "ThriftySocket", "thrifty_sockets"]

Address: TypeAlias = tuple[
    int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]
]

# More than most answers take, and less than the 128 KiB from which a C library such as glibc has
# the system hand out memory, and take it back, each time.
_PIECE: Final = 2**16
# Says that more is to come, for which the system waits. Not all systems can.
_MORE: Final[int] = getattr(socket, "MSG_MORE", 0)


class ThriftySocket(socket.socket):
    """A TCP socket that reads little at once, and whose sends of a turn of the loop leave together.

    asyncio's own loop makes room for 256 KiB before it reads anything. Over plain HTTP that takes a
    tenth of the CPU time of a request, since the system hands that memory out and takes it back for
    each answer. Under TLS it is read otherwise, and this changes nothing.

    What is sent is handed to the system at once, which is told to wait with it until it is pushed; a
    system that cannot wait, as all but Linux, lets it leave. On loops that read and write otherwise, such
    as uvloop, none of this comes to bear.
    """

    __slots__ = ("_departures",)

    def __init__(self, family: int, kind: int, protocol: int, departures: Departures) -> None:
        super().__init__(family, kind, protocol)
        self._departures = departures

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Read what has come in, a piece at most."""
        return super().recv(min(_PIECE, bufsize), flags)

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """Hand over what is to leave, with what else is sent in this turn of the loop."""
        return super().send(data, flags | self._wait())

    def sendmsg(
        self,
        buffers: Iterable[ReadableBuffer],
        ancdata: Iterable[tuple[int, int, ReadableBuffer]] = (),
        flags: int = 0,
        address: Any = None,
        /,
    ) -> int:
        """Do as ``send`` does, with what lies in several places."""
        return super().sendmsg(buffers, ancdata, flags | self._wait(), address)

    def _wait(self) -> int:
        return _MORE if _MORE and self._departures.put_off(self._leave) else 0

    def _leave(self) -> None:
        # What was sent before it was closed has left with that.
        if self.fileno() >= 0:
            # It is set already; setting it has what waits leave.
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def thrifty_sockets(departures: Departures) -> Callable[[Address], ThriftySocket]:
    """Give what makes sockets for addresses, as ``getaddrinfo`` gives these."""

    def make(address: Address) -> ThriftySocket:
        family, kind, protocol, _, _ = address
        return ThriftySocket(family, kind, protocol, departures)

    return make
