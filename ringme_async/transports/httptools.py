"""The fast transport over the network: HTTP/1.1 on asyncio's own connections, parsed in C."""

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
from ringme_async.transports.http11.peer import Peer, Proxy, checked_proxy, parts_of, peer_at
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
class _Site:
    """What URLs begin with: who answers there, what requests to it have in common, its rest."""

    peer: Peer
    # What stands before and after the part of the URL that differs.
    before: str
    after: str = field(repr=False)
    # The connections that nobody uses.
    idle: list[HTTPConnection]


@shown_half_made
class HttptoolsTransport:
    """Sends requests over connections of its own, and parses the answers with httptools.

    It does what ``AiohttpTransport`` does, in less than half of its CPU time. It has to be asked for:
    ``pip install 'ringme-async[fast]'``, and
    ``from ringme_async.transports.httptools import HttptoolsTransport``.

    One request is one request on the wire: no redirect is followed, nothing is retried, no cookie
    is kept, no proxy is taken from the environment. TLS is verified. It speaks HTTP/1.1 only. It
    belongs to the event loop it is first used on.

    Args:
        max_body: The cap on a body after decompression, in bytes. Default 8 MiB.
        ssl: What to verify servers with, for a company's own CA. Default the system's CAs.
        proxy: URL of an HTTP proxy, with its user and password if it needs them.

    Raises:
        InvalidRequest: An argument is malformed.
    """

    __slots__ = (
        "_closed",
        "_coalescer",
        "_connector",
        "_deadlines",
        "_encoder",
        "_heads",
        "_loop",
        "_max_body",
        "_pool",
        "_proxy",
        "_sites",
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
        self._sites: dict[str, _Site] = {}
        self._encoder = RequestEncoder()
        self._heads = HeaderParser()
        self._pool = ConnectionPool()
        self._connector = Connector(self._new_connection, _checked_context(ssl), self._proxy)
        self._deadlines = Deadlines()
        self._coalescer = WriteCoalescer(self._deadlines)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def send(self, request: Request) -> Response:
        """Send a request and read its answer to the end.

        Raises:
            ConnectError: No connection came about; nothing was sent.
            TransportTimeout: The connection took longer than ``timeouts.connect`` (not sent), or
                the whole longer than ``timeouts.attempt`` (sent, unless still connecting).
            ResponseLost: The connection broke, or what came is no readable HTTP answer. The
                status of an error outlives that, with as much of its body as arrived.
            ResponseTooLarge: The body is over ``max_body``.
            InvalidRequest: The method, URL or a header holds what HTTP forbids; or the transport
                is closed, or was used on another event loop before.
        """
        loop = asyncio.get_running_loop()
        if self._closed or loop is not self._loop:
            self._open(loop)
        try:
            return await self._converse(loop, request)
        except RingMeError as error:
            failure = error
        # Raised here, clear of the frames that hold bodies and secrets.
        raise failure.with_traceback(None)

    async def aclose(self) -> None:
        """Close the connections; further calls do nothing.

        Raises:
            InvalidRequest: It belongs to another event loop, which still runs.
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
        """Close the connections at once, when nobody is left to await ``aclose``.

        On its event loop only, or when that has ended.
        """
        self._closed = True
        if self._loop is not None and self._loop.is_closed():
            self._pool.forsake()
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

    async def _converse(self, loop: asyncio.AbstractEventLoop, request: Request) -> Response:
        site, target = self._way(request.url)
        data = self._encoder.of(request, target, site.after)
        now, seconds = loop.time(), request.timeouts.attempt
        connection = self._pool.take(site.idle, now)
        if connection is None:
            connection = await self._connector.connect(site.peer, request.timeouts)
        patience = connection.patience
        patience.when, patience.seconds = now + seconds, seconds
        self._deadlines.begin(patience)
        try:
            await connection.ask(data, request.url, bodiless=request.method == "HEAD")
        finally:
            self._deadlines.end(patience)
            if connection.settle():
                self._pool.put(connection, site.idle, loop.time())
        return connection.parser.response().over(connection)

    def _way(self, url: str) -> tuple[_Site, str]:
        """Tell whom a URL leads to, and the target that is asked for there."""
        start = url.find("/", len("https://"))
        site = self._sites.get(url[:start])
        if site is not None:
            target = url[start:]
            if _TARGET.fullmatch(target):
                return site, f"{site.before}{target}"
        origin, target = parts_of(url)
        site = self._sites.get(origin)
        if site is None:
            site = self._sites[origin] = self._new_site(origin)
        return site, f"{site.before}{target}"

    def _new_site(self, origin: str) -> _Site:
        peer, proxy = peer_at(origin), self._proxy
        before, fields = ("", ()) if proxy is None or peer.secure else (origin, proxy.fields)
        return _Site(peer, before, lines(" HTTP/1.1", f"Host: {peer.shown}", *fields), [])

    def _new_connection(self) -> HTTPConnection:
        loop = asyncio.get_running_loop()
        parser = ResponseParser(self._heads, self._max_body)
        return HTTPConnection(loop, self._pool, parser, self._deadlines, self._coalescer)


def _checked_context(context: object) -> tls.SSLContext | None:
    if context is not None and not isinstance(context, tls.SSLContext):
        raise InvalidRequest("ssl must be an ssl.SSLContext; verification cannot be turned off")
    return context
