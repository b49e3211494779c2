"""One request on its way through the fake, and the routes of its paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

from attrs import define, field, frozen

from ringme_async.testing.fake.accounts import FakeApplication, FakeTenant, FakeUser
from ringme_async.testing.fake.client_schema import JSON
from ringme_async.transports import Request, Response

if TYPE_CHECKING:
    from ringme_async.testing.fake.fault_kinds import Fault
    from ringme_async.testing.fake.tokens import Grant
from ringme_async.testing.fake.responses import NOTHING

API_ROOT = "/api/ver1.0"
_API_PREFIX = f"{API_ROOT}/"
CLIENT_ID = "{client_id}"


@define(eq=False)
class Exchange:
    """What the fake knows of one request so far, and its answer."""

    request: Request
    at: float
    method: str
    host: str
    path: str
    query: str
    application: FakeApplication | None = None
    user: FakeUser | None = None
    tenant_id: int | None = None
    grant: Grant | None = None
    route: Route | None = None
    sent: Mapping[str, JSON] = NOTHING
    flaw: str | None = None
    changed: tuple[str, ...] = ()
    fault: Fault | None = None
    response: Response = field(factory=lambda: Response(500))
    delay: float = 0.0
    holds_login: bool = False
    writes: bool = False


@frozen(eq=False)
class Route:
    """One path, with names in braces as placeholders, and its handler for each method."""

    segments: tuple[str, ...]
    handlers: dict[str, Handler]

    def matches(self, parts: list[str]) -> bool:
        """Does a path, split into its parts, match?"""
        if len(parts) != len(self.segments):
            return False
        for part, segment in zip(parts, self.segments, strict=True):
            if part != segment and not (segment[:1] == "{" and part):
                return False
        return True

    @property
    def names_client(self) -> bool:
        """Does the path have a client id?"""
        return CLIENT_ID in self.segments

    def client_id(self, parts: list[str]) -> str | None:
        """Return the part with the client id; None if the path has none."""
        return parts[self.segments.index(CLIENT_ID)] if self.names_client else None


Handler: TypeAlias = Callable[[Exchange, FakeTenant], Response]


class API(Protocol):
    """The part of the fake that answers some of the paths."""

    def identify(self, exchange: Exchange) -> None:
        """Find the application and the client of a request; change nothing."""
        ...

    def answer(self, exchange: Exchange) -> Response:
        """Carry the request out and return its answer."""
        ...

    def headers(self, exchange: Exchange) -> Mapping[str, str]:
        """Return the header fields of every answer from this part."""
        ...

    def count(self, exchange: Exchange) -> None:
        """Count a request that a fault answers without carrying it out."""
        ...

    def kill_token(self, exchange: Exchange) -> None:
        """Revoke the token of this request before it is checked."""
        ...


def is_api(path: str) -> bool:
    """Is this a path of the API, not a login page or an unknown path?"""
    return path.startswith(_API_PREFIX)


def split_url(url: str) -> tuple[str, str, str]:
    """Split an absolute URL into host with port, path, and query."""
    url = url.partition("#")[0]
    rest, _, query = url.partition("?")
    authority, slash, path = rest.partition("://")[2].partition("/")
    return authority.rpartition("@")[2], slash + path, query
