"""The fake on a socket, with real faults: resets, cut bodies, bombs."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from functools import lru_cache
from ssl import SSLContext
from typing import cast

from aiohttp import web

from ringme_async.testing.fake import fault_kinds
from ringme_async.testing.fake.docs_pages import Describe, page_at
from ringme_async.testing.fake.exchange import Exchange
from ringme_async.testing.fake.gzip_bodies import garbled, packed, zeros
from ringme_async.testing.fake.server import FakeServer, accepts_gzip
from ringme_async.transports import Headers, Request

_BODILESS = frozenset({204, 304})
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_WIRE_NAMES = {
    "www-authenticate": "WWW-Authenticate",
    "x-ratelimit-limit": "X-RateLimit-Limit",
    "x-ratelimit-remaining": "X-RateLimit-Remaining",
    "x-ratelimit-reset": "X-RateLimit-Reset",
}


class LoopbackServer:
    """Serves a fake on a socket of this machine, in the running loop.

    Use it as ``async with fake.serve() as url``. Leaving the block cuts unfinished answers off.
    It also serves the fake's OpenAPI description, ``/openapi.json``, and a page to try calls on,
    ``/docs``.

    Args:
        engine: Carries requests out.
        describe: Gives the OpenAPI description of the API at a base URL.
        host: The address to listen on.
        port: The port; 0 for a free one.
        ssl_context: For https; default plain http.

    Attributes:
        url: Scheme, host and port, while it runs.
    """

    def __init__(
        self,
        engine: FakeServer,
        describe: Describe,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: SSLContext | None = None,
    ) -> None:
        self.url: str = ""
        self._engine = engine
        self._describe = describe
        self._host = host
        self._port = port
        self._ssl = ssl_context

    async def __aenter__(self) -> str:
        self._web = web.Server(self._handle, handler_cancellation=True, access_log=None)
        await self.resume()
        if self._engine.is_down:
            await self.suspend()
        self._engine.servers.add(self)
        scheme = "http" if self._ssl is None else "https"
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"{scheme}://{host}:{self._port}"
        return self.url

    async def __aexit__(self, *exc_info: object) -> None:
        self._engine.servers.discard(self)
        await self.suspend()

    async def resume(self) -> None:
        """Accept connections, on the same port as before."""
        self._server = await asyncio.get_running_loop().create_server(
            self._web, self._host, self._port, ssl=self._ssl, backlog=1_024
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def suspend(self) -> None:
        """Close all connections and accept no new ones."""
        self._server.close()
        for connection in self._web.connections:
            if connection.transport is not None:
                connection.transport.abort()
        # aiohttp gives no signal when the last connection and its handler have ended.
        while self._web.connections:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await self._server.wait_closed()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        page = page_at(request, self._describe)
        if page is not None:
            return page
        exchange = self._engine.receive(await _request_from(request))
        try:
            await asyncio.sleep(exchange.delay)
            return await _respond(request, exchange)
        finally:
            self._engine.release(exchange)


async def _request_from(request: web.BaseRequest) -> Request:
    fields: dict[str, str] = {}
    for name, value in request.headers.items():
        known = fields.get(name.lower())
        fields[name.lower()] = value if known is None else f"{known}, {value}"
    target = request.raw_path
    # A request to a proxy has the whole URL; a server must accept it too (RFC 9112, section 3.2.2).
    origin = f"{request.scheme}://{request.host}"
    url = f"{origin}{target}" if target.startswith("/") else target
    return Request(request.method, url, Headers(fields), await request.read())


async def _respond(request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
    fields = {_wire_name(name): value for name, value in exchange.response.headers.items()}
    body = exchange.response.body
    gzip = accepts_gzip(exchange.request.headers) and exchange.response.status not in _BODILESS
    if gzip:
        fields["Content-Encoding"] = "gzip"
        body = packed(body)
    match exchange.fault:
        case fault_kinds.ResetBefore() | fault_kinds.ResetAfter():
            return _send_reset(request)
        case fault_kinds.CutBody(share=share) if body:
            return await _send_cut(request, exchange, fields, body, share)
        case fault_kinds.CutBody():
            return _send_reset(request)
        case fault_kinds.SlowDrip(seconds=seconds, pieces=pieces):
            pauses = seconds / pieces
            parts = _split(body, pieces)
            return await _stream(request, exchange, fields, parts, len(body), pauses)
        case fault_kinds.GarbledGzip():
            fields["Content-Encoding"] = "gzip"
            return web.Response(
                status=exchange.response.status,
                headers=fields,
                body=garbled(exchange.response.body),
            )
        case fault_kinds.GzipBomb(size=size):
            fields["Content-Encoding"] = "gzip"
            return await _stream(request, exchange, fields, zeros(size))
        case _:
            return web.Response(status=exchange.response.status, headers=fields, body=body)


def _send_reset(request: web.BaseRequest) -> web.StreamResponse:
    transport = _transport_of(request)
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
    return web.Response()


def _transport_of(request: web.BaseRequest) -> asyncio.Transport:
    # Never None here: a lost connection cancels the handler.
    return cast("asyncio.Transport", request.transport)


async def _send_cut(
    request: web.BaseRequest, exchange: Exchange, fields: dict[str, str], body: bytes, share: float
) -> web.StreamResponse:
    part = body[: min(int(len(body) * share), len(body) - 1)]
    response = await _stream(request, exchange, fields, iter([part]), len(body))
    _transport_of(request).close()
    return response


async def _stream(
    request: web.BaseRequest,
    exchange: Exchange,
    fields: dict[str, str],
    parts: Iterator[bytes],
    length: int | None = None,
    pause: float = 0.0,
) -> web.StreamResponse:
    response = web.StreamResponse(status=exchange.response.status, headers=fields)
    response.content_length = length
    try:
        await response.prepare(request)
        for part in parts:
            await asyncio.sleep(pause)
            await response.write(part)
    except ConnectionError:
        # The connection is closing. aiohttp notices at its own next write.
        return response
    return response


def _split(body: bytes, pieces: int) -> Iterator[bytes]:
    size = max(1, -(-len(body) // pieces))
    return (body[start : start + size] for start in range(0, len(body), size))


@lru_cache(maxsize=256)
def _wire_name(name: str) -> str:
    return _WIRE_NAMES.get(name) or name.title()
