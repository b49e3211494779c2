"""HTTP/1.1 over one connection: an exchange at a time."""

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
    """How long the answers on a connection are waited for, each in its turn.

    At its time it tells the answer, where a deadline of a block would cancel a task.
    """

    __slots__ = ("_parser", "seconds")

    def __init__(self, among: Deadlines, parser: ResponseParser) -> None:
        super().__init__(math.inf, among)
        self._parser = parser
        self.seconds: float = 0.0

    def expire(self, now: float) -> None:
        """Give the answer up."""
        self._parser.give_up(self.seconds)


class ConnectionRegistry(Protocol):
    """Where the open connections are known."""

    def add(self, connection: HTTPConnection) -> None:
        """Take note of a connection."""
        ...

    def discard(self, connection: HTTPConnection) -> None:
        """Forget a connection that has ended."""
        ...


class HTTPConnection(asyncio.BufferedProtocol):
    """One connection to a server or a proxy.

    It reads into a buffer of its own: for a protocol without one asyncio makes room for 256 KiB for
    each answer, which the system may have to hand out and take back each time.

    Args:
        loop: The event loop.
        pool: Where all that are open are kept.
        answers: What reads the answers.
        deadlines: What ends the wait for them.
        departures: When the requests leave.
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
        "gone",
        "idle_since",
        "parser",
        "patience",
        "sock",
        "transport",
    )

    # What moves the bytes, and what they go over; both are there once the connection is.
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
        # The request that has not left yet.
        self._unsent = b""
        self._pool = pool
        self._buffer = memoryview(bytearray(_BUFFER))
        # TLS and what it goes over have a buffer each, and count only what is in their own.
        self._layers: tuple[asyncio.Transport, ...] = ()
        self._beneath: tuple[asyncio.Transport, ...] = ()
        self.parser: ResponseParser = parser
        self.patience: ResponseDeadline = ResponseDeadline(deadlines, parser)
        self.gone: asyncio.Future[None] = loop.create_future()
        self.idle_since: float = 0.0

    def ask(self, data: bytes, url: str, *, bodiless: bool) -> asyncio.Future[None]:
        """Send a request.

        Args:
            data: The request.
            url: Where it goes, for messages.
            bodiless: Does the answer end with its head?

        Returns:
            What is to be awaited; after that, however it ends, comes ``settle``.
        """
        waiter = self._loop.create_future()
        self.parser.expect(waiter, url, bodiless=bodiless)
        self._unsent = data
        if not self._coalescer.defer(self._leave):
            self._leave()
        return waiter

    def settle(self) -> bool:
        """End an exchange. Returns: Can there be another one? If not, the connection ends."""
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
        """End the connection at once, if it has come about."""
        if self._layers:
            self.transport.abort()

    def forsake(self) -> None:
        """Close the socket, where the loop has ended and closes nothing any more."""
        self.sock.close()

    def discard(self) -> None:
        """End the connection; if another exchange has begun on it, with that."""
        self._discarded = True
        if not self.parser.awaited:
            self.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or the TLS that has been started on it."""
        self.transport = cast("asyncio.Transport", transport)
        self._beneath, self._layers = self._layers, (*self._layers, self.transport)
        self._pool.add(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where to put what comes in."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has come in."""
        # Nobody asked, or not yet: what follows an answer must never pass for the next one.
        if self._unsent or not self.parser.feed(bytes(self._buffer[:nbytes])):
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note of the end of the connection."""
        self._unsent = b""
        self.parser.end(exc)
        if not self.gone.done():
            self.gone.set_result(None)
        self._pool.discard(self)

    def _leave(self) -> None:
        data, self._unsent = self._unsent, b""
        if data:
            self.transport.write(data)
