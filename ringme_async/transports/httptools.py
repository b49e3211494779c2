"""The fast network transport: HTTP/1.1 on asyncio connections, parsed in C."""

from __future__ import annotations

import asyncio
import re
import ssl as tls
from typing import TYPE_CHECKING, Final

from attrs import define, field

from ringme_async._internal.deadlines import Deadlines
from ringme_async._internal.half_made import shown_half_made
from ringme_async.errors import InvalidRequest, RingMeError
from ringme_async.transports import Request, Response
from ringme_async.transports.body_decoder import (
    DEFAULT_MAX_BODY,
    refusal_of_closed,
    refusal_on_other_loop,
    whole_number,
)
from ringme_async.transports.http11.header_parser import HeaderParser
from ringme_async.transports.http11.peer import Peer, Proxy, checked_proxy, parse_origin, split_url
from ringme_async.transports.http11.request_encoder import RequestEncoder, lines
from ringme_async.transports.write_coalescing import WriteCoalescer

if TYPE_CHECKING:
    from ringme_async.transports.http11.connection import HTTPConnection
    from ringme_async.transports.http11.connection_pool import ConnectionPool
    from ringme_async.transports.http11.connector import Connector
    from ringme_async.transports.http11.response_parser import ResponseParser
else:
    try:
        from ringme_async.transports.http11.connection import HTTPConnection
        from ringme_async.transports.http11.connection_pool import ConnectionPool
        from ringme_async.transports.http11.connector import Connector
        from ringme_async.transports.http11.response_parser import ResponseParser
    except ModuleNotFoundError as missing:
        if missing.name != "httptools":
            raise
        raise ImportError(
            "HttptoolsTransport needs more than is installed; "
            "install it with: pip install 'ringme-async[fast]'"
        ) from None

__all__ = ["HttptoolsTransport"]

_TARGET: Final = re.compile(r"/[!-\"$-~]*", re.ASCII)


@define(eq=False)
class _Origin:
    """The scheme, host and port of URLs, and what all requests to them share."""

    peer: Peer
    # A plain proxy gets the whole URL as the target.
    target_prefix: str
    # The end of the request line, and the header fields that each request has.
    shared_head: str = field(repr=False)
    idle: list[HTTPConnection]


@shown_half_made
class HttptoolsTransport:
    """Sends requests over its own connections and parses responses with httptools.

    It does what ``AiohttpTransport`` does, in less than half the CPU time. Install it with
    ``pip install 'ringme-async[fast]'`` and import it with
    ``from ringme_async.transports.httptools import HttptoolsTransport``.

    It sends each request once. It follows no redirect, retries nothing, keeps no cookie and takes
    no proxy from the environment. It verifies TLS and speaks HTTP/1.1 only. It belongs to the
    event loop of its first request.

    Args:
        max_body: The largest body after decompression, in bytes. Default 8 MiB.
        ssl: The context that verifies servers, for a company's own CA. Default the system's CAs.
        proxy: URL of an HTTP proxy, with user and password if the proxy needs them.

    Raises:
        InvalidRequest: An argument is malformed.
    """

    __slots__ = (
        "_closed",
        "_coalescer",
        "_connector",
        "_deadlines",
        "_encoder",
        "_header_parser",
        "_loop",
        "_max_body",
        "_origins",
        "_pool",
        "_proxy",
    )

    def __init__(
        self,
        *,
        max_body: int = DEFAULT_MAX_BODY,
        ssl: tls.SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        self._max_body = whole_number("max_body", max_body, least=1)
        self._proxy: Proxy | None = None if proxy is None else checked_proxy(proxy)
        self._origins: dict[str, _Origin] = {}
        self._encoder = RequestEncoder()
        self._header_parser = HeaderParser()
        self._pool = ConnectionPool()
        self._connector = Connector(self._new_connection, _checked_context(ssl), self._proxy)
        self._deadlines = Deadlines()
        self._coalescer = WriteCoalescer(self._deadlines)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def send(self, request: Request) -> Response:
        """Send a request and read its response to the end.

        Raises:
            ConnectError: The connection failed. Nothing was sent.
            TransportTimeout: Connecting took longer than ``timeouts.connect`` (not sent), or the
                attempt longer than ``timeouts.attempt`` (sent, unless still connecting).
            ResponseLost: The connection broke, or the response is not readable HTTP. A response
                with an error status comes back all the same, with as much body as arrived.
            ResponseTooLarge: The body is over ``max_body``.
            InvalidRequest: HTTP forbids the method, the URL or a header. Or the transport is
                closed, or belongs to another event loop.
        """
        loop = asyncio.get_running_loop()
        if self._closed or loop is not self._loop:
            self._open(loop)
        try:
            return await self._exchange(loop, request)
        except RingMeError as error:
            failure = error
        # Outside the `except`, so that no traceback holds the frames with bodies and secrets.
        raise failure.with_traceback(None)

    async def aclose(self) -> None:
        """Close the connections; further calls do nothing.

        Raises:
            InvalidRequest: The transport belongs to another event loop that still runs.
        """
        self._closed = True
        loop = asyncio.get_running_loop()
        if self._loop is None or self._loop.is_closed():
            return
        self._check_loop(loop)
        await self._connector.aclose()
        await asyncio.gather(*self._pool.close())
        self._deadlines.close()

    def let_go(self) -> None:
        """Close the connections at once, when no task can await ``aclose``.

        Call it on the transport's event loop, or after that loop has ended.
        """
        self._closed = True
        if self._loop is not None and self._loop.is_closed():
            self._pool.close_sockets()
        elif self._loop is not None:
            self._connector.close()
            self._pool.close()
            self._deadlines.close()

    def __repr__(self) -> str:
        return f"<HttptoolsTransport: {'closed' if self._closed else 'open'}>"

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._closed:
            raise refusal_of_closed(self)
        self._check_loop(loop)
        self._loop = loop

    def _check_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None and self._loop is not loop:
            raise refusal_on_other_loop(self)

    async def _exchange(self, loop: asyncio.AbstractEventLoop, request: Request) -> Response:
        origin, target = self._origin_and_target(request.url)
        data = self._encoder.encode(request, target, origin.shared_head)
        now, seconds = loop.time(), request.timeouts.attempt
        connection = self._pool.take(origin.idle, now)
        if connection is None:
            connection = await self._connector.connect(origin.peer, request.timeouts)
        deadline = connection.deadline
        deadline.when, deadline.seconds = now + seconds, seconds
        self._deadlines.begin(deadline)
        try:
            await connection.send_request(data, request.url, bodiless=request.method == "HEAD")
        finally:
            self._deadlines.end(deadline)
            if connection.finish_exchange():
                self._pool.put(connection, origin.idle, loop.time())
        return connection.parser.response().over(connection)

    def _origin_and_target(self, url: str) -> tuple[_Origin, str]:
        """Split a URL into its origin and the target of the request line."""
        start = url.find("/", len("https://"))
        origin = self._origins.get(url[:start])
        if origin is not None:
            target = url[start:]
            if _TARGET.fullmatch(target):
                return origin, f"{origin.target_prefix}{target}"
        prefix, target = split_url(url)
        origin = self._origins.get(prefix)
        if origin is None:
            origin = self._origins[prefix] = self._new_origin(prefix)
        return origin, f"{origin.target_prefix}{target}"

    def _new_origin(self, url: str) -> _Origin:
        peer, proxy = parse_origin(url), self._proxy
        prefix, fields = ("", ()) if proxy is None or peer.secure else (url, proxy.fields)
        return _Origin(peer, prefix, lines(" HTTP/1.1", f"Host: {peer.host_field}", *fields), [])

    def _new_connection(self) -> HTTPConnection:
        loop = asyncio.get_running_loop()
        parser = ResponseParser(self._header_parser, self._max_body)
        return HTTPConnection(loop, self._pool, parser, self._deadlines, self._coalescer)


def _checked_context(context: object) -> tls.SSLContext | None:
    if context is not None and not isinstance(context, tls.SSLContext):
        raise InvalidRequest("ssl must be an ssl.SSLContext; verification cannot be turned off")
    return context
