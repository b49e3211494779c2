"""The open connections of a transport, and which of them are idle."""

from __future__ import annotations

import asyncio
from typing import Final

from attrs import define, field

from ringme_async.transports.http11.connection import HTTPConnection

__all__ = ["ConnectionPool"]

# Seconds to keep an idle connection: as aiohttp, and less than most servers.
_KEEPALIVE: Final = 15.0
# For all hosts together: many systems allow a process 1,024 descriptors.
_MOST_IDLE: Final = 512


@define(eq=False)
class ConnectionPool:
    """Keeps idle connections for a while, and closes the least recently used ones.

    It gives out the most recently used connection first, so that extra connections of a burst
    expire. One timer of the loop closes them.
    """

    _open: set[HTTPConnection] = field(factory=set[HTTPConnection], init=False, repr=False)
    # Each idle connection with the list of its origin, least recently used first.
    _idle: dict[HTTPConnection, list[HTTPConnection]] = field(
        factory=dict[HTTPConnection, list[HTTPConnection]], init=False, repr=False
    )
    _timer: asyncio.TimerHandle | None = field(default=None, init=False, repr=False)

    def take(self, origin: list[HTTPConnection], now: float) -> HTTPConnection | None:
        """Take the most recently used idle connection of an origin."""
        while origin:
            connection = origin.pop()
            del self._idle[connection]
            # A blocked loop runs the timer late.
            if connection.idle_since + _KEEPALIVE > now and not connection.transport.is_closing():
                return connection
            connection.abort()
        return None

    def put(self, connection: HTTPConnection, origin: list[HTTPConnection], now: float) -> None:
        """Keep an idle connection until it is taken, expires or exceeds the limit."""
        connection.idle_since = now
        origin.append(connection)
        self._idle[connection] = origin
        if len(self._idle) > _MOST_IDLE:
            self._close(next(iter(self._idle)))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(now + _KEEPALIVE, self._close_expired)

    def add(self, connection: HTTPConnection) -> None:
        """Register an open connection."""
        self._open.add(connection)

    def discard(self, connection: HTTPConnection) -> None:
        """Remove a closed connection."""
        self._open.discard(connection)
        origin = self._idle.pop(connection, None)
        if origin is not None:
            origin.remove(connection)

    def close(self) -> list[asyncio.Future[None]]:
        """Close all connections at once. Returns: Futures that are done when they are closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        connections = tuple(self._open)
        for connection in connections:
            connection.abort()
        return [connection.closed for connection in connections]

    def close_sockets(self) -> None:
        """Close the sockets directly, when their event loop has ended."""
        for connection in self._open:
            connection.close_socket()
        self._open.clear()

    def _close(self, connection: HTTPConnection) -> None:
        self._idle.pop(connection).remove(connection)
        connection.abort()

    def _close_expired(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        expired_at = loop.time() - _KEEPALIVE
        for connection in tuple(self._idle):
            if connection.idle_since > expired_at:
                self._timer = loop.call_at(connection.idle_since + _KEEPALIVE, self._close_expired)
                return
            self._close(connection)
