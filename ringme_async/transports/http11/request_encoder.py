"""Encodes requests as HTTP/1.1, and refuses what HTTP forbids."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from ringme_async.errors import InvalidRequest
from ringme_async.transports import Headers, Request

__all__ = ["RequestEncoder", "forbidden", "lines"]

_BODY_METHODS: Final = frozenset({"PATCH", "POST", "PUT"})
# Fields that only the transport sets.
_TRANSPORT_HEADERS: Final = frozenset({"content-length", "host", "transfer-encoding"})
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


class RequestEncoder:
    """Encodes requests. It caches the last headers, because most requests have the same ones."""

    __slots__ = ("_fields", "_headers")

    def __init__(self) -> None:
        self._headers: Headers | None = None
        self._fields = ""

    def encode(self, request: Request, target: str, shared_head: str) -> bytes:
        """Encode a request.

        Args:
            request: The request.
            target: The target in the request line.
            shared_head: The rest of that line, and the fields that requests to an origin share.

        Raises:
            InvalidRequest: HTTP forbids the method or a header.
        """
        if request.headers is not self._headers:
            self._fields = _fields(request.headers)
            self._headers = request.headers
        method, body = _checked_method(request.method), request.body
        framing = f"Content-Length: {len(body)}\r\n" if body or method in _BODY_METHODS else ""
        return f"{method} {target}{shared_head}{self._fields}{framing}\r\n".encode() + body


def lines(*texts: str) -> str:
    """Join lines and end each with CRLF.

    Raises:
        InvalidRequest: A text holds a line break, a zero byte or a lone surrogate.
    """
    text = "\r\n".join((*texts, ""))
    if text.count("\n") == text.count("\r") == len(texts) and "\0" not in text:
        try:
            text.encode()
        except UnicodeEncodeError:
            pass
        else:
            return text
    raise forbidden()


def forbidden() -> InvalidRequest:
    """Make the error of a request that HTTP forbids."""
    return InvalidRequest("the method, the URL or a header holds what HTTP forbids")


def _fields(headers: Headers) -> str:
    """Encode the header fields of a request, without the fields that the transport sets.

    ``Accept-Encoding: gzip`` is mandatory on every request (API page, section 3).
    """
    fields = [
        f"{_title(name)}: {value}"
        for name, value in headers.items()
        if name not in _TRANSPORT_HEADERS
    ]
    if "accept-encoding" not in headers:
        fields.append("Accept-Encoding: gzip")
    return lines(*fields)


@lru_cache(maxsize=64)
def _checked_method(method: str) -> str:
    if _TOKEN.fullmatch(method) is None:
        raise forbidden()
    return method


@lru_cache(maxsize=256)
def _title(name: str) -> str:
    if _TOKEN.fullmatch(name) is None:
        raise forbidden()
    return name.title()
