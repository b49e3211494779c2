"""One request in the fake, from its arrival to its answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import formatdate
from random import Random
from typing import Protocol

from attrs import define, field, frozen

from ringme_async.testing.fake.client_api import ClientAPI
from ringme_async.testing.fake.exchange import API, Exchange, is_api, split_url
from ringme_async.testing.fake.fault_schedule import Faults
from ringme_async.testing.fake.oauth_api import TOKEN_PATH, OAuthAPI
from ringme_async.testing.fake.request_log import RequestLog
from ringme_async.testing.fake.responses import refusal
from ringme_async.testing.fake.tokens import LoginLimits
from ringme_async.transports import Headers, Request, Response

Latency = float | Callable[[Random], float]

_LOGIN_PATHS = ("/oauth", "/login")


@define(eq=False)
class WallClock:
    """The server's wall clock; from the first request on it follows the loop's clock.

    Args:
        began: Its time at the first request; None for the machine's time.
    """

    began: datetime | None
    _offset: float | None = None
    _second: int = -1
    _text: str = ""

    def date(self, at: float) -> str:
        """Convert a time of the loop's clock to an HTTP date."""
        if self._offset is None:
            began = time.time() if self.began is None else self.began.timestamp()
            self._offset = began - at
        second = int(self._offset + at)
        if second != self._second:
            self._second = second
            self._text = formatdate(second, usegmt=True)
        return self._text


@frozen(eq=False)
class _Scene:
    """The request as a fault sees it."""

    api: API
    exchange: Exchange
    clock: WallClock

    def carry_out(self) -> Response:
        return self.api.answer(self.exchange)

    def count(self) -> None:
        self.api.count(self.exchange)

    def kill_token(self) -> None:
        self.api.kill_token(self.exchange)

    def headers(self) -> Mapping[str, str]:
        return self.api.headers(self.exchange)

    def date(self, skew: float = 0.0) -> str:
        return self.clock.date(self.exchange.at + skew)


@frozen(eq=False)
class _UnknownPaths:
    """Answers every path outside the API and the logins with 404."""

    clock: WallClock

    def identify(self, exchange: Exchange) -> None:
        """Do nothing: no client is known here."""

    def count(self, exchange: Exchange) -> None:
        """Do nothing: there is no counter here."""

    def kill_token(self, exchange: Exchange) -> None:
        """Do nothing: no token is checked here."""

    def headers(self, exchange: Exchange) -> Mapping[str, str]:
        return {"date": self.clock.date(exchange.at)}

    def answer(self, exchange: Exchange) -> Response:
        return refusal(404, "There is no such resource.", headers=self.headers(exchange))


class Server(Protocol):
    """A server of the fake on a socket."""

    async def suspend(self) -> None:
        """Close all connections and accept no new ones."""
        ...

    async def resume(self) -> None:
        """Accept connections again, on the same port."""
        ...


@define(eq=False)
class FakeServer:
    """Carries requests out when they arrive, and times their answers.

    Attributes:
        latency: Seconds that every answer takes, or a function that draws them.
        require_gzip: Is a request refused that does not accept gzip, or only recorded?
        logins: How many requests the token endpoint received.
        outages: How often the fake went down.
        is_down: Are all connections refused now?
        servers: The servers of this fake on sockets.
    """

    api: ClientAPI
    oauth: OAuthAPI
    login_limits: LoginLimits
    faults: Faults
    log: RequestLog
    clock: WallClock
    latency: Latency
    require_gzip: bool
    random: Random
    logins: int = 0
    outages: int = 0
    is_down: bool = False
    servers: set[Server] = field(factory=set[Server])
    _unknown_paths: _UnknownPaths = field(init=False)
    _delayed_answers: set[asyncio.Future[None]] = field(
        factory=set[asyncio.Future[None]], init=False
    )

    def __attrs_post_init__(self) -> None:
        self._unknown_paths = _UnknownPaths(self.clock)

    def receive(self, request: Request) -> Exchange:
        """Carry a request out; call ``release`` when its answer has been sent or lost."""
        now = asyncio.get_running_loop().time()
        self.log.begin(now)
        host, path, query = split_url(request.url)
        exchange = Exchange(request, now, request.method, host, path, query)
        try:
            exchange.response = self._response(exchange)
            exchange.delay = self._latency() + (
                0.0 if exchange.fault is None else exchange.fault.delay
            )
        except BaseException:
            self.release(exchange)
            raise
        self.log.record(exchange)
        return exchange

    async def wait_before_answer(self, seconds: float) -> None:
        """Wait before an answer, or until the fake goes down."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _end_wait, answer)
        self._delayed_answers.add(answer)
        try:
            await answer
        finally:
            timer.cancel()
            self._delayed_answers.discard(answer)

    async def go_down(self) -> None:
        """Refuse all connections, and lose the answers on their way."""
        self.is_down = True
        self.outages += 1
        for answer in self._delayed_answers:
            _end_wait(answer)
        for server in list(self.servers):
            await server.suspend()

    async def come_up(self) -> None:
        """Accept connections again."""
        for server in list(self.servers):
            await server.resume()
        self.is_down = False

    def release(self, exchange: Exchange) -> None:
        """Free what the request holds, after its answer was sent or lost."""
        self.log.end()
        self.api.release(exchange)
        if exchange.holds_login:
            self.login_limits.release()

    def _response(self, exchange: Exchange) -> Response:
        api = self._api_for(exchange)
        api.identify(exchange)
        if exchange.path == TOKEN_PATH:
            self.logins += 1
        if not accepts_gzip(exchange.request.headers):
            self.log.violation("gzip", "there was no Accept-Encoding: gzip", exchange.at)
            if self.require_gzip:
                return refusal(
                    406, "Accept-Encoding: gzip is mandatory.", headers=api.headers(exchange)
                )
        if api is self.oauth:
            limit = self.login_limits.acquire(exchange.at)
            if limit is not None:
                self.log.violation("login_limit", limit, exchange.at)
                return refusal(429, "Too many requests.", headers=api.headers(exchange))
            exchange.holds_login = True
        exchange.fault = self.faults.choose(exchange)
        if exchange.fault is None:
            return api.answer(exchange)
        return exchange.fault.strike(_Scene(api, exchange, self.clock))

    def _api_for(self, exchange: Exchange) -> API:
        if is_api(exchange.path):
            return self.api
        return self.oauth if exchange.path.startswith(_LOGIN_PATHS) else self._unknown_paths

    def _latency(self) -> float:
        return self.latency(self.random) if callable(self.latency) else self.latency


def _end_wait(answer: asyncio.Future[None]) -> None:
    if not answer.done():
        answer.set_result(None)


def accepts_gzip(headers: Headers) -> bool:
    """Does ``Accept-Encoding`` accept gzip, with a weight above 0?"""
    wishes = headers.get("accept-encoding", "")
    if wishes == "gzip":
        return True
    return any(_wants_gzip(wish) for wish in wishes.lower().split(","))


def _wants_gzip(wish: str) -> bool:
    coding, _, weight = wish.partition(";")
    return coding.strip() == "gzip" and weight.replace(" ", "").rstrip("0") not in {"q=", "q=0."}
