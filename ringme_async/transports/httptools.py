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

from attrs import field, frozen

from ringme_async.deadlines import Deadlines
from ringme_async.errors import ConnectError, InvalidRequest, RingMeError, TransportTimeout
from ringme_async.transports import Request, Response
from ringme_async.transports.body import (
    DEFAULT_MAX_BODY,
    asking_for_gzip,
    peer_of,
    refusal_of_closed,
    refusal_on_other_loop,
    whole_number,
)

if TYPE_CHECKING:
    from ringme_async.transports.wire import Answer, Wire, words_of
else:
    try:
        from ringme_async.transports.wire import Answer, Wire, words_of
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
    r"(https?)://([!-\"$-.0->@-~]+)(/[!-\"$-~]*|\?[!-\"$-~]*)?(?:#.*)?", re.ASCII
)
_FORBIDDEN: Final = "the method, the URL or a header holds what HTTP forbids"


@frozen(cache_hash=True)
class _Peer:
    """A host to connect to, and whether in TLS."""

    host: str
    port: int
    secure: bool
    # As it stands in the URL, and so in the header.
    shown: str


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
        "_idle",
        "_loop",
        "_max_body",
        "_proxy",
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
        self._idle: dict[_Peer, list[Wire]] = {}
        self._connecting: set[asyncio.Timeout] = set()
        self._wires: set[Wire] = set()
        self._deadlines = Deadlines()
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
        loop = self._open()
        try:
            return await self._converse(loop, asking_for_gzip(request))
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

    def _open(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise refusal_of_closed(self)
        loop = asyncio.get_running_loop()
        self._check_loop(loop)
        self._loop = loop
        return loop

    def _check_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None and self._loop is not loop:
            raise refusal_on_other_loop(self)

    async def _converse(self, loop: asyncio.AbstractEventLoop, request: Request) -> Response:
        parts = _URL.fullmatch(request.url)
        if parts is None:
            raise InvalidRequest(_FORBIDDEN)
        peer = _peer(parts[1], parts[2])
        path = parts[3] or "/"
        if path[0] == "?":
            path = "/" + path
        through = None if peer.secure else self._proxy
        if through is None:
            data = _spelled(request, path, peer, ())
        else:
            data = _spelled(request, f"http://{peer.shown}{path}", peer, through.fields)
        attempt = request.timeouts.attempt
        answer = Answer(request.url, self._max_body, bodiless=request.method == "HEAD")
        deadline = loop.time() + attempt
        wire = self._kept(peer, loop) or await self._connected(peer, request)
        with self._deadlines.until(deadline) as until:
            await wire.exchange(data, answer)
        if until.ended_at is not None:
            answer.give_up(attempt)
        if wire.usable:
            wire.rest(self._idle.setdefault(peer, []))
        return answer.response()

    def _kept(self, peer: _Peer, loop: asyncio.AbstractEventLoop) -> Wire | None:
        """Take a connection that is open and unused, the one used last."""
        kept = self._idle.get(peer)
        while kept:
            wire = kept.pop()
            if wire.usable and wire.idle_since + _KEPT > loop.time():
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
            where, why = f"{first.host}:{first.port}", _words(error)
        else:
            return wire
        finally:
            self._connecting.discard(timer)
        if self._closed:
            raise ConnectError(f"no connection to {where}: the transport was closed")
        if timer.expired():
            where = peer_of(request.url)
            raise TransportTimeout(f"no connection to {where} within {seconds:g} s", sent=False)
        raise ConnectError(f"no connection to {where}: {why}")

    async def _connect(self, peer: _Peer) -> Wire:
        loop = asyncio.get_running_loop()
        context = self._context() if peer.secure else None
        _, wire = await loop.create_connection(
            lambda: Wire(loop, self._wires), peer.host, peer.port, ssl=context
        )
        return wire

    async def _tunnel(self, wire: Wire, peer: _Peer) -> None:
        """Have the proxy open a way to a server, and start TLS with that."""
        proxy, loop = self._proxy, asyncio.get_running_loop()
        target = f"{f'[{peer.host}]' if ':' in peer.host else peer.host}:{peer.port}"
        head = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", *(proxy.fields if proxy else ())]
        answer = Answer(f"https://{target}", self._max_body, bodiless=True)
        refused: RingMeError | None = None
        try:
            await wire.exchange(_in_bytes(head), answer)
            status = answer.response().status
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


def _spelled(request: Request, target: str, peer: _Peer, fields: tuple[str, ...]) -> bytes:
    """Spell a request as it goes over the wire."""
    lines = [f"{_checked_method(request.method)} {target} HTTP/1.1", f"Host: {peer.shown}", *fields]
    for name, value in request.headers.items():
        if name not in _OURS:
            lines.append(f"{_title(name)}: {value}")
    body = request.body
    if body or request.method in _BODY_METHODS:
        lines.append(f"Content-Length: {len(body)}")
    return _in_bytes(lines) + body


def _in_bytes(lines: list[str]) -> bytes:
    head = "\r\n".join(lines)
    ends = len(lines) - 1
    if head.count("\n") == ends and head.count("\r") == ends and "\0" not in head:
        try:
            return f"{head}\r\n\r\n".encode()
        except UnicodeEncodeError:
            pass
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


@lru_cache(maxsize=256)
def _peer(scheme: str, netloc: str) -> _Peer:
    try:
        parts = urlsplit(f"{scheme}://{netloc}")
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
        peer = _peer(parts.scheme, parts.netloc.rpartition("@")[2])
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
