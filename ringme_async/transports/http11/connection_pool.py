"""The connections of a transport: all that are open, and among these the idle ones."""

from __future__ import annotations

import asyncio
from typing import Final

from attrs import define, field

from ringme_async.transports.http11.connection import HTTPConnection

__all__ = ["ConnectionPool"]

# How long an idle connection is kept, in seconds: as aiohttp does, and less than servers usually do.
_KEEPALIVE: Final = 15.0
# How many are kept, of all hosts together: a process has 1,024 descriptors on many systems.
_MOST_IDLE: Final = 512


@define(eq=False)
class ConnectionPool:
    """Keeps idle connections for a while, and closes the least recently used ones.

    The one used last is taken first, so that connections of a burst grow old and are closed. One timer
    of the loop closes them.
    """

    _open: set[HTTPConnection] = field(factory=set[HTTPConnection], init=False, repr=False)
    # Where each idle one lies, among those of its origin; the least recently used is the first.
    _idle: dict[HTTPConnection, list[HTTPConnection]] = field(
        factory=dict[HTTPConnection, list[HTTPConnection]], init=False, repr=False
    )
    _timer: asyncio.TimerHandle | None = field(default=None, init=False, repr=False)

    def take(self, origin: list[HTTPConnection], now: float) -> HTTPConnection | None:
        """Take an idle connection out of those of an origin, the one used last."""
        while origin:
            connection = origin.pop()
            del self._idle[connection]
            # The timer is late where something has held up the loop.
            if connection.idle_since + _KEEPALIVE > now and not connection.transport.is_closing():
                return connection
            connection.abort()
        return None

    def put(self, connection: HTTPConnection, origin: list[HTTPConnection], now: float) -> None:
        """Keep a connection, until it is taken, too old or one too many."""
        connection.idle_since = now
        origin.append(connection)
        self._idle[connection] = origin
        if len(self._idle) > _MOST_IDLE:
            self._close(next(iter(self._idle)))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(now + _KEEPALIVE, self._close_old)

    def add(self, connection: HTTPConnection) -> None:
        """Take note of a connection."""
        self._open.add(connection)

    def discard(self, connection: HTTPConnection) -> None:
        """Forget a connection that has ended."""
        self._open.discard(connection)
        origin = self._idle.pop(connection, None)
        if origin is not None:
            origin.remove(connection)

    def close(self) -> list[asyncio.Future[None]]:
        """End all connections at once. Returns: What is done when each has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        connections = tuple(self._open)
        for connection in connections:
            connection.abort()
        return [connection.gone for connection in connections]

    def forsake(self) -> None:
        """Close the sockets of a loop that has ended, and so can do it no more."""
        for connection in self._open:
            connection.forsake()
        self._open.clear()

    def _close(self, connection: HTTPConnection) -> None:
        self._idle.pop(connection).remove(connection)
        connection.abort()

    def _close_old(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        young = loop.time() - _KEEPALIVE
        for connection in tuple(self._idle):
            if connection.idle_since > young:
                self._timer = loop.call_at(connection.idle_since + _KEEPALIVE, self._close_old)
                return
            self._close(connection)
