"""Parses the responses on a connection with llhttp, by way of httptools."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from ringme_async.errors import ResponseLost, RingMeError, TransportTimeout
from ringme_async.transports import Headers, Response
from ringme_async.transports.body_decoder import (
    BodyDecoder,
    not_http_error,
    peer_of,
    system_message,
)
from ringme_async.transports.connection_errors import no_response_error
from ringme_async.transports.http11.header_parser import LONGEST_HEAD, HeaderParser

__all__ = ["ResponseParser", "message_of"]

_FRAMING_HEADERS: Final = frozenset({"content-length", "transfer-encoding"})


def message_of(error: BaseException) -> str:
    """Give the system's message about a broken connection, in one line."""
    message = error.strerror if isinstance(error, OSError) else None
    return system_message(message or str(error) or "it was closed")


class ResponseParser:
    """Parses the responses of one connection, one after another. llhttp calls it back.

    Args:
        header_parser: Parses the heads.
        max_body: The largest body after decompression, in bytes.
    """

    __slots__ = (
        "_bodiless",
        "_body",
        "_head_size",
        "_header_parser",
        "_headers",
        "_max_body",
        "_parser",
        "_pieces",
        "_single_piece",
        "_unread",
        "_url",
        "_waiter",
        "done",
        "failure",
        "on_body",
        "reusable",
        "status",
    )

    def __init__(self, header_parser: HeaderParser, max_body: int) -> None:
        self._header_parser = header_parser
        self._max_body = max_body
        self._pieces: list[bytes] = []
        # llhttp appends the pieces of a body directly, without a call of Python code.
        self.on_body: Callable[[bytes], None] = self._pieces.append
        self._parser = self._new_parser()
        self._url = ""
        self._bodiless = False
        self._waiter: asyncio.Future[None] | None = None
        # Of the heads: the number of bytes received, and the bytes that are not parsed yet.
        self._head_size = 0
        self._unread = b""
        self._headers: Headers | None = None
        # The body, if it came in one piece and without a coding.
        self._single_piece = b""
        self._body: BodyDecoder | None = None
        self.status: int = 0
        self.done: bool = False
        self.reusable: bool = False
        self.failure: RingMeError | None = None

    def expect(self, waiter: asyncio.Future[None], url: str, *, bodiless: bool) -> None:
        """Begin the next response.

        Args:
            waiter: Done when the response has ended or failed.
            url: Where the request goes, for messages.
            bodiless: True if the response ends with its head, as the response to HEAD does.
        """
        if self._bodiless:
            # llhttp still waits for the body that the last head announced.
            self._parser = self._new_parser()
        self._url = url
        self._bodiless = bodiless
        self._waiter = waiter
        self._head_size = 0
        self._unread = b""
        self._single_piece = b""
        self._headers = self._body = None
        self.done = self.reusable = False

    @property
    def awaited(self) -> bool:
        """True if a response is expected or in progress."""
        return self._waiter is not None

    def feed(self, data: bytes) -> bool:
        """Parse received bytes. Returns: True if a response was expected."""
        if self._waiter is None:
            self.reusable = False
            return False
        if self._headers is None:
            self._unread += data
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self.done, self.reusable = True, False
        except HttpParserError:
            self.reusable = False
            # Bytes after the end of a response do not spoil it.
            if not self.done:
                self._fail(not_http_error(self._url))
        if self._headers is None:
            if self._head_size > LONGEST_HEAD:
                self._fail(not_http_error(self._url))
        elif self._pieces:
            self._decode_pieces(self._headers)
        if self.done or self.failure is not None:
            self._notify_waiter()
        return True

    def connection_lost(self, broken: Exception | None) -> None:
        """End or fail the response when the connection has closed."""
        self.reusable = False
        # The old llhttp parser refers back to this object, a reference cycle.
        self._parser = HttpResponseParser(None)
        if self._waiter is None:
            return
        if self._headers is None:
            self._fail(no_response_error(self._url, None if broken is None else message_of(broken)))
        elif broken is None and not _FRAMING_HEADERS.intersection(self._headers):
            self.done = True
        else:
            how = "off" if broken is None else f"off: {message_of(broken)}"
            self._fail(ResponseLost(f"the answer of {peer_of(self._url)} broke {how}"))
        self._notify_waiter()

    def time_out(self, seconds: float) -> None:
        """Fail the response with a time-out."""
        if self._waiter is not None:
            peer = peer_of(self._url)
            self._fail(TransportTimeout(f"no whole answer from {peer} within {seconds:g} s"))
            self._notify_waiter()

    def response(self) -> Response:
        """Give the response and forget it.

        Raises:
            ResponseLost: The response is unreadable, and has no error status.
            ResponseTooLarge: The body is over the cap, and the response has no error status.
        """
        headers, body, data, failure = self._headers, self._body, self._single_piece, self.failure
        self._headers = self._body = None
        self._single_piece = b""
        if headers is None:
            raise failure or not_http_error(self._url)
        if body is None:
            if failure is not None and self.status < 400:
                raise failure
            return Response(self.status, headers, data)
        if failure is None:
            try:
                data = body.finish()
            except ResponseLost as error:
                failure = error
        if failure is not None:
            if self.status < 400:
                raise failure
            data = body.so_far()
        return Response(self.status, body.remaining_headers(headers), data)

    # The callbacks of llhttp.

    def on_message_begin(self) -> None:
        """Refuse a second response after the end of the first."""
        if self.done:
            raise HttpParserError("nobody has asked for it")

    def on_headers_complete(self) -> None:
        """Parse the head, and skip an interim response."""
        self.status = self._parser.get_status_code()
        headers, self._unread = self._header_parser.parse(self._unread)
        if headers is None:
            self._fail(not_http_error(self._url))
        elif self.status >= 200 or self.status < 100 or self.status == 101:
            self._headers = headers
            self._unread = b""
            if self._bodiless:
                self.done, self.reusable = True, self._parser.should_keep_alive()

    def on_message_complete(self) -> None:
        """End the response, unless it is an interim one."""
        if self._headers is not None:
            self.done, self.reusable = True, self._parser.should_keep_alive()

    def _new_parser(self) -> HttpResponseParser:
        parser = HttpResponseParser(self)
        # RFC 9112 has clients accept folded fields (5.2) and lines that end with LF alone (2.2).
        # aiohttp accepts both too, and spaces after the size of a chunk.
        parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        return parser

    def _decode_pieces(self, headers: Headers) -> None:
        pieces, body = self._pieces, self._body
        if self._bodiless:
            self.reusable = False
        elif (
            self.done
            and body is None
            and len(pieces) == 1
            and len(pieces[0]) <= self._max_body
            and headers.get("content-encoding") is None
        ):
            self._single_piece = pieces[0]
        else:
            if body is None:
                body = self._body = BodyDecoder(self._url, headers, self._max_body)
            try:
                for piece in pieces:
                    body.feed(piece)
            except RingMeError as error:
                self._fail(error)
        pieces.clear()

    def _fail(self, failure: RingMeError) -> None:
        self.reusable = False
        if self.failure is None:
            self.failure = failure

    def _notify_waiter(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
