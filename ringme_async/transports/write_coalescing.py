"""Sends the writes of one turn of the event loop together."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from attrs import define, field

from ringme_async._internal.deadlines import Deadlines

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Address", "ThriftySocket", "WriteCoalescer", "thrifty_socket_factory"]

# Writes in a batch. With fewer requests in flight a turn holds one or two writes, and waiting saves
# nothing. In a larger batch the first write would wait too long.
_BATCH: Final = 8


@define(eq=False)
class WriteCoalescer:
    """Flushes the writes of one turn of the event loop in batches.

    Each write wakes its reader, such as a server or a proxy on the same machine. The system spends
    the sender's time on it. Writes that leave together wake the reader once.

    A batch leaves as soon as it has eight writes, and at the latest at the end of the turn. So no
    write waits for all others.

    Args:
        in_flight: Deadlines of the requests in flight. Below eight, no write waits.
    """

    _in_flight: Deadlines
    _waiting: list[Callable[[], None]] = field(
        factory=list[Callable[[], None]], init=False, repr=False
    )
    _is_scheduled: bool = field(default=False, init=False, repr=False)

    def defer(self, flush: Callable[[], None]) -> bool:
        """Call ``flush`` later in this turn. Returns: False if the caller may flush at once."""
        if self._in_flight.count < _BATCH:
            return False
        if len(self._waiting) == _BATCH - 1:
            self._flush()
            return False
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._end_turn)
        self._waiting.append(flush)
        return True

    def _end_turn(self) -> None:
        self._is_scheduled = False
        self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for flush in waiting:
            flush()


Address: TypeAlias = tuple[
    int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]
]

# More than most responses need. From 128 KiB up glibc maps and unmaps memory for each read.
_READ_SIZE: Final = 2**16
# Has the system wait for more bytes. Not every system has this flag.
_MSG_MORE: Final[int] = getattr(socket, "MSG_MORE", 0)


class ThriftySocket(socket.socket):
    """A TCP socket that reads small pieces and sends the writes of one turn together.

    asyncio allocates 256 KiB before each read. Over plain HTTP that takes a tenth of the CPU time
    of a request, because the system maps and unmaps the memory each time. Under TLS asyncio reads
    in another way, and this changes nothing.

    Linux gets the bytes at once and holds them until they are pushed. Other systems send them at
    once. Loops such as uvloop do not use these methods.
    """

    __slots__ = ("_coalescer",)

    def __init__(self, family: int, kind: int, protocol: int, coalescer: WriteCoalescer) -> None:
        super().__init__(family, kind, protocol)
        self._coalescer = coalescer

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Read at most one small piece."""
        return super().recv(min(_READ_SIZE, bufsize), flags)

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """Send bytes, together with the other writes of this turn."""
        return super().send(data, flags | self._more_flag())

    def sendmsg(
        self,
        buffers: Iterable[ReadableBuffer],
        ancdata: Iterable[tuple[int, int, ReadableBuffer]] = (),
        flags: int = 0,
        address: Any = None,
        /,
    ) -> int:
        """Send several buffers, as ``send`` does."""
        return super().sendmsg(buffers, ancdata, flags | self._more_flag(), address)

    def _more_flag(self) -> int:
        return _MSG_MORE if _MSG_MORE and self._coalescer.defer(self._push) else 0

    def _push(self) -> None:
        # Closing a socket has pushed its bytes already.
        if self.fileno() >= 0:
            # The option is set already. Setting it again pushes the bytes that wait.
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def thrifty_socket_factory(coalescer: WriteCoalescer) -> Callable[[Address], ThriftySocket]:
    """Give a factory of sockets for addresses of ``getaddrinfo``."""

    def make(address: Address) -> ThriftySocket:
        family, kind, protocol, _, _ = address
        return ThriftySocket(family, kind, protocol, coalescer)

    return make
