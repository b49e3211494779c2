"""The faults; ``ringme_async.testing.faults`` is their public door."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from attrs import evolve, field, frozen

from ringme_async._internal.half_made import shown_half_made
from ringme_async.testing.fake.responses import BUSY, NO_HEADERS, refusal
from ringme_async.transports import Headers, Response

_PAGE = (
    b"<html>\r\n<head><title>%(code)d %(phrase)s</title></head>\r\n"
    b"<body>\r\n<center><h1>%(code)d %(phrase)s</h1></center>\r\n</body>\r\n</html>\r\n"
)


class Scene(Protocol):
    """What a fault can do with the request that it strikes."""

    def carry_out(self) -> Response:
        """Do what the request asks for and give the answer."""
        ...

    def count(self) -> None:
        """Count the request although it is not carried out."""
        ...

    def kill_token(self) -> None:
        """Let the request's token die before it is looked at."""
        ...

    def headers(self) -> Mapping[str, str]:
        """Give the fields that the answers of this part of the server carry."""
        ...

    def date(self, skew: float = 0.0) -> str:
        """Give the server's clock as a ``Date`` header shows it, so many seconds off."""
        ...


class Fault:
    """The base of all faults; a frozen attrs class with ``strike`` makes another one.

    ``delay`` says how many seconds the answer takes longer.
    """

    __slots__ = ()

    @property
    def delay(self) -> float:
        """Seconds that the answer takes longer."""
        return 0.0

    def strike(self, scene: Scene) -> Response:
        """Give the answer to a request that the fault befalls; by default the right one."""
        return scene.carry_out()


@frozen
class Status(Fault):
    """The API answers with this code and does nothing else. The request counts, except on 429.

    Args:
        code: The HTTP status.
        status: The API's word for it; None leaves it out.
        message: The API's sentence; None leaves it out.
        retry_after: ``Retry-After``: seconds, or a text sent as it stands, or a ``timedelta``, which
            becomes the HTTP date that far from the fake's clock.
        headers: Further fields.
        body: What stands in place of the JSON object with the words; default nothing does.
        limits: Does the answer carry the ``X-RateLimit-*`` fields?
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
    """The API failed: 500, 502, 503 or 504, with a message; nothing was done, the request counts.

    Args:
        code: Default 500.
    """

    code: int = 500
    message: str | None = field(default="The server failed.", kw_only=True)


@frozen
class Busy(Status):
    """429 of the other kind: a like request is running; no status, no limits (API page, section 3)."""

    code: int = field(default=429, init=False)
    message: str | None = field(default=BUSY, kw_only=True)
    limits: bool = field(default=False, kw_only=True)


@frozen
class RateLimited(Fault):
    """429 ``rate_limit_exceeded`` whatever the counter says.

    Args:
        reset: Seconds until the reset; default what the counter's window has left.
    """

    reset: int | None = None

    def strike(self, scene: Scene) -> Response:
        """Answer as if the hour were used up."""
        fields = {**scene.headers(), "x-ratelimit-remaining": "0"}
        if self.reset is not None:
            fields["x-ratelimit-reset"] = str(self.reset)
        return refusal(429, "The hourly limit is used up.", "rate_limit_exceeded", fields)


@frozen
class Html(Fault):
    """A proxy in between answers with a page; the request never reaches the API.

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
    """A proxy in between answers with no body at all; the request never reaches the API.

    Args:
        code: The HTTP status; default 502.
    """

    code: int = 502

    def strike(self, scene: Scene) -> Response:
        """Answer with nothing."""
        return Response(self.code, Headers({"date": scene.date()}))


@frozen
class Redirect(Fault):
    """A proxy in between sends the client elsewhere; the request never reaches the API.

    Args:
        url: Where to.
        code: The HTTP status; default 307, which keeps method and body.
    """

    url: str
    code: int = 307

    def strike(self, scene: Scene) -> Response:
        """Answer with the other place."""
        return Response(self.code, Headers({"location": self.url, "date": scene.date()}))


@frozen
class ResetBefore(Fault):
    """The connection is reset before the request is looked at: nothing is done."""

    def strike(self, scene: Scene) -> Response:
        """Do nothing; no answer leaves."""
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
        """Seconds that the answer takes longer."""
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
        share: How much of the body arrives, from 0 up to 1, without 1.
    """

    share: float = 0.5


@frozen
class GarbledBody(Fault):
    """The request is carried out, and the answer's body is no JSON any more, or not the right one.

    Args:
        body: What stands there; default the right body with bytes in its middle spoiled.
    """

    body: bytes | None = None

    def strike(self, scene: Scene) -> Response:
        """Answer with the spoiled body."""
        response = scene.carry_out()
        return evolve(response, body=_spoiled(response.body) if self.body is None else self.body)


@frozen
class GarbledGzip(Fault):
    """The request is carried out, and the answer's body cannot be decompressed."""


@frozen
class GzipBomb(Fault):
    """The request is carried out, and the answer is a small body that is zeros without end.

    Args:
        size: How many bytes it decompresses to; default 300 MB.
    """

    size: int = 300_000_000


@frozen
class TokenDeath(Fault):
    """The request's token dies before its time: 401 for this request and all that come with it."""

    def strike(self, scene: Scene) -> Response:
        """Kill the token and see what the request makes of it."""
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


def _spoiled(body: bytes) -> bytes:
    third = len(body) // 3
    return body[:third] + b"\xff\x00" * max(1, third // 2) + body[2 * third :]


# Pickles, tracebacks and the reference name the public door, so that this file can move.
for _kind in tuple(globals().values()):
    if isinstance(_kind, type) and issubclass(_kind, Fault):
        _kind.__module__ = "ringme_async.testing.faults"
        shown_half_made(_kind)
