"""What a transport is: one request in, one response out. Nothing more."""

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
    """Header fields, frozen, looked up in any letter case, shown without their secrets."""

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
        """Give a field's value, or the default if there is no such field."""
        value = self._fields.get(key)
        return self._fields.get(key.lower(), default) if value is None else value

    def items(self) -> ItemsView[str, str]:
        """Give the fields, their names in lower case."""
        return self._fields.items()

    def without(self, *names: str) -> Headers:
        """Give the other fields.

        Args:
            names: Of the fields to leave out, in any letter case.
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
    """Freeze header fields; those that are frozen already are returned as they are."""
    return fields if isinstance(fields, Headers) else Headers(fields)


@frozen
class Timeouts:
    """How long the parts of one attempt may take, in seconds, beneath the call's deadline.

    Args:
        connect: For the connection, TLS included. Default 10.
        attempt: For the whole attempt, from the connection to the body's last byte. Default 30.
    """

    connect: float = field(default=10.0, validator=_positive)
    attempt: float = field(default=30.0, validator=_positive)


_DEFAULT_TIMEOUTS = Timeouts()


@frozen(eq=False, repr=False)
class Request:
    """One HTTP request, whole, as it goes to a transport."""

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
    """What brought a response, as far as its reader is concerned."""

    def discard(self) -> None:
        """Let it carry no further request, because what it brought answers another one."""
        ...


@frozen(eq=False, repr=False)
class Response:
    """One HTTP response, read to its end, its body decompressed."""

    status: int
    headers: Headers = field(factory=Headers, converter=as_headers)
    body: bytes = b""
    connection: Connection | None = field(default=None, kw_only=True)

    def over(self, connection: Connection) -> Response:
        """Give the same response with the connection that brought it."""
        return Response(self.status, self.headers, self.body, connection=connection)

    def __reduce__(self) -> tuple[type[Response], tuple[int, Headers, bytes]]:
        # No pickle holds a connection.
        return Response, (self.status, self.headers, self.body)

    def json(self) -> JSON:
        """Read the body as JSON.

        Raises:
            DecodeError: It is none.
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

    An implementation follows no redirects, retries nothing and keeps no cookies. It is safe to be
    cancelled at any await.
    """

    async def send(self, request: Request) -> Response:
        """Send a request and read its response to the end.

        Raises:
            TransportError: No usable answer arrived; its ``sent`` says whether the request may
                have reached the server.
        """
        ...

    async def aclose(self) -> None:
        """Release what the transport holds; further calls do nothing."""
        ...


class Releasable(Protocol):
    """A transport that can also be released without waiting."""

    def let_go(self) -> None:
        """Release at once what ``aclose`` would, when nobody is left to await that.

        It is called once a ``RingMe`` that was used and never closed is thrown away, on its event loop
        or when that has ended; nobody can catch what it raises.
        """
        ...
