"""What is sent in one turn of the event loop leaves together."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from attrs import define, field

from ringme_async._internal.deadlines import Deadlines

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Address", "ThriftySocket", "WriteCoalescer", "thrifty_sockets"]

# How many leave together. Of fewer, a turn holds one or two at most, and of many more the first would
# wait for long: it costs more than it saves.
_LOAD: Final = 8


@define(eq=False)
class WriteCoalescer:
    """Has some of what is sent in one turn of the event loop leave together.

    Whoever reads what was sent is woken for it: a server or a proxy on the same machine. Of requests
    that leave one by one, each wakes it anew, because it has long dealt with the one before, and the
    system does that in the sender's time.

    They leave as soon as there are eight of them, and at the latest at the end of the turn: whoever is ready
    early must not wait for all others, least of all if the server takes its time.

    Args:
        under_way: What is under way. While that is less than eight, nothing waits.
    """

    _under_way: Deadlines
    _waiting: list[Callable[[], None]] = field(
        factory=list[Callable[[], None]], init=False, repr=False
    )
    _ends: bool = field(default=False, init=False, repr=False)

    def defer(self, leave: Callable[[], None]) -> bool:
        """Call ``leave`` later in this turn. Returns: False if it may be called at once."""
        if self._under_way.count < _LOAD:
            return False
        if len(self._waiting) == _LOAD - 1:
            self._leave()
            return False
        if not self._ends:
            self._ends = True
            asyncio.get_running_loop().call_soon(self._end)
        self._waiting.append(leave)
        return True

    def _end(self) -> None:
        self._ends = False
        self._leave()

    def _leave(self) -> None:
        waiting, self._waiting = self._waiting, []
        for leave in waiting:
            leave()


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

    __slots__ = ("_coalescer",)

    def __init__(self, family: int, kind: int, protocol: int, coalescer: WriteCoalescer) -> None:
        super().__init__(family, kind, protocol)
        self._coalescer = coalescer

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
        return _MORE if _MORE and self._coalescer.defer(self._leave) else 0

    def _leave(self) -> None:
        # What was sent before it was closed has left with that.
        if self.fileno() >= 0:
            # It is set already; setting it has what waits leave.
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def thrifty_sockets(coalescer: WriteCoalescer) -> Callable[[Address], ThriftySocket]:
    """Give what makes sockets for addresses, as ``getaddrinfo`` gives these."""

    def make(address: Address) -> ThriftySocket:
        family, kind, protocol, _, _ = address
        return ThriftySocket(family, kind, protocol, coalescer)

    return make
