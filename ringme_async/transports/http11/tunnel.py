"""A tunnel through a proxy (RFC 9110, section 9.3.6)."""

from __future__ import annotations

import asyncio
import re
from typing import Final, cast

from ringme_async.transports.http11.header_parser import LONGEST_HEAD

__all__ = ["Tunnel", "TunnelError"]

# Interim answers (1xx) and blank lines may come before the answer.
_STATUS: Final = re.compile(rb"[\r\n]*HTTP/1\.\d (\d{3})(?!\d)")
# A whole line at the beginning that is no status.
_ODD: Final = re.compile(rb"[\r\n]*(?!HTTP/1\.\d \d{3}(?!\d))[^\r\n][^\n]*\n")
_END: Final = re.compile(rb"(?<=[^\r\n])\r?\n\r?\n")
_OPENED: Final = "opened"
_NOT_HTTP: Final = "what it answered is not HTTP"


class TunnelError(Exception):
    """The proxy opens no tunnel; the message says what it did instead."""


class Tunnel(asyncio.Protocol):
    """Asks a proxy for a tunnel, and reads its answer.

    A tunnel begins where the head of an answer of 2xx ends. ``Connection``, ``Content-Length`` and
    ``Transfer-Encoding`` mean nothing there, and neither does the version of HTTP. What the proxy
    sends before TLS has begun is dropped: in TLS the client speaks first, so it is not the server's.
    """

    __slots__ = ("_answer", "_read", "transport")

    # What moves the bytes; it is there once the connection is.
    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._answer: asyncio.Future[str] = loop.create_future()
        self._read = b""

    async def open(self, request: bytes) -> None:
        """Ask for the tunnel, and wait until it is open.

        Raises:
            TunnelError: It is refused, or what the proxy answered is no HTTP.
        """
        self.transport.write(request)
        answer = await self._answer
        if answer != _OPENED:
            raise TunnelError(answer)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or the TLS that has been started on it."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read on until the head of the answer has come."""
        self._read += data
        while not self._answer.done() and (end := _END.search(self._read)):
            head, self._read = self._read[: end.start()], self._read[end.end() :]
            self._take(head)
        if _ODD.match(self._read) or len(self._read) > LONGEST_HEAD:
            self._end(_NOT_HTTP)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note of the end of the connection."""
        self._end("it closed the connection")

    def _take(self, head: bytes) -> None:
        status = _STATUS.match(head)
        if status is None:
            self._end(_NOT_HTTP)
        elif status[1][:1] == b"2":
            self._end(_OPENED)
        elif status[1][:1] != b"1" or status[1] == b"101":
            self._end(f"status {status[1].decode()}")

    def _end(self, answer: str) -> None:
        if not self._answer.done():
            self._answer.set_result(answer)
