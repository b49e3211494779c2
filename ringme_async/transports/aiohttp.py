"""The transport over the network: aiohttp, held to what a transport is."""

from __future__ import annotations

import asyncio
import io
import os
import ssl as tls
from functools import lru_cache
from http.cookies import SimpleCookie
from typing import Final, Literal

import aiohttp
from multidict import CIMultiDict, istr
from yarl import URL

from ringme_async.deadlines import Deadlines
from ringme_async.errors import (
    ConnectError,
    InvalidRequest,
    ResponseLost,
    RingMeError,
    TransportTimeout,
)
from ringme_async.transports import Headers, Request, Response
from ringme_async.transports.arrived import Arrived
from ringme_async.transports.body import (
    DEFAULT_MAX_BODY,
    Body,
    kind_of,
    not_http,
    peer_of,
    refusal_of_closed,
    refusal_on_other_loop,
    unpacked,
    whole_number,
    words_of_system,
)
from ringme_async.transports.departures import Departures
from ringme_async.transports.sockets import thrifty_sockets

__all__ = ["AiohttpTransport"]

# aiohttp warns of bodies given as bytes that are larger than this.
_LARGE_BODY: Final = 2**20
_BODY_METHODS: Final = frozenset({"PATCH", "POST", "PUT"})
_ACCEPT_ENCODING: Final = istr("Accept-Encoding")
_ONLY_CONTENT_TYPE: Final = ("Content-Type",)
# How asyncio and aiohttp begin where they put words of their own in the place of the system's.
_NOT_THE_SYSTEM: Final = ("Connect call failed", "Can not write")


class AiohttpTransport:
    """Sends requests with aiohttp.

    One request is one request on the wire: no redirect is followed, nothing is retried, no cookie
    is kept. TLS is verified. It belongs to the event loop it is first used on.

    Args:
        session: A session to send with. It stays the caller's, who closes it; its connector and
            proxy are used, its default headers, cookies, auth, time-outs, middlewares and
            ``raise_for_status`` are not. Default one of its own, made with the first request and
            closed by ``aclose``.
        max_body: The cap on a body after decompression, in bytes. Default 8 MiB.
        ssl: What to verify servers with, for a company's own CA. Default the system's CAs.
        proxy: URL of an HTTP proxy, with its user and password if it needs them.
        limit: How many connections its own session may hold at once. Default 0, no limit: how
            many calls run at once is decided above.

    Raises:
        InvalidRequest: An argument is malformed.
    """

    __slots__ = (
        "_closed",
        "_deadlines",
        "_fields",
        "_limit",
        "_loop",
        "_max_body",
        "_owned",
        "_proxy",
        "_session",
        "_ssl",
    )

    def __init__(
        self,
        session: aiohttp.ClientSession | None = None,
        *,
        max_body: int = DEFAULT_MAX_BODY,
        ssl: tls.SSLContext | None = None,
        proxy: str | None = None,
        limit: int = 0,
    ) -> None:
        self._session = session
        self._owned = session is None
        self._max_body = whole_number("max_body", max_body, least=1)
        self._ssl = _checked_context(ssl)
        self._proxy = None if proxy is None else _checked_proxy(proxy)
        self._limit = whole_number("limit", limit, least=0)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._deadlines = Deadlines()
        self._fields = _Fields()
        self._closed = False

    async def send(self, request: Request) -> Response:
        """Send a request and read its answer to the end.

        The status of an error outlives a body that breaks off, stalls or is over ``max_body``: it
        comes back with as much of that as arrived.

        Raises:
            ConnectError: No connection came about; nothing was sent.
            TransportTimeout: The connection took longer than ``timeouts.connect`` (not sent), or
                the whole longer than ``timeouts.attempt`` (sent, unless still connecting).
            ResponseLost: The connection broke, or what came is no readable HTTP answer.
            ResponseTooLarge: The body is over ``max_body``.
            InvalidRequest: The method, URL or a header holds what HTTP forbids; or the transport,
                or the session that it was given, is closed or belongs to another event loop.
        """
        loop = asyncio.get_running_loop()
        session = self._open(loop)
        way = _Way(request, self._fields.of(request.headers), alone=self._owned)
        deadline = loop.time() + request.timeouts.attempt
        failure: RingMeError
        # Errors are made here and raised below: clear of aiohttp's own, which hold the request's
        # headers, and of the frames that hold bodies.
        try:
            with self._deadlines.until(deadline, loop):
                return await self._converse(session, way)
            if way.cut_short is not None:
                return way.cut_short
            failure = way.too_late()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not session.closed or task is None or task.cancelling():
                raise
            failure = ConnectError(f"no connection to {way.peer}: the session was closed")
        except _NotAgain as end:
            failure = way.explain(end.error)
        except (aiohttp.ClientError, OSError, ValueError, RingMeError) as error:
            failure = way.explain(error)
        raise failure.with_traceback(None)

    async def aclose(self) -> None:
        """Close the session if it is the transport's own; further calls do nothing.

        Raises:
            InvalidRequest: It belongs to another event loop, which still runs.
        """
        self._closed = True
        self._deadlines.close()
        session = self._session
        if session is None or not self._owned:
            return
        self._check_loop(asyncio.get_running_loop())
        await session.close()

    def let_go(self) -> None:
        """Let go of its own session at once, when nobody is left to await ``aclose``.

        On its event loop only, or when that has ended.
        """
        self._closed = True
        session = self._session
        if session is None or not self._owned or session.connector is None:
            return
        connector = session.connector
        session.detach()
        # Its first step closes the connections; the others would only wait for that.
        closing = connector.close().__await__()
        next(closing, None)
        closing.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        whose = "its own session" if self._owned else "a given session"
        return f"<AiohttpTransport: {state}, {whose}>"

    def _open(self, loop: asyncio.AbstractEventLoop) -> aiohttp.ClientSession:
        if self._closed:
            raise refusal_of_closed(self)
        if loop is not self._loop:
            self._check_loop(loop)
            self._loop = loop
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._limit, socket_factory=thrifty_sockets(Departures(self._deadlines))
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        elif self._owned:
            return self._session
        elif self._session.closed:
            raise InvalidRequest(
                "the ClientSession given to this AiohttpTransport is closed; close it last"
            )
        # Which loop it was made on, a session says in private only.
        elif getattr(self._session, "_loop", loop) is not loop:
            raise InvalidRequest(
                "the ClientSession given to this AiohttpTransport belongs to another event loop;"
                " make one on this loop"
            )
        return self._session

    def _check_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is None or self._loop is loop:
            return
        if self._closed and self._loop.is_closed():
            return
        raise refusal_on_other_loop(self)

    async def _converse(self, session: aiohttp.ClientSession, way: _Way) -> Response:
        request = way.request
        answer = await session.request(
            request.method,
            _as_url(request.url),
            headers=way.fields(session),
            data=way.content(),
            skip_auto_headers=way.unwanted(),
            timeout=_patience(request.timeouts.connect),
            ssl=self._ssl,
            proxy=self._proxy,
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=False,
            middlewares=(way.go,),
        )
        headers = Arrived(answer.headers)
        content = answer.content
        if not content.is_eof():
            return await self._read(answer, headers, way)
        # It has come whole, with its head.
        data = content.read_nowait()
        _end(answer)
        return unpacked(request, Response(answer.status, headers, data), self._max_body)

    async def _read(self, answer: aiohttp.ClientResponse, headers: Headers, way: _Way) -> Response:
        body = Body(way.request.url, headers, self._max_body)
        content = answer.content
        try:
            while not content.at_eof():
                body.feed(await content.readany())
            data = body.finish()
        except BaseException as error:
            answer.close()
            if answer.status < 400:
                raise
            data = body.so_far()
            if not isinstance(error, aiohttp.ClientError | OSError | RingMeError):
                way.cut_short = Response(answer.status, body.headers_left(headers), data)
                raise
        _end(answer)
        return Response(answer.status, body.headers_left(headers), data)


class _Fields:
    """Header fields in aiohttp's form; with one credential they are the same at every call."""

    __slots__ = ("_headers", "_spelled")

    def __init__(self) -> None:
        self._headers: Headers | None = None
        self._spelled = CIMultiDict[str]()

    def of(self, headers: Headers) -> CIMultiDict[str]:
        if headers is not self._headers:
            self._headers = headers
            self._spelled = CIMultiDict({_spelled(n): value for n, value in headers.items()})
            # It is mandatory on every request (API page, section 3).
            self._spelled.setdefault(_ACCEPT_ENCODING, "gzip")
        return self._spelled


class _NotAgain(aiohttp.ClientError):
    """Carries an error past aiohttp, which would send the request a second time on its own."""

    def __init__(self, error: Exception) -> None:
        super().__init__(type(error).__name__)
        self.error = error


class _Way:
    """One request on its way through aiohttp."""

    __slots__ = ("_alone", "_fields", "_wire", "cut_short", "request")

    def __init__(self, request: Request, fields: CIMultiDict[str], *, alone: bool) -> None:
        self.request = request
        self._fields = fields
        self._alone = alone
        self._wire: aiohttp.ClientRequest | None = None
        # The answer of an error, as far as it had come when it was cancelled.
        self.cut_short: Response | None = None

    async def go(
        self, wire: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Go on to the network: the middleware of this request alone."""
        self._wire = wire
        if not self._alone:
            self._write_own_fields(wire)
        try:
            answer = await handler(wire)
        except (aiohttp.ClientError, OSError) as error:
            raise _NotAgain(error) from None
        if not self._alone and "Set-Cookie" in answer.headers:
            # The jar of a session that is not ours is none of this server's business.
            answer.cookies = SimpleCookie()
        return answer

    @property
    def peer(self) -> str:
        """The host and port that it goes to."""
        return peer_of(self.request.url)

    @property
    def sent(self) -> bool:
        """May a byte have left? Only a request that has no response object yet surely has not."""
        return self._wire is None or getattr(self._wire, "response", self) is not None

    def fields(self, session: aiohttp.ClientSession) -> CIMultiDict[str]:
        """Give the header fields, without the one that aiohttp refuses beside its own auth."""
        if self._alone or (session.auth is None and not session.trust_env):
            return self._fields
        fields = self._fields.copy()
        fields.pop("Authorization", None)
        return fields

    def content(self) -> bytes | io.BytesIO | None:
        """Give the body in the form that aiohttp takes without a warning."""
        body = self.request.body
        return io.BytesIO(body) if len(body) > _LARGE_BODY else body or None

    def unwanted(self) -> tuple[str, ...] | None:
        """Name the header that aiohttp would otherwise make up."""
        if self.request.method in _BODY_METHODS and "content-type" not in self.request.headers:
            return _ONLY_CONTENT_TYPE
        return None

    def too_late(self) -> TransportTimeout:
        """Make the error of an attempt that took too long."""
        peer, timeouts = self.peer, self.request.timeouts
        if self.sent:
            return TransportTimeout(f"no whole answer from {peer} within {timeouts.attempt:g} s")
        seconds = min(timeouts.connect, timeouts.attempt)
        return TransportTimeout(f"no connection to {peer} within {seconds:g} s", sent=False)

    def explain(self, error: Exception) -> RingMeError:
        """Make the transport's error of another one, of which nothing secret is kept."""
        peer, sent = self.peer, self.sent
        match error:
            case RingMeError():
                return error
            case aiohttp.ClientConnectorError():
                where = f"{error.host}:{error.port}"
                kind = kind_of(error.os_error) if where == peer else None
                return ConnectError(f"no connection to {where}: {_words(error)}", kind=kind)
            case aiohttp.ClientHttpProxyError():
                return ConnectError(f"the proxy gives no way to {peer}: status {error.status}")
            case TimeoutError():
                return self.too_late()
            case aiohttp.ClientConnectionError() | OSError() if not sent:
                return ConnectError(f"no connection to {peer}: {_words(error)}")
            case OSError():
                return ResponseLost(f"the connection to {peer} broke: {_words(error)}")
            case ValueError() | aiohttp.NonHttpUrlClientError():
                return InvalidRequest("the method, the URL or a header holds what HTTP forbids")
            case aiohttp.ClientResponseError():
                return not_http(self.request.url)
            case aiohttp.ClientPayloadError():
                return ResponseLost(f"the answer of {peer} broke off")
            case _:
                return ResponseLost(f"{peer} closed the connection without a whole answer")

    def _write_own_fields(self, wire: aiohttp.ClientRequest) -> None:
        wire.headers.clear()
        wire.headers["Host"] = wire.url.host_port_subcomponent or ""
        wire.headers.update(self._fields)
        if self.request.body or wire.method in _BODY_METHODS:
            wire.headers["Content-Length"] = str(len(self.request.body))


def _end(answer: aiohttp.ClientResponse) -> None:
    # Read to its end, it has given the connection back, but for a 101 that nobody asked for, or a
    # request that is not written whole yet.
    if answer.connection is not None:
        answer.close()


def _as_url(url: str) -> URL:
    # Most URLs differ in their paths alone, and yarl parses the whole of each.
    authority = url.find("/", url.find("://") + 3)
    if authority < 0 or "?" in url or "#" in url:
        return URL(url, encoded=True)
    return _origin(url[:authority]).with_path(url[authority:], encoded=True)


@lru_cache(maxsize=256)
def _origin(url: str) -> URL:
    return URL(url, encoded=True)


@lru_cache(maxsize=64)
def _patience(connect: float) -> aiohttp.ClientTimeout:
    # The attempt as a whole has a timer of its own; rounding up to whole seconds would overrun it.
    return aiohttp.ClientTimeout(total=None, connect=connect, ceil_threshold=float("inf"))


@lru_cache(maxsize=256)
def _spelled(name: str) -> istr:
    return istr(name.title())


def _words(error: Exception) -> str:
    """Give what the system says; aiohttp's own words may quote the URL."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if not isinstance(error, OSError):
        return "it was closed"
    said = error.strerror or str(error)
    if said.startswith(_NOT_THE_SYSTEM):
        said = os.strerror(error.errno) if error.errno else "it was closed"
    return words_of_system(said)


def _checked_context(context: object) -> tls.SSLContext | Literal[True]:
    if context is None:
        return True
    if not isinstance(context, tls.SSLContext):
        raise InvalidRequest("ssl must be an ssl.SSLContext; verification cannot be turned off")
    return context


def _checked_proxy(proxy: str) -> URL:
    try:
        url = URL(proxy)
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise InvalidRequest('proxy must be a URL such as "http://proxy.example.com:3128"')
    return url
