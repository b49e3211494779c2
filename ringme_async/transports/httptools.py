"""The fast transport over the network: HTTP/1.1 on asyncio's own connections, parsed in C."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl as tls
from base64 import b64encode
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from attrs import define, field, frozen

from ringme_async.deadlines import Deadlines
from ringme_async.errors import ConnectError, InvalidRequest, RingMeError, TransportTimeout
from ringme_async.transports import Headers, Request, Response
from ringme_async.transports.body import (
    DEFAULT_MAX_BODY,
    kind_of,
    peer_of,
    refusal_of_closed,
    refusal_on_other_loop,
    whole_number,
)
from ringme_async.transports.departures import Departures
from ringme_async.transports.head import Heads

if TYPE_CHECKING:
    from ringme_async.transports.answers import Answers, words_of
    from ringme_async.transports.wire import Wire
else:
    try:
        from ringme_async.transports.answers import Answers, words_of
        from ringme_async.transports.wire import Wire
    except ModuleNotFoundError as missing:
        if missing.name != "httptools":
            raise
        raise ImportError(
            "HttptoolsTransport needs more than is installed; "
            "install it with: pip install 'ringme-async[fast]'"
        ) from None

__all__ = ["HttptoolsTransport"]

# How long a connection is kept that nobody uses, in seconds: less than servers usually do.
_KEPT: Final = 15.0
_BODY_METHODS: Final = frozenset({"PATCH", "POST", "PUT"})
# What only the transport can say of a request.
_OURS: Final = frozenset({"content-length", "host", "transfer-encoding"})
_NUMBER: Final = re.compile(r"\[Errno (\d+)\]")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_URL: Final = re.compile(
    r"(https?://[!-\"$-.0->@-~]+)(/[!-\"$-~]*|\?[!-\"$-~]*)?(?:#.*)?", re.ASCII
)
_TARGET: Final = re.compile(r"/[!-\"$-~]*", re.ASCII)
_FORBIDDEN: Final = "the method, the URL or a header holds what HTTP forbids"


@frozen
class _Peer:
    """A host to connect to, and whether in TLS."""

    host: str
    port: int
    secure: bool
    # As it stands in the URL, and so in the header.
    shown: str


@define(eq=False)
class _Site:
    """What URLs begin with: who answers there, what requests to it have in common, its rest."""

    peer: _Peer
    # What stands before and after the part of the URL that differs.
    before: str
    after: str = field(repr=False)
    # The connections that nobody uses.
    idle: list[Wire]


@frozen
class _Proxy:
    """A proxy, and the header lines that open it."""

    peer: _Peer
    fields: tuple[str, ...] = field(repr=False)


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
        "_connecting",
        "_deadlines",
        "_departures",
        "_fields",
        "_headers",
        "_heads",
        "_loop",
        "_max_body",
        "_proxy",
        "_sites",
        "_ssl",
        "_wires",
    )

    def __init__(
        self,
        *,
        max_body: int = DEFAULT_MAX_BODY,
        ssl: tls.SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        self._max_body = whole_number("max_body", max_body, least=1)
        self._ssl = _checked_context(ssl)
        self._proxy = None if proxy is None else _checked_proxy(proxy)
        self._sites: dict[str, _Site] = {}
        # The headers sent last, which are those of the next request in most cases, as spelled.
        self._headers: Headers | None = None
        self._fields = ""
        self._heads = Heads()
        self._connecting: set[asyncio.Timeout] = set()
        self._wires: set[Wire] = set()
        self._deadlines = Deadlines()
        self._departures = Departures(self._deadlines)
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
        self._deadlines.close()
        wires = list(self._wires)
        for timer in self._connecting:
            timer.reschedule(loop.time())
        for wire in wires:
            wire.abort()
        await asyncio.gather(*(wire.gone for wire in wires))

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
        data = self._spelled(request, site, target)
        now, seconds = loop.time(), request.timeouts.attempt
        wire = self._kept(site, now) or await self._connected(site.peer, request)
        patience = wire.patience
        patience.when, patience.seconds = now + seconds, seconds
        self._deadlines.begin(patience)
        try:
            await wire.ask(data, request.url, bodiless=request.method == "HEAD")
        finally:
            self._deadlines.end(patience)
            if wire.settle():
                wire.rest(site.idle)
        return wire.answers.response()

    def _way(self, url: str) -> tuple[_Site, str]:
        """Tell whom a URL leads to, and what is to be asked for there."""
        start = url.find("/", len("https://"))
        site = self._sites.get(url[:start])
        if site is not None:
            target = url[start:]
            if _TARGET.fullmatch(target):
                return site, target
        parts = _URL.fullmatch(url)
        if parts is None:
            raise InvalidRequest(_FORBIDDEN)
        target = parts[2] or "/"
        site = self._sites.get(parts[1])
        if site is None:
            site = self._sites[parts[1]] = self._new_site(parts[1])
        return site, f"/{target}" if target[0] == "?" else target

    def _new_site(self, origin: str) -> _Site:
        peer, proxy = _peer(origin), self._proxy
        before, fields = ("", ()) if proxy is None or peer.secure else (origin, proxy.fields)
        return _Site(peer, before, _lines(" HTTP/1.1", f"Host: {peer.shown}", *fields), [])

    def _spelled(self, request: Request, site: _Site, target: str) -> bytes:
        """Spell a request as it goes over the wire."""
        if request.headers is not self._headers:
            self._fields = _fields(request.headers)
            self._headers = request.headers
        method, body = _checked_method(request.method), request.body
        framing = f"Content-Length: {len(body)}\r\n" if body or method in _BODY_METHODS else ""
        head = f"{method} {site.before}{target}{site.after}{self._fields}{framing}\r\n"
        return head.encode() + body

    def _kept(self, site: _Site, now: float) -> Wire | None:
        """Take a connection that is open and unused, the one used last."""
        while site.idle:
            wire = site.idle.pop()
            if wire.idle_since + _KEPT > now and not wire.transport.is_closing():
                return wire
            wire.abort()
        return None

    async def _connected(self, peer: _Peer, request: Request) -> Wire:
        seconds = min(request.timeouts.connect, request.timeouts.attempt)
        timer = asyncio.timeout(seconds)
        first = peer if self._proxy is None else self._proxy.peer
        self._connecting.add(timer)
        try:
            async with timer:
                wire = await self._connect(first)
                if first is not peer and peer.secure:
                    await self._tunnel(wire, peer)
        except (OSError, UnicodeError) as error:
            where, why, failure = f"{first.host}:{first.port}", _words(error), error
        else:
            return wire
        finally:
            self._connecting.discard(timer)
        if self._closed:
            raise ConnectError(f"no connection to {where}: the transport was closed")
        if timer.expired():
            where = peer_of(request.url)
            raise TransportTimeout(f"no connection to {where} within {seconds:g} s", sent=False)
        kind = None if self._proxy is not None else kind_of(failure)
        raise ConnectError(f"no connection to {where}: {why}", kind=kind)

    async def _connect(self, peer: _Peer) -> Wire:
        loop = asyncio.get_running_loop()
        context = self._context() if peer.secure else None
        wire = self._new_wire(loop)
        try:
            await loop.create_connection(lambda: wire, peer.host, peer.port, ssl=context)
        except BaseException:
            # uvloop does not tell a protocol that its connection ended as it came about.
            wire.connection_lost(None)
            raise
        return wire

    def _new_wire(self, loop: asyncio.AbstractEventLoop) -> Wire:
        answers = Answers(self._heads, self._max_body)
        return Wire(loop, self._wires, answers, self._deadlines, self._departures)

    async def _tunnel(self, wire: Wire, peer: _Peer) -> None:
        """Have the proxy open a way to a server, and start TLS with that."""
        proxy, loop = self._proxy, asyncio.get_running_loop()
        target = f"{f'[{peer.host}]' if ':' in peer.host else peer.host}:{peer.port}"
        fields = () if proxy is None else proxy.fields
        head = _lines(f"CONNECT {target} HTTP/1.1", f"Host: {target}", *fields)
        refused: RingMeError | None = None
        try:
            try:
                await wire.ask(f"{head}\r\n".encode(), f"https://{target}", bodiless=True)
            finally:
                wire.settle()
            status = wire.answers.response().status
            if status != 200:
                refused = ConnectError(f"the proxy gives no way to {target}: status {status}")
            else:
                secured = await loop.start_tls(
                    wire.transport, wire, self._context(), server_hostname=peer.host
                )
                # asyncio gives None where the connection ended at the same moment.
                wire.connection_made(secured or wire.transport)
        except RingMeError as error:
            refused = ConnectError(f"the proxy gives no way to {target}: {error}")
        except BaseException:
            # asyncio does not tell a protocol that its TLS never came about.
            wire.abort()
            wire.connection_lost(None)
            raise
        if refused is not None:
            wire.abort()
            raise refused

    def _context(self) -> tls.SSLContext:
        if self._ssl is None:
            self._ssl = tls.create_default_context()
            self._ssl.set_alpn_protocols(["http/1.1"])
        return self._ssl


def _fields(headers: Headers) -> str:
    """Spell the header fields of a request, but for those that are the transport's own.

    ``Accept-Encoding: gzip`` is mandatory on every request (API page, section 3).
    """
    lines = [f"{_title(name)}: {value}" for name, value in headers.items() if name not in _OURS]
    if "accept-encoding" not in headers:
        lines.append("Accept-Encoding: gzip")
    return _lines(*lines)


def _lines(*lines: str) -> str:
    """Put lines one below the other, unless one of them would be more than a line."""
    text = "\r\n".join((*lines, ""))
    if text.count("\n") == text.count("\r") == len(lines) and "\0" not in text:
        try:
            text.encode()
        except UnicodeEncodeError:
            pass
        else:
            return text
    raise InvalidRequest(_FORBIDDEN)


@lru_cache(maxsize=64)
def _checked_method(method: str) -> str:
    if _TOKEN.fullmatch(method) is None:
        raise InvalidRequest(_FORBIDDEN)
    return method


@lru_cache(maxsize=256)
def _title(name: str) -> str:
    if _TOKEN.fullmatch(name) is None:
        raise InvalidRequest(_FORBIDDEN)
    return name.title()


def _peer(origin: str) -> _Peer:
    scheme, _, netloc = origin.partition("://")
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or "@" in netloc:
        raise InvalidRequest(_FORBIDDEN)
    secure = scheme == "https"
    return _Peer(host, port or (443 if secure else 80), secure, netloc)


def _words(error: Exception) -> str:
    """Give what the system says of a connection that did not come about."""
    if isinstance(error, OSError) and not isinstance(error, tls.SSLError | socket.gaierror):
        # asyncio's words hold the addresses; of several, the first one's number is enough.
        found = _NUMBER.search(str(error))
        if found is not None:
            return os.strerror(int(found[1]))
    return words_of(error)


def _checked_context(context: object) -> tls.SSLContext | None:
    if context is not None and not isinstance(context, tls.SSLContext):
        raise InvalidRequest("ssl must be an ssl.SSLContext; verification cannot be turned off")
    return context


def _checked_proxy(proxy: str) -> _Proxy:
    try:
        parts = urlsplit(proxy)
        peer = _peer(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
        if parts.scheme in {"http", "https"}:
            return _Proxy(peer, _opening(parts.username, parts.password))
    except (ValueError, InvalidRequest):
        pass
    raise InvalidRequest('proxy must be a URL such as "http://proxy.example.com:3128"')


def _opening(username: str | None, password: str | None) -> tuple[str, ...]:
    if username is None:
        return ()
    secrets = f"{unquote(username)}:{unquote(password or '')}"
    return (f"Proxy-Authorization: Basic {b64encode(secrets.encode()).decode()}",)
