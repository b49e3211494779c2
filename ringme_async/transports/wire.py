"""HTTP/1.1 over one connection: an exchange at a time, parsed by llhttp, which is httptools."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import Final, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from ringme_async.errors import ResponseLost, RingMeError, TransportTimeout
from ringme_async.transports import Headers, Response
from ringme_async.transports.body import Body, not_http, peer_of, words_of_system

__all__ = ["Answer", "Wire", "words_of"]

_LONGEST_HEAD: Final = 2**16
# What a field of the head counts for beside its length, so that many small ones are too much too.
_FIELD: Final = 64
_FRAMES: Final = frozenset({"content-length", "transfer-encoding"})


@lru_cache(maxsize=256)
def _name(name: bytes) -> str:
    return name.decode("ascii").rstrip().lower()


def words_of(error: BaseException) -> str:
    """Give what the system says of a broken connection, in one line."""
    said = error.strerror if isinstance(error, OSError) else None
    return words_of_system(said or str(error) or "it was closed")


class Answer:
    """One answer as it comes in; the parser calls it back.

    Args:
        url: Where it comes from, for messages.
        max_body: The cap on its body after decompression, in bytes.
        bodiless: Does it end with its head, whatever that announces? So do those to HEAD and
            CONNECT.
    """

    __slots__ = (
        "_bodiless",
        "_body",
        "_fields",
        "_head_size",
        "_headers",
        "_max_body",
        "_parser",
        "_read",
        "_url",
        "done",
        "failure",
        "reusable",
        "status",
    )

    def __init__(self, url: str, max_body: int, *, bodiless: bool) -> None:
        self._url = url
        self._max_body = max_body
        self._bodiless = bodiless
        self._fields: dict[str, str] = {}
        self._head_size = 0
        self._read = 0
        self._headers: Headers | None = None
        self._body: Body | None = None
        self.status: int = 0
        self.done: bool = False
        self.reusable: bool = False
        self.failure: RingMeError | None = None
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        # What RFC 9112 has a client put up with, and aiohttp does, too: folded fields (5.2), lines
        # that end with LF alone (2.2), spaces after the size of a chunk.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )

    def feed(self, data: bytes) -> None:
        """Take in what has come over the wire."""
        if self._parser is None:
            self.reusable = False
            return
        if self._headers is None:
            self._read += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self.done, self.reusable = True, False
        except HttpParserError:
            # After its end it is no longer this answer that is garbled.
            self.reusable = False
            self._fail(self._not_http())
        if self._headers is None and self._read > _LONGEST_HEAD:
            self._fail(self._not_http())
        if self.done or self.failure is not None:
            # It holds this object, and each of the two would keep the other.
            self._parser = None

    def end(self, broken: Exception | None) -> None:
        """Take note that the connection has ended."""
        self._parser, self.reusable = None, False
        if self._headers is None:
            self._fail(ResponseLost(self._no_answer(broken)))
        elif broken is None and not _FRAMES.intersection(self._headers):
            self.done = True
        else:
            words = "off" if broken is None else f"off: {words_of(broken)}"
            self._fail(ResponseLost(f"the answer of {peer_of(self._url)} broke {words}"))

    def response(self) -> Response:
        """Give the answer, read to its end.

        Raises:
            ResponseLost: It cannot be read, and is no error whose status says enough.
            ResponseTooLarge: Its body is over the cap, and it is no such error.
        """
        headers, body, failure = self._headers, self._body, self.failure
        if headers is None or body is None:
            raise failure or self._not_http()
        data = b""
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

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; those after the body are nobody's business."""
        if self._headers is None:
            text = value.decode("utf-8", "surrogateescape")
            self._fields[_name(name)] = text
            self._head_size += len(name) + len(value) + _FIELD
            if self._head_size > _LONGEST_HEAD or "\0" in text:
                self._fail(self._not_http())

    def on_headers_complete(self) -> None:
        """Take the head, unless it is that of an interim answer, or of what nobody asked for."""
        if self.done:
            return
        parser = cast("HttpResponseParser", self._parser)
        self.status = parser.get_status_code()
        if 100 <= self.status < 200 and self.status != 101:
            self._fields = {}
            return
        self._headers = Headers(self._fields)
        self._body = Body(self._url, self._headers, self._max_body)
        self.reusable = parser.should_keep_alive()
        if self._bodiless:
            # The parser would have it that a tunnel ends with the connection.
            self.done, self.reusable = True, self._headers.get("connection", "").lower() != "close"

    def on_body(self, chunk: bytes) -> None:
        """Take a piece of the body."""
        if self.done:
            self.reusable = False
        elif self.failure is None and self._body is not None:
            try:
                self._body.feed(chunk)
            except RingMeError as error:
                self._fail(error)

    def on_message_begin(self) -> None:
        """Take note of what follows the answer."""
        if self.done:
            self.reusable = False

    def on_message_complete(self) -> None:
        """Take note of the end."""
        if self._headers is not None:
            self.done = True

    def give_up(self, seconds: float) -> None:
        """Take note that its time is over."""
        peer = peer_of(self._url)
        self._fail(TransportTimeout(f"no whole answer from {peer} within {seconds:g} s"))

    def _fail(self, failure: RingMeError) -> None:
        if self.failure is None and not self.done:
            self.failure = failure

    def _no_answer(self, broken: Exception | None) -> str:
        peer = peer_of(self._url)
        if broken is None:
            return f"{peer} closed the connection without a whole answer"
        return f"the connection to {peer} broke: {words_of(broken)}"

    def _not_http(self) -> ResponseLost:
        return not_http(self._url)


class Wire(asyncio.Protocol):
    """One connection to a server or a proxy.

    Args:
        loop: The event loop.
        wires: Where all that are open are kept.
    """

    __slots__ = (
        "_answer",
        "_loop",
        "_resting",
        "_transport",
        "_waiter",
        "_wires",
        "gone",
        "idle_since",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, wires: set[Wire]) -> None:
        self._loop = loop
        self._wires = wires
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.gone: asyncio.Future[None] = loop.create_future()
        self.idle_since: float = 0.0
        self._resting: list[Wire] | None = None

    @property
    def transport(self) -> asyncio.Transport:
        """What asyncio moves the bytes with; it is there once the connection is."""
        return cast("asyncio.Transport", self._transport)

    @property
    def usable(self) -> bool:
        """Can another exchange be started?"""
        return not self.transport.is_closing()

    def rest(self, among: list[Wire]) -> None:
        """Lie among the unused ones, until the connection is taken from them or ends."""
        self.idle_since = self._loop.time()
        self._resting = among
        among.append(self)

    async def exchange(self, data: bytes, answer: Answer) -> None:
        """Send a request and wait for its answer to end, or to fail.

        Args:
            data: The request.
            answer: What takes the answer in.
        """
        self._answer = answer
        self._waiter = self._loop.create_future()
        try:
            self.transport.write(data)
            await self._waiter
        finally:
            self._answer = self._waiter = None
            whole = answer.done and answer.failure is None
            if not whole or not answer.reusable or self.transport.get_write_buffer_size():
                self.abort()

    def abort(self) -> None:
        """End the connection at once."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or the TLS that has been started on it."""
        self._transport = cast("asyncio.Transport", transport)
        self._wires.add(self)

    def data_received(self, data: bytes) -> None:
        """Take what has come in."""
        answer = self._answer
        if answer is None:
            # Nobody asked: what follows an answer must never pass for the next one.
            self.abort()
            return
        answer.feed(data)
        if answer.done or answer.failure is not None:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note of the end of the connection."""
        if self._answer is not None:
            self._answer.end(exc)
            self._wake()
        if not self.gone.done():
            self.gone.set_result(None)
        self._wires.discard(self)
        if self._resting is not None and self in self._resting:
            self._resting.remove(self)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
