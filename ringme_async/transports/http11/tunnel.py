"""A CONNECT tunnel through a proxy (RFC 9110, section 9.3.6)."""

from __future__ import annotations

import asyncio
import re
from typing import Final, cast

from ringme_async.transports.http11.header_parser import LONGEST_HEAD

__all__ = ["Tunnel", "TunnelError"]

# Interim responses (1xx) and blank lines may come before the response.
_STATUS: Final = re.compile(rb"[\r\n]*HTTP/1\.\d (\d{3})(?!\d)")
# A whole first line that is not a status line.
_NOT_STATUS_LINE: Final = re.compile(rb"[\r\n]*(?!HTTP/1\.\d \d{3}(?!\d))[^\r\n][^\n]*\n")
_END: Final = re.compile(rb"(?<=[^\r\n])\r?\n\r?\n")
_OPENED: Final = "opened"
_NOT_HTTP: Final = "what it answered is not HTTP"


class TunnelError(Exception):
    """The proxy opens no tunnel. The message says what it did instead."""


class Tunnel(asyncio.Protocol):
    """Asks a proxy for a tunnel and reads its response.

    A tunnel begins after the head of a 2xx response. ``Connection``, ``Content-Length``,
    ``Transfer-Encoding`` and the HTTP version have no meaning there. Bytes before TLS are dropped:
    in TLS the client speaks first, so they are not the server's.
    """

    __slots__ = ("_result", "_unread", "transport")

    # Set once the connection is established.
    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._result: asyncio.Future[str] = loop.create_future()
        self._unread = b""

    async def open(self, request: bytes) -> None:
        """Ask for the tunnel and wait until it is open.

        Raises:
            TunnelError: The proxy refused, or its response is not HTTP.
        """
        self.transport.write(request)
        result = await self._result
        if result != _OPENED:
            raise TunnelError(result)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport, or the TLS transport above it."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read heads until the final response."""
        self._unread += data
        while not self._result.done() and (end := _END.search(self._unread)):
            head, self._unread = self._unread[: end.start()], self._unread[end.end() :]
            self._read_head(head)
        if _NOT_STATUS_LINE.match(self._unread) or len(self._unread) > LONGEST_HEAD:
            self._finish(_NOT_HTTP)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the tunnel if it is not open yet."""
        self._finish("it closed the connection")

    def _read_head(self, head: bytes) -> None:
        status = _STATUS.match(head)
        if status is None:
            self._finish(_NOT_HTTP)
        elif status[1][:1] == b"2":
            self._finish(_OPENED)
        elif status[1][:1] != b"1" or status[1] == b"101":
            self._finish(f"status {status[1].decode()}")

    def _finish(self, result: str) -> None:
        if not self._result.done():
            self._result.set_result(result)
