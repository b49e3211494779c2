"""A guard on a pooled connection: it closes one that carries anything between two exchanges."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

__all__ = ["ConnectionGuard", "guard_of"]


class Pooled(Protocol):
    """What an HTTP library keeps in its pool: an asyncio protocol that knows what it holds."""

    @property
    def should_close(self) -> bool:
        """Does it hold anything that the next request must not meet?"""
        ...

    def force_close(self) -> None:
        """Let no further request use the connection."""
        ...

    def data_received(self, data: bytes) -> None:
        """Take what has come in."""
        ...

    def eof_received(self) -> bool | None:
        """Take note that nothing more comes."""
        ...

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take note of the end."""
        ...

    def pause_writing(self) -> None:
        """Write no more for now."""
        ...

    def resume_writing(self) -> None:
        """Write again."""
        ...


class Lease(Protocol):
    """The use of a connection for one exchange, after whose end it knows no protocol any more."""

    @property
    def protocol(self) -> object:
        """What reads the connection; None after the end."""
        ...


class ConnectionGuard(asyncio.Protocol):
    """Stands between a connection and the HTTP library that keeps it in a pool.

    aiohttp puts a connection back while it parses the end of an answer, and looks at what it takes
    out of the pool only to see whether it is open. So whatever follows the answer, in the same
    segment or later, passes for the answer to the next request: that of another tenant. asyncio
    hands all bytes to the guard first, which closes the connection in the same turn of the loop,
    before a request can take it.

    Args:
        transport: The connection.
        pooled: What the library reads it with.
    """

    __slots__ = ("_lease", "_pooled", "_transport")

    def __init__(self, transport: asyncio.Transport, pooled: Pooled) -> None:
        self._transport = transport
        self._pooled = pooled
        self._lease: Lease | None = None

    def begin(self, lease: Lease) -> None:
        """Take note that an exchange begins; the connection goes back to the pool by itself."""
        self._lease = lease

    @property
    def _in_use(self) -> bool:
        return self._lease is not None and self._lease.protocol is not None

    def discard(self) -> None:
        """Close the connection; if another exchange has begun on it, after that."""
        self._pooled.force_close()
        if not self._in_use:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Hand on what belongs to an exchange."""
        stray = not self._in_use
        if not stray:
            self._pooled.data_received(data)
            # The exchange may have ended within these bytes, and more may stand in them.
            stray = self._holds_more()
        if stray and not self._transport.is_closing():
            self._transport.abort()

    def _holds_more(self) -> bool:
        return not self._in_use and self._pooled.should_close

    def eof_received(self) -> bool | None:
        """Hand on that nothing more comes."""
        return self._pooled.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand on that the connection has ended."""
        self._pooled.connection_lost(exc)
        self._lease = None

    def pause_writing(self) -> None:
        """Hand on that the other side reads too slowly."""
        self._pooled.pause_writing()

    def resume_writing(self) -> None:
        """Hand on that the other side reads again."""
        self._pooled.resume_writing()


def guard_of(transport: asyncio.Transport, pooled: object) -> ConnectionGuard:
    """Give the guard of a connection, which is put there the first time."""
    found = transport.get_protocol()
    if isinstance(found, ConnectionGuard):
        return found
    guard = ConnectionGuard(transport, cast("Pooled", pooled))
    transport.set_protocol(guard)
    return guard
