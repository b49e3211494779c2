"""The faults; ``ringme_async.testing.faults`` is their public door."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from attrs import evolve, field, frozen

from ringme_async._internal.public_names import publish
from ringme_async.testing.fake.responses import BUSY, NO_HEADERS, refusal
from ringme_async.transports import Headers, Response

__all__ = [
    "Busy",
    "ClockSkew",
    "CutBody",
    "Empty",
    "Fault",
    "GarbledBody",
    "GarbledGzip",
    "GzipBomb",
    "Html",
    "RateLimited",
    "Redirect",
    "ResetAfter",
    "ResetBefore",
    "Scene",
    "ServerError",
    "SlowDrip",
    "Stall",
    "Status",
    "TokenDeath",
]

_PAGE = (
    b"<html>\r\n<head><title>%(code)d %(phrase)s</title></head>\r\n"
    b"<body>\r\n<center><h1>%(code)d %(phrase)s</h1></center>\r\n</body>\r\n</html>\r\n"
)


class Scene(Protocol):
    """What a fault can do with the request that it strikes."""

    def carry_out(self) -> Response:
        """Carry the request out and return the answer."""
        ...

    def count(self) -> None:
        """Count the request against the hourly limit without carrying it out."""
        ...

    def kill_token(self) -> None:
        """Revoke the request's token before the server checks it."""
        ...

    def headers(self) -> Mapping[str, str]:
        """Return the header fields of every answer from this part of the server."""
        ...

    def date(self, skew: float = 0.0) -> str:
        """Return the server's time as a ``Date`` header, ``skew`` seconds off."""
        ...


class Fault:
    """The base of all faults.

    For a fault of your own, write a frozen attrs subclass with ``strike``. Its ``delay`` is the
    number of seconds that the answer comes late.
    """

    __slots__ = ()

    @property
    def delay(self) -> float:
        """Seconds that the answer comes late."""
        return 0.0

    def strike(self, scene: Scene) -> Response:
        """Return the answer to a request with this fault; by default the correct one."""
        return scene.carry_out()


@frozen
class Status(Fault):
    """The API answers with this code and changes nothing. The request counts, except on 429.

    Args:
        code: The HTTP status.
        status: The ``status`` in the error's JSON; None omits it.
        message: The ``message`` in the error's JSON; None omits it.
        retry_after: The ``Retry-After`` header: seconds, a text sent unchanged, or a ``timedelta``.
            A ``timedelta`` becomes the HTTP date that far from the fake's clock.
        headers: Further header fields.
        body: Replaces the JSON of the error.
        limits: Does the answer carry the ``X-RateLimit-*`` headers?
    """

    code: int
    status: str | None = field(default=None, kw_only=True)
    message: str | None = field(default="The request failed.", kw_only=True)
    retry_after: float | str | timedelta | None = field(default=None, kw_only=True)
    headers: Mapping[str, str] = field(default=NO_HEADERS, hash=False, kw_only=True)
    body: bytes | None = field(default=None, kw_only=True)
    limits: bool = field(default=True, kw_only=True)

    def strike(self, scene: Scene) -> Response:
        """Answer with the code."""
        if self.code != 429:
            scene.count()
        fields = dict(scene.headers()) if self.limits else {"date": scene.date()}
        if self.retry_after is not None:
            fields["retry-after"] = _retry_after(self.retry_after, scene)
        fields.update(self.headers)
        answer = refusal(self.code, self.message, self.status, fields)
        return answer if self.body is None else evolve(answer, body=self.body)


@frozen
class ServerError(Status):
    """The API fails with 500, 502, 503 or 504. Nothing is changed, and the request counts.

    Args:
        code: Default 500.
    """

    code: int = 500
    message: str | None = field(default="The server failed.", kw_only=True)


@frozen
class Busy(Status):
    """429 because a similar request runs: no status, no limits (API page, section 3)."""

    code: int = field(default=429, init=False)
    message: str | None = field(default=BUSY, kw_only=True)
    limits: bool = field(default=False, kw_only=True)


@frozen
class RateLimited(Fault):
    """429 ``rate_limit_exceeded``, regardless of the counter.

    Args:
        reset: Seconds until the reset; default the rest of the current window.
    """

    reset: int | None = None

    def strike(self, scene: Scene) -> Response:
        """Answer as if the hourly limit were used up."""
        fields = {**scene.headers(), "x-ratelimit-remaining": "0"}
        if self.reset is not None:
            fields["x-ratelimit-reset"] = str(self.reset)
        return refusal(429, "The hourly limit is used up.", "rate_limit_exceeded", fields)


@frozen
class Html(Fault):
    """A proxy answers with an HTML page; the request never reaches the API.

    Args:
        code: The HTTP status; default 502.
        body: The page; default a plain one.
    """

    code: int = 502
    body: bytes | None = field(default=None, repr=False)

    def strike(self, scene: Scene) -> Response:
        """Answer with the page."""
        phrase = b"Bad Gateway" if self.code == 502 else b"Error"
        page = _PAGE % {b"code": self.code, b"phrase": phrase} if self.body is None else self.body
        fields = {"content-type": "text/html; charset=utf-8", "date": scene.date()}
        return Response(self.code, Headers(fields), page)


@frozen
class Empty(Fault):
    """A proxy answers without a body; the request never reaches the API.

    Args:
        code: The HTTP status; default 502.
    """

    code: int = 502

    def strike(self, scene: Scene) -> Response:
        """Answer without a body."""
        return Response(self.code, Headers({"date": scene.date()}))


@frozen
class Redirect(Fault):
    """A proxy redirects the client; the request never reaches the API.

    Args:
        url: The target.
        code: The HTTP status; default 307, which keeps method and body.
    """

    url: str
    code: int = 307

    def strike(self, scene: Scene) -> Response:
        """Answer with the redirect."""
        return Response(self.code, Headers({"location": self.url, "date": scene.date()}))


@frozen
class ResetBefore(Fault):
    """The connection is reset before the server reads the request: nothing is changed."""

    def strike(self, scene: Scene) -> Response:
        """Change nothing and send no answer."""
        return LOST


@frozen
class ResetAfter(Fault):
    """The request is carried out, then the connection is reset instead of an answer."""


@frozen
class Stall(Fault):
    """The request is carried out at once, and the answer comes late.

    Args:
        seconds: How late; default 60, longer than an attempt of the SDK lasts.
    """

    seconds: float = 60.0

    @property
    def delay(self) -> float:
        """Seconds that the answer comes late."""
        return self.seconds


@frozen
class SlowDrip(Fault):
    """The request is carried out, and the answer's body comes piece by piece.

    Args:
        seconds: How long the body takes as a whole.
        pieces: In how many parts it comes.
    """

    seconds: float = 60.0
    pieces: int = 20


@frozen
class CutBody(Fault):
    """The request is carried out, and the connection ends in the middle of the answer's body.

    Args:
        share: The part of the body that arrives: from 0 to below 1.
    """

    share: float = 0.5


@frozen
class GarbledBody(Fault):
    """The request is carried out, and the answer's body is corrupted.

    Args:
        body: The body to send; default the correct one with corrupted bytes in its middle.
    """

    body: bytes | None = None

    def strike(self, scene: Scene) -> Response:
        """Answer with the corrupted body."""
        response = scene.carry_out()
        return evolve(response, body=_corrupted(response.body) if self.body is None else self.body)


@frozen
class GarbledGzip(Fault):
    """The request is carried out, and the answer's body cannot be decompressed."""


@frozen
class GzipBomb(Fault):
    """The request is carried out, and the answer is a small body that decompresses to zeros.

    Args:
        size: How many bytes it decompresses to; default 300 MB.
    """

    size: int = 300_000_000


@frozen
class TokenDeath(Fault):
    """The token is revoked early: 401 for this request and all later ones with the token."""

    def strike(self, scene: Scene) -> Response:
        """Revoke the token, then handle the request."""
        scene.kill_token()
        return scene.carry_out()


@frozen
class ClockSkew(Fault):
    """The request is carried out, and the answer's ``Date`` is wrong.

    Args:
        seconds: How far ahead the server's clock is; below 0 it is behind.
    """

    seconds: float

    def strike(self, scene: Scene) -> Response:
        """Answer with the wrong date."""
        response = scene.carry_out()
        fields = {**response.headers, "date": scene.date(self.seconds)}
        return evolve(response, headers=Headers(fields))


LOST = Response(0)


def _retry_after(value: float | str | timedelta, scene: Scene) -> str:
    if isinstance(value, timedelta):
        return scene.date(value.total_seconds())
    return str(value)


def _corrupted(body: bytes) -> bytes:
    third = len(body) // 3
    return body[:third] + b"\xff\x00" * max(1, third // 2) + body[2 * third :]


# Users import the faults from there.
publish("ringme_async.testing.faults", [name for name in __all__ if name != "Scene"], globals())
