"""Shared by all transports: asks for gzip, and decodes bodies up to a cap."""

from __future__ import annotations

import re
import zlib
from typing import Final, Protocol
from urllib.parse import urlsplit

import attrs

from ringme_async.errors import (
    InvalidRequest,
    ResponseLost,
    ResponseTooLarge,
    one_line,
)
from ringme_async.transports import Headers, Request, Response

DEFAULT_MAX_BODY: Final = 8 * 2**20

_GZIP_WBITS: Final = 16 + zlib.MAX_WBITS
# Compression may add this much to an incompressible body.
_COMPRESSION_OVERHEAD: Final = 2**16
# A stream of empty members never reaches the cap, and each one costs a copy of the rest.
_MAX_MEMBERS: Final = 1_000
_WIRE_HEADERS: Final = ("content-encoding", "content-length")
# The place in Python's source that ends the message of a TLS error.
_SOURCE_PLACE: Final = re.compile(r" \(_ssl\.c:\d+\)")


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /, max_length: int = ...) -> bytes: ...


def asking_for_gzip(request: Request) -> Request:
    """Add ``Accept-Encoding: gzip`` to a request that has no such header.

    The header is mandatory on every request (API page, section 3).
    """
    if "accept-encoding" in request.headers:
        return request
    headers = Headers({**request.headers, "accept-encoding": "gzip"})
    return attrs.evolve(request, headers=headers)


def lower_case_headers(fields: dict[str, str]) -> Headers:
    """Freeze fields with lower-case names. The caller gives the dict away."""
    headers = Headers.__new__(Headers)
    # Checking each name again would cost as much as parsing it.
    headers._fields = fields  # pyright: ignore[reportPrivateUsage]
    return headers


def whole_number(name: str, value: object, *, least: int) -> int:
    """Check that a setting is a whole number.

    Raises:
        InvalidRequest: The value is not a whole number, or is below ``least``.
    """
    if type(value) is not int or value < least:
        raise InvalidRequest(f"{name} must be a whole number from {least} up, not {value!r}")
    return value


def peer_of(url: str) -> str:
    """Name the host and port of a URL for a message, and no other part."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "an unreadable address"
    return f"{parts.hostname or 'no host'}:{port}"


def system_message(text: str) -> str:
    """Fold a message of the system into one line, without places in Python's source."""
    return one_line(_SOURCE_PLACE.sub("", text))


def not_http_error(url: str) -> ResponseLost:
    """Make the error of a response that is not HTTP, with the usual cause as advice."""
    error = ResponseLost(f"what {peer_of(url)} answered is not HTTP")
    error.advice = "check the base URL: its port, and whether it begins with https or http"
    return error


def refusal_of_closed(transport: object) -> InvalidRequest:
    """Make the error of a call on a closed transport."""
    return InvalidRequest(
        f"this {type(transport).__name__} is closed; a RingMe closes its transport with itself,"
        " so give each RingMe its own"
    )


def refusal_on_other_loop(transport: object) -> InvalidRequest:
    """Make the error of a call on a transport of another event loop."""
    return InvalidRequest(
        f"this {type(transport).__name__} belongs to another event loop: make one for each loop"
    )


class BodyDecoder:
    """Decompresses a body chunk by chunk, and refuses more than the cap.

    Args:
        url: The URL of the request, for messages.
        headers: The headers of the response.
        max_body: The largest body after decompression, in bytes.
    """

    __slots__ = ("_cap", "_coding", "_inflater", "_members", "_parts", "_received", "_size", "_url")

    def __init__(self, url: str, headers: Headers, max_body: int) -> None:
        self._url = url
        self._cap = max_body
        self._coding = headers.get("content-encoding", "").strip().lower()
        self._parts: list[bytes] = []
        self._size = 0
        self._received = 0
        self._members = 0
        self._inflater: _Inflater | None = None

    def feed(self, chunk: bytes) -> None:
        """Decode the next bytes of the body.

        Raises:
            ResponseTooLarge: The body is over the cap.
            ResponseLost: The body is garbled, or in a coding that the request did not allow.
        """
        if not chunk:
            return
        self._received += len(chunk)
        if self._coding in {"", "identity"}:
            self._append(chunk)
            return
        if self._received > self._cap + _COMPRESSION_OVERHEAD:
            raise self._too_large()
        try:
            self._inflate(chunk)
        except zlib.error:
            garbled = True
        else:
            garbled = False
        if garbled:
            raise self._lost(f"its {self._coding} body is garbled")

    def finish(self) -> bytes:
        """Give the whole body.

        Raises:
            ResponseLost: The compressed body stops in the middle.
        """
        if self._inflater is not None and not self._inflater.eof:
            raise self._lost(f"its {self._coding} body stops in the middle")
        return self.so_far()

    def so_far(self) -> bytes:
        """Give the decoded part of the body."""
        return b"".join(self._parts)

    def remaining_headers(self, headers: Headers) -> Headers:
        """Give the headers without the ones that describe the compressed body."""
        return headers if self._inflater is None else headers.without(*_WIRE_HEADERS)

    def _append(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._cap:
            raise self._too_large()
        self._parts.append(part)

    def _inflate(self, chunk: bytes) -> None:
        inflater, rest = self._inflater, chunk
        while True:
            if inflater is not None and inflater.eof:
                # Zero padding may follow a member.
                rest = rest.lstrip(b"\0")
            if not rest:
                return
            if inflater is None or inflater.eof:
                inflater = self._inflater = self._next_member(rest)
            # One byte more than the cap, so that `_append` notices a larger body.
            self._append(inflater.decompress(rest, self._cap - self._size + 1))
            rest = inflater.unused_data

    def _next_member(self, start: bytes) -> _Inflater:
        self._members += 1
        if self._members > _MAX_MEMBERS:
            raise self._lost(f"its {self._coding} body is cut into too many pieces")
        return zlib.decompressobj(self._window_bits(start))

    def _window_bits(self, start: bytes) -> int:
        if self._coding in {"gzip", "x-gzip"}:
            return _GZIP_WBITS
        if self._coding == "deflate" and self._inflater is None:
            # Some servers send a bare deflate stream, without the zlib header of RFC 9110.
            return zlib.MAX_WBITS if start[0] & 0x0F == 8 else -zlib.MAX_WBITS
        if self._coding == "deflate":
            raise self._lost("something follows its deflate body")
        raise self._lost("its Content-Encoding was not asked for")

    def _too_large(self) -> ResponseTooLarge:
        return ResponseTooLarge(
            f"the answer of {peer_of(self._url)} is over max_body, {self._cap} bytes"
        )

    def _lost(self, why: str) -> ResponseLost:
        return ResponseLost(f"the answer of {peer_of(self._url)} cannot be read: {why}")


def decompressed(request: Request, response: Response, max_body: int) -> Response:
    """Decompress a response that is complete in memory.

    A response with an error status keeps the readable part of its body, because the status
    matters more.

    Raises:
        ResponseTooLarge: The body of a success is over the cap.
        ResponseLost: The body of a success cannot be decompressed.
    """
    if len(response.body) <= max_body:
        coding = response.headers.get("content-encoding")
        if coding is None:
            return response
        if coding == "gzip" and (data := _gunzip(response.body, max_body)) is not None:
            left = response.headers.without(*_WIRE_HEADERS)
            return Response(response.status, left, data, connection=response.connection)
    body = BodyDecoder(request.url, response.headers, max_body)
    try:
        body.feed(response.body)
        data = body.finish()
    except (ResponseLost, ResponseTooLarge):
        if response.status < 400:
            raise
        data = body.so_far()
    left = body.remaining_headers(response.headers)
    return Response(response.status, left, data, connection=response.connection)


def _gunzip(compressed: bytes, max_body: int) -> bytes | None:
    """Decompress gzip in the usual case: one sound member within the cap. None otherwise."""
    inflater = zlib.decompressobj(_GZIP_WBITS)
    try:
        data = inflater.decompress(compressed, max_body + 1)
    except zlib.error:
        return None
    return data if inflater.eof and not inflater.unused_data and len(data) <= max_body else None
