"""The transports under the contract, each before the same handler.

To add one, write a stage and name it in ``STAGES``. A stage gives the transport and the base URL
that leads to the handler.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from aiohttp import (
    ClientHandlerType,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    web,
)

from ringme_async.transports import Headers, Request, Response, Transport
from ringme_async.transports.aiohttp import AiohttpTransport
from ringme_async.transports.httptools import HttptoolsTransport
from ringme_async.transports.memory import InMemoryTransport

__all__ = ["STAGES", "Handler", "Stage"]

Handler = Callable[[Request], Awaitable[Response]]


class Stage(Protocol):
    """Opens a transport before a handler, and closes it at the end."""

    def __call__(
        self, handler: Handler, *, max_body: int = ...
    ) -> AbstractAsyncContextManager[tuple[Transport, str]]: ...


@asynccontextmanager
async def in_memory(
    handler: Handler, *, max_body: int = 8 * 2**20
) -> AsyncIterator[tuple[Transport, str]]:
    transport = InMemoryTransport(handler, max_body=max_body)
    yield transport, "http://pbx.example.com"
    await transport.aclose()


@asynccontextmanager
async def over_aiohttp(
    handler: Handler, *, max_body: int = 8 * 2**20
) -> AsyncIterator[tuple[Transport, str]]:
    async with on_loopback(handler) as base_url:
        transport = AiohttpTransport(max_body=max_body)
        yield transport, base_url
        await transport.aclose()


@asynccontextmanager
async def over_httptools(
    handler: Handler, *, max_body: int = 8 * 2**20
) -> AsyncIterator[tuple[Transport, str]]:
    async with on_loopback(handler) as base_url:
        transport = HttptoolsTransport(max_body=max_body)
        yield transport, base_url
        await transport.aclose()


@asynccontextmanager
async def over_a_given_session(
    handler: Handler, *, max_body: int = 8 * 2**20
) -> AsyncIterator[tuple[Transport, str]]:
    """Send with a session whose every setting contradicts the contract."""
    session = ClientSession(
        base_url="http://elsewhere.example.com/",
        cookies={"kept": "cookie"},
        headers={
            "Authorization": "Basic bm9ib2R5",
            "Accept-Encoding": "br",
            "Content-Type": "text/plain",
            "X-One": "default",
        },
        raise_for_status=True,
        auto_decompress=False,
        timeout=ClientTimeout(total=0.000_001),
        middlewares=(_refuse,),
    )
    async with session, on_loopback(handler) as base_url:
        transport = AiohttpTransport(session, max_body=max_body)
        yield transport, base_url
        await transport.aclose()
        assert not session.closed


async def _refuse(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    raise AssertionError


@asynccontextmanager
async def on_loopback(handler: Handler) -> AsyncIterator[str]:
    """Serve a handler on a socket. A failing handler answers 500."""

    async def handle(asked: web.BaseRequest) -> web.Response:
        request = Request(
            asked.method,
            f"{base_url}{asked.raw_path}",
            Headers(dict(asked.headers)),
            await asked.content.read(),
        )
        response = await handler(request)
        return web.Response(
            status=response.status, headers=dict(response.headers), body=response.body
        )

    runner = web.ServerRunner(
        web.Server(handle, access_log=None, handler_cancellation=True), shutdown_timeout=0.0
    )
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    base_url = f"http://{host}:{port}"
    try:
        yield base_url
    finally:
        await runner.cleanup()


STAGES: dict[str, Stage] = {
    "memory": in_memory,
    "aiohttp": over_aiohttp,
    "httptools": over_httptools,
    "given session": over_a_given_session,
}
