"""The transport over the network: aiohttp, held to what a transport is."""

from __future__ import annotations

import asyncio
import io
import os
import ssl as tls
from functools import lru_cache
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Final, Literal

import aiohttp
from attrs import frozen
from multidict import CIMultiDict, istr
from yarl import URL

from ringme_async._internal.deadlines import Deadlines
from ringme_async._internal.half_made import shown_half_made
from ringme_async.errors import (
    ConnectError,
    InvalidRequest,
    ResponseLost,
    RingMeError,
    TransportTimeout,
)
from ringme_async.transports import Headers, Request, Response
from ringme_async.transports.body_decoder import (
    DEFAULT_MAX_BODY,
    BodyDecoder,
    decompressed,
    not_http_error,
    peer_of,
    refusal_of_closed,
    refusal_on_other_loop,
    system_message,
    whole_number,
)
from ringme_async.transports.connection_errors import (
    connect_error,
    no_response_error,
    proxy_error,
    route_to,
)
from ringme_async.transports.connection_guard import ConnectionGuard, guard_of
from ringme_async.transports.lazy_headers import LazyHeaders
from ringme_async.transports.write_coalescing import WriteCoalescer, thrifty_socket_factory

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

__all__ = ["AiohttpTransport"]

# aiohttp warns of bodies given as bytes that are larger than this.
_LARGE_BODY: Final = 2**20
_BODY_METHODS: Final = frozenset({"PATCH", "POST", "PUT"})
_ACCEPT_ENCODING: Final = istr("Accept-Encoding")
_ONLY_CONTENT_TYPE: Final = ("Content-Type",)
# How asyncio and aiohttp begin where they put words of their own in the place of the system's.
_NOT_THE_SYSTEM: Final = ("Connect call failed", "Can not write")


# How uvloop begins when a connection ended at the moment of its use.
_OF_A_LOOP: Final = ("File descriptor", "Invalid file descriptor", "unable to perform operation")


@shown_half_made
class AiohttpTransport:
    """Sends requests with aiohttp.

    One request is one request on the wire: no redirect is followed, nothing is retried, no cookie
    is kept. TLS is verified. It belongs to the event loop it is first used on.

    Args:
        session: A session to send with. It stays the caller's, who closes it; its connector and
            proxy are used, its default headers, cookies, auth, time-outs, middlewares and
            ``raise_for_status`` are not. Its connections have no guard: a stray answer that comes
            between two calls is found out only if it is the record of another client. Where its
            connector has a limit, ``timeouts.connect`` bounds TCP and TLS, and ``timeouts.attempt``
            everything before them. Default one of its own, made with the first request and closed
            by ``aclose``.
        max_body: The cap on a body after decompression, in bytes. Default 8 MiB.
        ssl: What to verify servers with, for a company's own CA. Default the system's CAs.
        proxy: URL of an HTTP proxy, with its user and password if it needs them.
        limit: How many connections of its own session may be in use at once. Default 0, no limit:
            how many calls run at once is decided above. To wait for a free one is no part of
            connecting: ``timeouts.attempt`` bounds it.

    Raises:
        InvalidRequest: An argument is malformed.
    """

    __slots__ = (
        "_closed",
        "_deadlines",
        "_fields",
        "_loop",
        "_max_body",
        "_owned",
        "_proxy",
        "_session",
        "_slots",
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
        # aiohttp would count the time in its queue as time to connect.
        slots = whole_number("limit", limit, least=0)
        self._slots = asyncio.Semaphore(slots) if slots and session is None else None
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
        way = _Way(request, self._fields.of(request.headers), self._proxy, alone=self._owned)
        deadline = loop.time() + request.timeouts.attempt
        failure: RingMeError
        # Errors are made here and raised below: clear of aiohttp's own, which hold the request's
        # headers, and of the frames that hold bodies.
        try:
            with self._deadlines.until(deadline, loop):
                if self._slots is None:
                    return await self._converse(session, way)
                return await self._in_turn(session, way, self._slots)
            if way.cut_short is not None:
                return way.cut_short
            failure = way.too_late(request.timeouts.attempt)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not session.closed or task is None or task.cancelling():
                raise
            failure = way.closed()
        except _NotAgain as end:
            failure = way.explain(end.error)
        except (aiohttp.ClientError, OSError, ValueError, RingMeError) as error:
            failure = way.explain(error)
        except RuntimeError as error:
            # A session that was given may run code of the caller's, whose bugs are not the network's.
            if type(error) is not RuntimeError or not (self._owned or _is_of_a_loop(error)):
                raise
            failure = way.explain(error)
        raise failure.with_traceback(None)

    async def aclose(self) -> None:
        """Close the session if it is the transport's own; further calls do nothing.

        Raises:
            InvalidRequest: It belongs to another event loop, which still runs.
        """
        self._closed = True
        session = self._session
        if session is not None and self._owned:
            self._check_loop(asyncio.get_running_loop())
            await session.close()
        # Requests over a given session go on, and have to end in their time.
        if self._deadlines.is_idle:
            self._deadlines.close()

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
                connector=_GuardedConnector(
                    limit=0, socket_factory=thrifty_socket_factory(WriteCoalescer(self._deadlines))
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

    async def _in_turn(
        self, session: aiohttp.ClientSession, way: _Way, slots: asyncio.Semaphore
    ) -> Response:
        way.waits = True
        async with slots:
            way.waits = False
            if session.closed:
                raise way.closed()
            return await self._converse(session, way)

    async def _converse(self, session: aiohttp.ClientSession, way: _Way) -> Response:
        request = way.request
        answer = await session.request(
            request.method,
            _as_url(request.url),
            headers=way.fields(session),
            data=way.content(),
            skip_auto_headers=way.unwanted(),
            timeout=_patience(
                request.timeouts.connect, queues=not self._owned and _queues(session)
            ),
            ssl=self._ssl,
            proxy=self._proxy,
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=False,
            middlewares=(way.go,),
        )
        headers = LazyHeaders(answer.headers)
        content = answer.content
        if not content.is_eof():
            return await self._read(answer, headers, way)
        # It has come whole, with its head.
        data = content.read_nowait()
        _end(answer)
        response = Response(answer.status, headers, data, connection=_connection_of(answer))
        return decompressed(request, response, self._max_body)

    async def _read(self, answer: aiohttp.ClientResponse, headers: Headers, way: _Way) -> Response:
        body = BodyDecoder(way.request.url, headers, self._max_body)
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
            if not isinstance(error, Exception):
                way.cut_short = Response(answer.status, body.remaining_headers(headers), data)
                raise
        _end(answer)
        brought_by = _connection_of(answer)
        if isinstance(brought_by, _GivenConnection):
            brought_by.check()
        left = body.remaining_headers(headers)
        return Response(answer.status, left, data, connection=brought_by)


class _Answer(aiohttp.ClientResponse):
    """An answer that remembers its connection, which aiohttp takes back at its end."""

    brought_by: ConnectionGuard | _GivenConnection | None = None

    async def start(self, connection: Connection) -> _Answer:
        protocol, transport = connection.protocol, connection.transport
        if protocol is not None and transport is not None:
            guard = transport.get_protocol()
            if isinstance(guard, ConnectionGuard):
                self.brought_by = guard
            else:
                self.brought_by = _GivenConnection(protocol)
        await super().start(connection)
        return self


class _GuardedConnector(aiohttp.TCPConnector):
    """Puts a guard on each connection, so that none is used again that holds a stray answer."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        if connection.transport is not None:
            guard_of(connection.transport, connection.protocol).begin(connection)
        return connection


@frozen
class _GivenConnection:
    """A connection of a given session, looked at once its answer has been read."""

    _protocol: ResponseHandler

    def check(self) -> None:
        """Close it if something follows the answer."""
        if self._protocol.should_close:
            self._protocol.close()

    def discard(self) -> None:
        """Close it."""
        self._protocol.close()


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

    __slots__ = ("_alone", "_fields", "_proxy", "_wire", "cut_short", "request", "waits")

    def __init__(
        self, request: Request, fields: CIMultiDict[str], proxy: URL | None, *, alone: bool
    ) -> None:
        self.request = request
        self._proxy = None if proxy is None else f"{proxy.host}:{proxy.port}"
        self._fields = fields
        self._alone = alone
        self._wire: aiohttp.ClientRequest | None = None
        # Does it wait for its turn?
        self.waits: bool = False
        # The answer of an error, as far as it had come when it was cancelled.
        self.cut_short: Response | None = None

    async def go(
        self, wire: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Go on to the network: the middleware of this request alone."""
        self._wire = wire
        wire.response_class = _Answer
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
    def way(self) -> str:
        """The same, with the proxy on the way."""
        return route_to(self.request.url, self._proxy)

    @property
    def sent(self) -> bool:
        """May a byte have left? Only a request that has no response object yet surely has not."""
        if self._wire is None:
            return not self.waits
        return getattr(self._wire, "response", self) is not None

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

    def too_late(self, seconds: float) -> TransportTimeout:
        """Make the error of what took longer than these seconds."""
        if self.sent:
            return TransportTimeout(f"no whole answer from {self.peer} within {seconds:g} s")
        what = "free connection" if self.waits else "connection"
        return TransportTimeout(f"no {what} to {self.way} within {seconds:g} s", sent=False)

    def closed(self) -> ConnectError:
        """Make the error of a request that was not sent before its session was closed."""
        return connect_error(self.way, "the session was closed")

    def explain(self, error: Exception) -> RingMeError:
        """Make the transport's error of another one, of which nothing secret is kept."""
        peer, sent = self.peer, self.sent
        if isinstance(error, RuntimeError) or _is_of_a_loop(error):
            # The loop's own words show its objects, and say nothing to a user.
            error = OSError("the event loop could not use its socket")
        match error:
            case RingMeError():
                return error
            case aiohttp.ClientConnectorError():
                return self._unconnected(error)
            case aiohttp.ClientHttpProxyError():
                return proxy_error(self._proxy, peer, f"status {error.status}")
            case TimeoutError():
                return self.too_late(
                    min(self.request.timeouts.connect, self.request.timeouts.attempt)
                )
            case aiohttp.ClientConnectionError() | OSError() if not sent:
                return connect_error(self.way, _words(error))
            case OSError():
                return no_response_error(self.request.url, _words(error))
            case ValueError() | aiohttp.NonHttpUrlClientError():
                return InvalidRequest("the method, the URL or a header holds what HTTP forbids")
            case aiohttp.ClientResponseError():
                if sent:
                    return not_http_error(self.request.url)
                return proxy_error(self._proxy, peer, "what it answered is not HTTP")
            case aiohttp.ClientPayloadError():
                return ResponseLost(f"the answer of {peer} broke off")
            case _:
                return no_response_error(self.request.url, None)

    def _unconnected(self, error: aiohttp.ClientConnectorError) -> ConnectError:
        where, way = f"{error.host}:{error.port}", self.way
        if isinstance(error, aiohttp.ClientProxyConnectionError):
            way = route_to(self.request.url, where)
        return connect_error(way, _words(error), error.os_error, direct=where == self.peer)

    def _write_own_fields(self, wire: aiohttp.ClientRequest) -> None:
        wire.headers.clear()
        wire.headers["Host"] = wire.url.host_port_subcomponent or ""
        wire.headers.update(self._fields)
        if self.request.body or wire.method in _BODY_METHODS:
            wire.headers["Content-Length"] = str(len(self.request.body))


def _connection_of(answer: aiohttp.ClientResponse) -> ConnectionGuard | _GivenConnection | None:
    # What stands in for a session, as in tests, makes answers of its own.
    return answer.brought_by if isinstance(answer, _Answer) else None


def _is_of_a_loop(error: Exception) -> bool:
    return str(error).startswith(_OF_A_LOOP)


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
def _patience(connect: float, *, queues: bool) -> aiohttp.ClientTimeout:
    # The attempt as a whole has a timer of its own; rounding up to whole seconds would overrun it.
    never = float("inf")
    if queues:
        return aiohttp.ClientTimeout(total=None, sock_connect=connect, ceil_threshold=never)
    return aiohttp.ClientTimeout(total=None, connect=connect, ceil_threshold=never)


def _queues(session: aiohttp.ClientSession) -> bool:
    """Tell whether requests may wait for a connection that is free."""
    connector = session.connector
    return connector is not None and (connector.limit > 0 or connector.limit_per_host > 0)


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
    return system_message(said)


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
