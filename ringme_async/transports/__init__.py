"""The transport protocol: one request in, one response out."""

from __future__ import annotations

import json
from collections.abc import ItemsView, Iterator, Mapping
from typing import Protocol, TypeVar, cast, overload
from urllib.parse import urlsplit

import attrs
from attrs import field, frozen

from ringme_async._internal.frozen_json import JSON
from ringme_async._internal.redaction import MASK, hide_pairs, is_secret_name
from ringme_async._internal.validation import seconds_above_zero
from ringme_async.errors import DecodeError

__all__ = ["Connection", "Headers", "Releasable", "Request", "Response", "Timeouts", "Transport"]

T = TypeVar("T")

_SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "www-authenticate"}
)


class Headers(Mapping[str, str]):
    """Frozen header fields. Names match in any letter case, and ``repr`` masks secrets."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, str] | None = None) -> None:
        if fields is None:
            self._fields: dict[str, str] = {}
        else:
            self._fields = {name.lower(): value for name, value in fields.items()}

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    @overload
    def get(self, key: str, default: None = None, /) -> str | None: ...
    @overload
    def get(self, key: str, default: str, /) -> str: ...
    @overload
    def get(self, key: str, default: T, /) -> str | T: ...
    def get(self, key: str, default: object = None, /) -> object:
        """Give the value of a field, or the default if the field is missing."""
        value = self._fields.get(key)
        return self._fields.get(key.lower(), default) if value is None else value

    def items(self) -> ItemsView[str, str]:
        """Give the fields, with names in lower case."""
        return self._fields.items()

    def without(self, *names: str) -> Headers:
        """Give a copy without some fields.

        Args:
            names: The fields to leave out, in any letter case.
        """
        unwanted = {name.lower() for name in names}
        return Headers({name: text for name, text in self.items() if name not in unwanted})

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._fields

    def __hash__(self) -> int:
        return hash(frozenset(self._fields.items()))

    def __repr__(self) -> str:
        shown = {
            name: MASK if name in _SECRET_HEADERS or is_secret_name(name) else hide_pairs(value)
            for name, value in self._fields.items()
        }
        return f"Headers({shown})"


def _positive(_instance: object, attribute: attrs.Attribute[float], value: object) -> None:
    seconds_above_zero(attribute.name, value)


def as_headers(fields: Mapping[str, str] | None) -> Headers:
    """Freeze header fields. ``Headers`` come back unchanged."""
    return fields if isinstance(fields, Headers) else Headers(fields)


@frozen
class Timeouts:
    """Time-outs of one attempt, in seconds. The call's deadline bounds them.

    Args:
        connect: For connecting, with TLS. Default 10.
        attempt: For the whole attempt, from connecting to the last byte of the body. Default 30.
    """

    connect: float = field(default=10.0, validator=_positive)
    attempt: float = field(default=30.0, validator=_positive)


_DEFAULT_TIMEOUTS = Timeouts()


@frozen(eq=False, repr=False)
class Request:
    """One complete HTTP request."""

    method: str
    url: str
    headers: Headers = field(factory=Headers, converter=as_headers)
    body: bytes = b""
    timeouts: Timeouts = _DEFAULT_TIMEOUTS

    def __repr__(self) -> str:
        try:
            parts = urlsplit(self.url)
        except ValueError:
            return f"<Request {self.method} of a malformed URL>"
        host = parts.netloc.rpartition("@")[2]
        return f"<Request {self.method} {parts.scheme}://{host}{parts.path}>"


class Connection(Protocol):
    """The connection that delivered a response."""

    def discard(self) -> None:
        """Keep it from further requests, because it delivered a response to another one."""
        ...


@frozen(eq=False, repr=False)
class Response:
    """One complete HTTP response, its body decompressed."""

    status: int
    headers: Headers = field(factory=Headers, converter=as_headers)
    body: bytes = b""
    connection: Connection | None = field(default=None, kw_only=True)

    def over(self, connection: Connection) -> Response:
        """Give the same response with the connection that delivered it."""
        return Response(self.status, self.headers, self.body, connection=connection)

    def __reduce__(self) -> tuple[type[Response], tuple[int, Headers, bytes]]:
        # A connection cannot be pickled.
        return Response, (self.status, self.headers, self.body)

    def json(self) -> JSON:
        """Read the body as JSON.

        Raises:
            DecodeError: The body is not JSON.
        """
        try:
            return cast("JSON", json.loads(self.body))
        except (ValueError, RecursionError):
            pass
        raise DecodeError("the body is no JSON", body=self.body, garbled=True)

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.body)} bytes>"


class Transport(Protocol):
    """Sends one request and returns one response.

    An implementation follows no redirects, retries nothing and keeps no cookies. Cancellation is
    safe at any await.
    """

    async def send(self, request: Request) -> Response:
        """Send a request and read its response to the end.

        Raises:
            TransportError: No usable response arrived. Its ``sent`` says whether the request may
                have reached the server.
        """
        ...

    async def aclose(self) -> None:
        """Release the transport's connections. Further calls do nothing."""
        ...


class Releasable(Protocol):
    """A transport that can also be released without waiting."""

    def let_go(self) -> None:
        """Release at once what ``aclose`` would, when no task can await ``aclose``.

        A ``RingMe`` that was never closed calls this when it is garbage collected. The call comes
        on its event loop, or after that loop has ended. Exceptions from it cannot be caught.
        """
        ...
