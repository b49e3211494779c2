"""HTTP/1.1 over one connection, one exchange at a time."""

from __future__ import annotations

import asyncio
import math
import socket
from typing import Final, Protocol, cast

from ringme_async._internal.deadlines import Deadline, Deadlines
from ringme_async.transports.http11.response_parser import ResponseParser
from ringme_async.transports.write_coalescing import WriteCoalescer

__all__ = ["ConnectionRegistry", "HTTPConnection", "ResponseDeadline"]

_BUFFER: Final = 2**15


class ResponseDeadline(Deadline):
    """The deadline of the current exchange on a connection.

    It fails the response instead of cancelling a task.
    """

    __slots__ = ("_parser", "seconds")

    def __init__(self, among: Deadlines, parser: ResponseParser) -> None:
        super().__init__(math.inf, among)
        self._parser = parser
        self.seconds: float = 0.0

    def expire(self, now: float) -> None:
        """Fail the response with a time-out."""
        self._parser.time_out(self.seconds)


class ConnectionRegistry(Protocol):
    """The open connections of a transport."""

    def add(self, connection: HTTPConnection) -> None:
        """Register an open connection."""
        ...

    def discard(self, connection: HTTPConnection) -> None:
        """Remove a closed connection."""
        ...


class HTTPConnection(asyncio.BufferedProtocol):
    """One connection to a server or a proxy.

    It reads into its own buffer. Without one, asyncio allocates 256 KiB for each read, and the
    system may map and unmap that memory each time.

    Args:
        loop: The event loop.
        pool: Registers the open connections.
        parser: Parses the responses.
        deadlines: Times the exchanges out.
        coalescer: Decides when a request is written.
    """

    __slots__ = (
        "_beneath",
        "_buffer",
        "_coalescer",
        "_discarded",
        "_layers",
        "_loop",
        "_pool",
        "_unsent",
        "closed",
        "deadline",
        "idle_since",
        "parser",
        "sock",
        "transport",
    )

    # Both are set once the connection is established.
    transport: asyncio.Transport
    sock: socket.socket

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: ConnectionRegistry,
        parser: ResponseParser,
        deadlines: Deadlines,
        coalescer: WriteCoalescer,
    ) -> None:
        self._loop = loop
        self._coalescer = coalescer
        self._discarded = False
        # A request that is not written yet.
        self._unsent = b""
        self._pool = pool
        self._buffer = memoryview(bytearray(_BUFFER))
        # TLS and the transport beneath it each count only the bytes in their own write buffer.
        self._layers: tuple[asyncio.Transport, ...] = ()
        self._beneath: tuple[asyncio.Transport, ...] = ()
        self.parser: ResponseParser = parser
        self.deadline: ResponseDeadline = ResponseDeadline(deadlines, parser)
        self.closed: asyncio.Future[None] = loop.create_future()
        self.idle_since: float = 0.0

    def send_request(self, data: bytes, url: str, *, bodiless: bool) -> asyncio.Future[None]:
        """Send a request.

        Args:
            data: The request.
            url: Where it goes, for messages.
            bodiless: True if the response ends with its head.

        Returns:
            A future to await. Call ``finish_exchange`` after it, whatever its outcome.
        """
        waiter = self._loop.create_future()
        self.parser.expect(waiter, url, bodiless=bodiless)
        self._unsent = data
        if not self._coalescer.defer(self._write_request):
            self._write_request()
        return waiter

    def finish_exchange(self) -> bool:
        """End an exchange. Returns: True if the connection can be reused; otherwise it closes."""
        if (
            self.parser.reusable
            and not self._discarded
            and not self.transport.get_write_buffer_size()
            and not (
                self._beneath and any(layer.get_write_buffer_size() for layer in self._beneath)
            )
        ):
            return True
        self.abort()
        return False

    def abort(self) -> None:
        """Close the connection at once, if it is established."""
        if self._layers:
            self.transport.abort()

    def close_socket(self) -> None:
        """Close the socket directly, when its event loop has ended."""
        self.sock.close()

    def discard(self) -> None:
        """Close the connection, or let the exchange in flight finish first."""
        self._discarded = True
        if not self.parser.awaited:
            self.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport, or the TLS transport above it."""
        self.transport = cast("asyncio.Transport", transport)
        self._beneath, self._layers = self._layers, (*self._layers, self.transport)
        self._pool.add(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give the buffer to read into."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parse the bytes that arrived."""
        # Bytes without a request must never pass for the response to the next one.
        if self._unsent or not self.parser.feed(bytes(self._buffer[:nbytes])):
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the exchange in flight and leave the pool."""
        self._unsent = b""
        self.parser.connection_lost(exc)
        if not self.closed.done():
            self.closed.set_result(None)
        self._pool.discard(self)

    def _write_request(self) -> None:
        data, self._unsent = self._unsent, b""
        if data:
            self.transport.write(data)
