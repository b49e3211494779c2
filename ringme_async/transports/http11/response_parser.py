"""The answers on a connection as they come in, parsed by llhttp, which is httptools."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from ringme_async.errors import ResponseLost, RingMeError, TransportTimeout
from ringme_async.transports import Headers, Response
from ringme_async.transports.body_decoder import Body, not_http, peer_of, words_of_system
from ringme_async.transports.connection_errors import no_answer
from ringme_async.transports.http11.header_parser import LONGEST_HEAD, HeaderParser

__all__ = ["ResponseParser", "words_of"]

_FRAMES: Final = frozenset({"content-length", "transfer-encoding"})


def words_of(error: BaseException) -> str:
    """Give what the system says of a broken connection, in one line."""
    said = error.strerror if isinstance(error, OSError) else None
    return words_of_system(said or str(error) or "it was closed")


class ResponseParser:
    """The answers that come in over one connection, one after another; the parser calls it back.

    Args:
        heads: What reads their heads.
        max_body: The cap on a body after decompression, in bytes.
    """

    __slots__ = (
        "_bodiless",
        "_body",
        "_headers",
        "_heads",
        "_max_body",
        "_parser",
        "_pieces",
        "_read",
        "_unread",
        "_url",
        "_waiter",
        "_whole",
        "done",
        "failure",
        "on_body",
        "reusable",
        "status",
    )

    def __init__(self, heads: HeaderParser, max_body: int) -> None:
        self._heads = heads
        self._max_body = max_body
        self._pieces: list[bytes] = []
        # The parser puts the pieces of a body there itself.
        self.on_body: Callable[[bytes], None] = self._pieces.append
        self._parser = self._new_parser()
        self._url = ""
        self._bodiless = False
        self._waiter: asyncio.Future[None] | None = None
        # Of the heads: how much has come in, and what of it is not understood yet.
        self._read = 0
        self._unread = b""
        self._headers: Headers | None = None
        # A body that came in one piece and without a coding is that piece.
        self._whole = b""
        self._body: Body | None = None
        self.status: int = 0
        self.done: bool = False
        self.reusable: bool = False
        self.failure: RingMeError | None = None

    def expect(self, waiter: asyncio.Future[None], url: str, *, bodiless: bool) -> None:
        """Begin with the next answer.

        Args:
            waiter: What is told when it has come to its end, or has failed.
            url: Where it comes from, for messages.
            bodiless: Does it end with its head, whatever that announces? So do those to HEAD.
        """
        if self._bodiless:
            # The parser still waits for the body that the last one announced.
            self._parser = self._new_parser()
        self._url = url
        self._bodiless = bodiless
        self._waiter = waiter
        self._read = 0
        self._unread = b""
        self._whole = b""
        self._headers = self._body = None
        self.done = self.reusable = False

    @property
    def awaited(self) -> bool:
        """Is an answer under way?"""
        return self._waiter is not None

    def feed(self, data: bytes) -> bool:
        """Take in what has come over the wire. Returns: Is it of an answer that is waited for?"""
        if self._waiter is None:
            self.reusable = False
            return False
        if self._headers is None:
            self._unread += data
            self._read += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self.done, self.reusable = True, False
        except HttpParserError:
            self.reusable = False
            # After its end it is no longer this answer that is garbled.
            if not self.done:
                self._fail(not_http(self._url))
        if self._headers is None:
            if self._read > LONGEST_HEAD:
                self._fail(not_http(self._url))
        elif self._pieces:
            self._take_in(self._headers)
        if self.done or self.failure is not None:
            self._tell()
        return True

    def end(self, broken: Exception | None) -> None:
        """Take note that the connection has ended."""
        self.reusable = False
        # It holds this object, and each of the two would keep the other.
        self._parser = HttpResponseParser(None)
        if self._waiter is None:
            return
        if self._headers is None:
            self._fail(no_answer(self._url, None if broken is None else words_of(broken)))
        elif broken is None and not _FRAMES.intersection(self._headers):
            self.done = True
        else:
            words = "off" if broken is None else f"off: {words_of(broken)}"
            self._fail(ResponseLost(f"the answer of {peer_of(self._url)} broke {words}"))
        self._tell()

    def give_up(self, seconds: float) -> None:
        """Take note that its time is over."""
        if self._waiter is not None:
            peer = peer_of(self._url)
            self._fail(TransportTimeout(f"no whole answer from {peer} within {seconds:g} s"))
            self._tell()

    def response(self) -> Response:
        """Give the answer, read to its end; it is kept no longer.

        Raises:
            ResponseLost: It cannot be read, and is no error whose status says enough.
            ResponseTooLarge: Its body is over the cap, and it is no such error.
        """
        headers, body, data, failure = self._headers, self._body, self._whole, self.failure
        self._headers = self._body = None
        self._whole = b""
        if headers is None:
            raise failure or not_http(self._url)
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
        return Response(self.status, body.headers_left(headers), data)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Let nothing pass for a part of the answer that comes after its end."""
        if self.done:
            raise HttpParserError("nobody has asked for it")

    def on_headers_complete(self) -> None:
        """Take the head, unless it is that of an interim answer."""
        self.status = self._parser.get_status_code()
        headers, self._unread = self._heads.read(self._unread)
        if headers is None:
            self._fail(not_http(self._url))
        elif self.status >= 200 or self.status < 100 or self.status == 101:
            self._headers = headers
            self._unread = b""
            if self._bodiless:
                self.done, self.reusable = True, self._parser.should_keep_alive()

    def on_message_complete(self) -> None:
        """Take note of the end, unless it is that of an interim answer."""
        if self._headers is not None:
            self.done, self.reusable = True, self._parser.should_keep_alive()

    def _new_parser(self) -> HttpResponseParser:
        parser = HttpResponseParser(self)
        # What RFC 9112 has a client put up with, and aiohttp does, too: folded fields (5.2), lines
        # that end with LF alone (2.2), spaces after the size of a chunk.
        parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        return parser

    def _take_in(self, headers: Headers) -> None:
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
            self._whole = pieces[0]
        else:
            if body is None:
                body = self._body = Body(self._url, headers, self._max_body)
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

    def _tell(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
