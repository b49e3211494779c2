"""The connections of a transport: all that are open, and among these the idle ones."""

from __future__ import annotations

import asyncio
from typing import Final

from attrs import define, field

from ringme_async.transports.http11.connection import Wire

__all__ = ["Pool"]

# How long an idle connection is kept, in seconds: as aiohttp does, and less than servers usually do.
_KEEPALIVE: Final = 15.0
# How many are kept, of all hosts together: a process has 1,024 descriptors on many systems.
_MOST_IDLE: Final = 512


@define(eq=False)
class Pool:
    """Keeps idle connections for a while, and closes the least recently used ones.

    The one used last is taken first, so that connections of a burst grow old and are closed. One timer
    of the loop closes them.
    """

    _open: set[Wire] = field(factory=set[Wire], init=False, repr=False)
    # Where each idle one lies, among those of its origin; the least recently used is the first.
    _idle: dict[Wire, list[Wire]] = field(factory=dict[Wire, list[Wire]], init=False, repr=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False, repr=False)

    def take(self, origin: list[Wire], now: float) -> Wire | None:
        """Take an idle connection out of those of an origin, the one used last."""
        while origin:
            wire = origin.pop()
            del self._idle[wire]
            # The timer is late where something has held up the loop.
            if wire.idle_since + _KEEPALIVE > now and not wire.transport.is_closing():
                return wire
            wire.abort()
        return None

    def put(self, wire: Wire, origin: list[Wire], now: float) -> None:
        """Keep a connection, until it is taken, too old or one too many."""
        wire.idle_since = now
        origin.append(wire)
        self._idle[wire] = origin
        if len(self._idle) > _MOST_IDLE:
            self._close(next(iter(self._idle)))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(now + _KEEPALIVE, self._close_old)

    def add(self, wire: Wire) -> None:
        """Take note of a connection."""
        self._open.add(wire)

    def discard(self, wire: Wire) -> None:
        """Forget a connection that has ended."""
        self._open.discard(wire)
        origin = self._idle.pop(wire, None)
        if origin is not None:
            origin.remove(wire)

    def close(self) -> list[asyncio.Future[None]]:
        """End all connections at once. Returns: What is done when each has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wires = tuple(self._open)
        for wire in wires:
            wire.abort()
        return [wire.gone for wire in wires]

    def forsake(self) -> None:
        """Close the sockets of a loop that has ended, and so can do it no more."""
        for wire in self._open:
            wire.forsake()
        self._open.clear()

    def _close(self, wire: Wire) -> None:
        self._idle.pop(wire).remove(wire)
        wire.abort()

    def _close_old(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        young = loop.time() - _KEEPALIVE
        for wire in tuple(self._idle):
            if wire.idle_since > young:
                self._timer = loop.call_at(wire.idle_since + _KEEPALIVE, self._close_old)
                return
            self._close(wire)
