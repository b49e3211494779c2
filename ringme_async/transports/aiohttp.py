"""The default network transport, on aiohttp. No other file imports aiohttp."""

from __future__ import annotations

import asyncio
import io
import os
import ssl as tls
from functools import lru_cache
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Final, Literal

import aiohttp
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
from ringme_async.transports.connection_guard import (
    ConnectionGuard,
    UnguardedConnection,
    guard_of,
)
from ringme_async.transports.lazy_headers import LazyHeaders
from ringme_async.transports.write_coalescing import WriteCoalescer, thrifty_socket_factory

if TYPE_CHECKING:
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

__all__ = ["AiohttpTransport"]

# aiohttp warns about larger bodies that are given as bytes.
_LARGE_BODY: Final = 2**20
_BODY_METHODS: Final = frozenset({"PATCH", "POST", "PUT"})
_ACCEPT_ENCODING: Final = istr("Accept-Encoding")
_ONLY_CONTENT_TYPE: Final = ("Content-Type",)
# The start of messages that asyncio and aiohttp put in place of the system's.
_NOT_SYSTEM_PREFIXES: Final = ("Connect call failed", "Can not write")

# The start of uvloop's messages about a connection that ended at the moment of its use.
_LOOP_ERROR_PREFIXES: Final = (
    "File descriptor",
    "Invalid file descriptor",
    "unable to perform operation",
)


@shown_half_made
class AiohttpTransport:
    """Sends requests with aiohttp.

    It sends each request once. It follows no redirect, retries nothing and keeps no cookie. It
    verifies TLS. It belongs to the event loop of its first request.

    Args:
        session: A session to send with. The caller closes it. The transport uses its connector
            and proxy, and ignores its default headers, cookies, auth, time-outs, middlewares and
            ``raise_for_status``. Its connections have no guard: a stray response between two calls
            is noticed only if it holds the record of another client. If its connector has a
            limit, ``timeouts.connect`` bounds TCP and TLS, and ``timeouts.attempt`` the wait
            before them. Default the transport's own session, made with the first request and
            closed by ``aclose``.
        max_body: The largest body after decompression, in bytes. Default 8 MiB.
        ssl: The context that verifies servers, for a company's own CA. Default the system's CAs.
        proxy: URL of an HTTP proxy, with user and password if the proxy needs them.
        limit: The number of connections of the transport's own session in use at once. Default 0,
            no limit. ``timeouts.attempt`` bounds the wait for a free connection;
            ``timeouts.connect`` does not.

    Raises:
        InvalidRequest: An argument is malformed.
    """

    __slots__ = (
        "_closed",
        "_deadlines",
        "_header_encoder",
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
        # aiohttp's own limit would count the wait for a connection as time to connect.
        slots = whole_number("limit", limit, least=0)
        self._slots = asyncio.Semaphore(slots) if slots and session is None else None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._deadlines = Deadlines()
        self._header_encoder = _HeaderEncoder()
        self._closed = False

    async def send(self, request: Request) -> Response:
        """Send a request and read its response to the end.

        A response with an error status comes back even if its body breaks off, stalls or is over
        ``max_body``, with as much body as arrived.

        Raises:
            ConnectError: The connection failed. Nothing was sent.
            TransportTimeout: Connecting took longer than ``timeouts.connect`` (not sent), or the
                attempt longer than ``timeouts.attempt`` (sent, unless still connecting).
            ResponseLost: The connection broke, or the response is not readable HTTP.
            ResponseTooLarge: The body is over ``max_body``.
            InvalidRequest: HTTP forbids the method, the URL or a header. Or the transport or its
                given session is closed, or belongs to another event loop.
        """
        loop = asyncio.get_running_loop()
        session = self._open(loop)
        exchange = _Exchange(
            request,
            self._header_encoder.encode(request.headers),
            self._proxy,
            owns_session=self._owned,
        )
        deadline = loop.time() + request.timeouts.attempt
        failure: RingMeError
        # Errors are raised outside the `except`. Otherwise their tracebacks would show aiohttp's
        # errors with the request's headers, and frames with bodies.
        try:
            with self._deadlines.until(deadline, loop):
                if self._slots is None:
                    return await self._send(session, exchange)
                return await self._wait_and_send(session, exchange, self._slots)
            if exchange.partial_response is not None:
                return exchange.partial_response
            failure = exchange.timeout_error(request.timeouts.attempt)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not session.closed or task is None or task.cancelling():
                raise
            failure = exchange.closed_error()
        except _RetryBlocker as blocker:
            failure = exchange.error_from(blocker.error)
        except (aiohttp.ClientError, OSError, ValueError, RingMeError) as error:
            failure = exchange.error_from(error)
        except RuntimeError as error:
            # A given session may run the caller's code. A bug there is not a network failure.
            if type(error) is not RuntimeError or not (self._owned or _is_loop_error(error)):
                raise
            failure = exchange.error_from(error)
        raise failure.with_traceback(None)

    async def aclose(self) -> None:
        """Close the transport's own session. Further calls do nothing.

        Raises:
            InvalidRequest: The transport belongs to another event loop that still runs.
        """
        self._closed = True
        session = self._session
        if session is not None and self._owned:
            self._check_loop(asyncio.get_running_loop())
            await session.close()
        # Requests over a given session go on, and need their deadlines.
        if self._deadlines.is_idle:
            self._deadlines.close()

    def let_go(self) -> None:
        """Close the transport's own session at once, when no task can await ``aclose``.

        Call it on the transport's event loop, or after that loop has ended.
        """
        self._closed = True
        session = self._session
        if session is None or not self._owned or session.connector is None:
            return
        connector = session.connector
        session.detach()
        # The first step of `close` closes the connections. The rest would only wait for them.
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
        # aiohttp has no public name for the loop of a session.
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

    async def _wait_and_send(
        self, session: aiohttp.ClientSession, exchange: _Exchange, slots: asyncio.Semaphore
    ) -> Response:
        exchange.is_queued = True
        async with slots:
            exchange.is_queued = False
            if session.closed:
                raise exchange.closed_error()
            return await self._send(session, exchange)

    async def _send(self, session: aiohttp.ClientSession, exchange: _Exchange) -> Response:
        request = exchange.request
        response = await session.request(
            request.method,
            _parse_url(request.url),
            headers=exchange.headers_for(session),
            data=exchange.body(),
            skip_auto_headers=exchange.skipped_headers(),
            timeout=_client_timeout(
                request.timeouts.connect, has_queue=not self._owned and _has_queue(session)
            ),
            ssl=self._ssl,
            proxy=self._proxy,
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=False,
            middlewares=(exchange.middleware,),
        )
        headers = LazyHeaders(response.headers)
        content = response.content
        if not content.is_eof():
            return await self._read_body(response, headers, exchange)
        # The body arrived together with the head.
        data = content.read_nowait()
        _close_unfinished(response)
        connection = _connection_of(response)
        whole = Response(response.status, headers, data, connection=connection)
        return decompressed(request, whole, self._max_body)

    async def _read_body(
        self, response: aiohttp.ClientResponse, headers: Headers, exchange: _Exchange
    ) -> Response:
        body = BodyDecoder(exchange.request.url, headers, self._max_body)
        content = response.content
        try:
            while not content.at_eof():
                body.feed(await content.readany())
            data = body.finish()
        except BaseException as error:
            response.close()
            if response.status < 400:
                raise
            data = body.so_far()
            if not isinstance(error, Exception):
                exchange.partial_response = Response(
                    response.status, body.remaining_headers(headers), data
                )
                raise
        _close_unfinished(response)
        connection = _connection_of(response)
        if isinstance(connection, UnguardedConnection):
            connection.close_if_dirty()
        left = body.remaining_headers(headers)
        return Response(response.status, left, data, connection=connection)


class _GuardedResponse(aiohttp.ClientResponse):
    """A response that keeps its connection. aiohttp forgets the connection at the body's end."""

    pooled_connection: ConnectionGuard | UnguardedConnection | None = None

    async def start(self, connection: Connection) -> _GuardedResponse:
        protocol, transport = connection.protocol, connection.transport
        if protocol is not None and transport is not None:
            guard = transport.get_protocol()
            if isinstance(guard, ConnectionGuard):
                self.pooled_connection = guard
            else:
                self.pooled_connection = UnguardedConnection(protocol)
        await super().start(connection)
        return self


class _GuardedConnector(aiohttp.TCPConnector):
    """Puts a guard on each connection, so that a stray response closes it."""

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


class _HeaderEncoder:
    """Converts headers to aiohttp's form. It caches the last ones: most requests have the same."""

    __slots__ = ("_encoded", "_headers")

    def __init__(self) -> None:
        self._headers: Headers | None = None
        self._encoded = CIMultiDict[str]()

    def encode(self, headers: Headers) -> CIMultiDict[str]:
        if headers is not self._headers:
            self._headers = headers
            self._encoded = CIMultiDict({_title(n): value for n, value in headers.items()})
            # The header is mandatory on every request (API page, section 3).
            self._encoded.setdefault(_ACCEPT_ENCODING, "gzip")
        return self._encoded


class _RetryBlocker(aiohttp.ClientError):
    """Carries an error past aiohttp, which would otherwise retry the request."""

    def __init__(self, error: Exception) -> None:
        super().__init__(type(error).__name__)
        self.error = error


class _Exchange:
    """One request and its response, by way of aiohttp."""

    __slots__ = (
        "_client_request",
        "_headers",
        "_owns_session",
        "_proxy",
        "is_queued",
        "partial_response",
        "request",
    )

    def __init__(
        self, request: Request, headers: CIMultiDict[str], proxy: URL | None, *, owns_session: bool
    ) -> None:
        self.request = request
        self._proxy = None if proxy is None else f"{proxy.host}:{proxy.port}"
        self._headers = headers
        self._owns_session = owns_session
        self._client_request: aiohttp.ClientRequest | None = None
        # True while the request waits for a free connection.
        self.is_queued: bool = False
        # The part of a response with an error status that arrived before a cancellation.
        self.partial_response: Response | None = None

    async def middleware(
        self, client_request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send the request, as the only aiohttp middleware."""
        self._client_request = client_request
        client_request.response_class = _GuardedResponse
        if not self._owns_session:
            self._replace_headers(client_request)
        try:
            response = await handler(client_request)
        except (aiohttp.ClientError, OSError) as error:
            raise _RetryBlocker(error) from None
        if not self._owns_session and "Set-Cookie" in response.headers:
            # Keep this server's cookies out of the caller's cookie jar.
            response.cookies = SimpleCookie()
        return response

    @property
    def peer(self) -> str:
        """The host and port of the request."""
        return peer_of(self.request.url)

    @property
    def route(self) -> str:
        """The host and port, and the proxy before them."""
        return route_to(self.request.url, self._proxy)

    @property
    def sent(self) -> bool:
        """True if a byte may have left. Before aiohttp makes the response object, none has."""
        if self._client_request is None:
            return not self.is_queued
        return getattr(self._client_request, "response", self) is not None

    def headers_for(self, session: aiohttp.ClientSession) -> CIMultiDict[str]:
        """Give the headers, without ``Authorization`` if aiohttp would refuse it."""
        if self._owns_session or (session.auth is None and not session.trust_env):
            return self._headers
        headers = self._headers.copy()
        headers.pop("Authorization", None)
        return headers

    def body(self) -> bytes | io.BytesIO | None:
        """Give the body in a form that aiohttp accepts without a warning."""
        body = self.request.body
        return io.BytesIO(body) if len(body) > _LARGE_BODY else body or None

    def skipped_headers(self) -> tuple[str, ...] | None:
        """Name the header that aiohttp must not add."""
        if self.request.method in _BODY_METHODS and "content-type" not in self.request.headers:
            return _ONLY_CONTENT_TYPE
        return None

    def timeout_error(self, seconds: float) -> TransportTimeout:
        """Make the error of a time-out after these seconds."""
        if self.sent:
            return TransportTimeout(f"no whole answer from {self.peer} within {seconds:g} s")
        what = "free connection" if self.is_queued else "connection"
        return TransportTimeout(f"no {what} to {self.route} within {seconds:g} s", sent=False)

    def closed_error(self) -> ConnectError:
        """Make the error of a request whose session was closed before it was sent."""
        return connect_error(self.route, "the session was closed")

    def error_from(self, error: Exception) -> RingMeError:
        """Convert an error to the transport's own, without anything secret."""
        peer, sent = self.peer, self.sent
        if isinstance(error, RuntimeError) or _is_loop_error(error):
            # The loop's message shows its objects and says nothing to a user.
            error = OSError("the event loop could not use its socket")
        match error:
            case RingMeError():
                return error
            case aiohttp.ClientConnectorError():
                return self._connect_error(error)
            case aiohttp.ClientHttpProxyError():
                return proxy_error(self._proxy, peer, f"status {error.status}")
            case TimeoutError():
                return self.timeout_error(
                    min(self.request.timeouts.connect, self.request.timeouts.attempt)
                )
            case aiohttp.ClientConnectionError() | OSError() if not sent:
                return connect_error(self.route, _system_message(error))
            case OSError():
                return no_response_error(self.request.url, _system_message(error))
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

    def _connect_error(self, error: aiohttp.ClientConnectorError) -> ConnectError:
        failed, route = f"{error.host}:{error.port}", self.route
        if isinstance(error, aiohttp.ClientProxyConnectionError):
            route = route_to(self.request.url, failed)
        message = _system_message(error)
        return connect_error(route, message, error.os_error, direct=failed == self.peer)

    def _replace_headers(self, client_request: aiohttp.ClientRequest) -> None:
        headers = client_request.headers
        headers.clear()
        headers["Host"] = client_request.url.host_port_subcomponent or ""
        headers.update(self._headers)
        if self.request.body or client_request.method in _BODY_METHODS:
            headers["Content-Length"] = str(len(self.request.body))


def _connection_of(
    response: aiohttp.ClientResponse,
) -> ConnectionGuard | UnguardedConnection | None:
    # A mocked session makes responses of its own class.
    return response.pooled_connection if isinstance(response, _GuardedResponse) else None


def _is_loop_error(error: Exception) -> bool:
    return str(error).startswith(_LOOP_ERROR_PREFIXES)


def _close_unfinished(response: aiohttp.ClientResponse) -> None:
    # After the body's end aiohttp still holds the connection of an unexpected 101, and of a request
    # that is not fully written.
    if response.connection is not None:
        response.close()


def _parse_url(url: str) -> URL:
    # yarl parses each URL whole, but most URLs differ only in the path.
    authority = url.find("/", url.find("://") + 3)
    if authority < 0 or "?" in url or "#" in url:
        return URL(url, encoded=True)
    return _parse_origin(url[:authority]).with_path(url[authority:], encoded=True)


@lru_cache(maxsize=256)
def _parse_origin(url: str) -> URL:
    return URL(url, encoded=True)


@lru_cache(maxsize=64)
def _client_timeout(connect: float, *, has_queue: bool) -> aiohttp.ClientTimeout:
    # The attempt has its own timer, and aiohttp's rounding up to whole seconds would overrun it.
    never = float("inf")
    if has_queue:
        return aiohttp.ClientTimeout(total=None, sock_connect=connect, ceil_threshold=never)
    return aiohttp.ClientTimeout(total=None, connect=connect, ceil_threshold=never)


def _has_queue(session: aiohttp.ClientSession) -> bool:
    """True if requests may wait for a free connection."""
    connector = session.connector
    return connector is not None and (connector.limit > 0 or connector.limit_per_host > 0)


@lru_cache(maxsize=256)
def _title(name: str) -> istr:
    return istr(name.title())


def _system_message(error: Exception) -> str:
    """Give the system's message. aiohttp's own message may quote the URL."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if not isinstance(error, OSError):
        return "it was closed"
    message = error.strerror or str(error)
    if message.startswith(_NOT_SYSTEM_PREFIXES):
        message = os.strerror(error.errno) if error.errno else "it was closed"
    return system_message(message)


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
