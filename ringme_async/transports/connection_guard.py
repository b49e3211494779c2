"""Closes a pooled connection that carries bytes between two exchanges."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from attrs import frozen

__all__ = ["ConnectionGuard", "UnguardedConnection", "guard_of"]


class Pooled(Protocol):
    """The asyncio protocol of an HTTP library for a connection in its pool."""

    @property
    def should_close(self) -> bool:
        """True if it holds bytes that the next request must not get."""
        ...

    def force_close(self) -> None:
        """Keep the connection from further requests."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...

    def data_received(self, data: bytes) -> None:
        """Parse received bytes."""
        ...

    def eof_received(self) -> bool | None:
        """Handle the end of input."""
        ...

    def connection_lost(self, exc: BaseException | None) -> None:
        """Handle the end of the connection."""
        ...

    def pause_writing(self) -> None:
        """Stop writing for now."""
        ...

    def resume_writing(self) -> None:
        """Continue writing."""
        ...


class Lease(Protocol):
    """The use of a connection for one exchange."""

    @property
    def protocol(self) -> object:
        """The protocol of the connection, or None after the exchange."""
        ...


class ConnectionGuard(asyncio.Protocol):
    """Stands between a connection and the HTTP library that pools it.

    aiohttp pools a connection again while it parses the end of a response. Later it only checks
    that the connection is open. So bytes after the response would pass for the response to the
    next request, of another tenant. asyncio gives all bytes to the guard first. The guard closes
    the connection in the same turn of the loop, before a request can take it.

    Args:
        transport: The connection.
        pooled: The protocol that the library reads it with.
    """

    __slots__ = ("_lease", "_pooled", "_transport")

    def __init__(self, transport: asyncio.Transport, pooled: Pooled) -> None:
        self._transport = transport
        self._pooled = pooled
        self._lease: Lease | None = None

    def begin(self, lease: Lease) -> None:
        """Begin an exchange. Its end is visible in the lease."""
        self._lease = lease

    @property
    def _in_use(self) -> bool:
        return self._lease is not None and self._lease.protocol is not None

    def discard(self) -> None:
        """Close the connection, or let the exchange in flight finish first."""
        self._pooled.force_close()
        if not self._in_use:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Forward the bytes of an exchange, and close the connection on stray bytes."""
        stray = not self._in_use
        if not stray:
            self._pooled.data_received(data)
            # Bytes may follow the end of the exchange in the same segment.
            stray = self._holds_more()
        if stray and not self._transport.is_closing():
            self._transport.abort()

    def _holds_more(self) -> bool:
        return not self._in_use and self._pooled.should_close

    def eof_received(self) -> bool | None:
        """Forward the end of input."""
        return self._pooled.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forward the end of the connection."""
        self._pooled.connection_lost(exc)
        self._lease = None

    def pause_writing(self) -> None:
        """Forward that the write buffer is full."""
        self._pooled.pause_writing()

    def resume_writing(self) -> None:
        """Forward that the write buffer has room."""
        self._pooled.resume_writing()


@frozen
class UnguardedConnection:
    """A connection of a session that the caller gave, checked only after its response."""

    _protocol: Pooled

    def close_if_dirty(self) -> None:
        """Close it if bytes follow the response."""
        if self._protocol.should_close:
            self._protocol.close()

    def discard(self) -> None:
        """Close it."""
        self._protocol.close()


def guard_of(transport: asyncio.Transport, pooled: object) -> ConnectionGuard:
    """Give the guard of a connection, and install it the first time."""
    found = transport.get_protocol()
    if isinstance(found, ConnectionGuard):
        return found
    guard = ConnectionGuard(transport, cast("Pooled", pooled))
    transport.set_protocol(guard)
    return guard
