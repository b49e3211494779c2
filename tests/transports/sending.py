"""Sends one request and checks its outcome."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any

import pytest
from aiohttp import ClientSession

from ringme_async._internal.deadlines import Deadlines
from ringme_async.errors import RingMeError, TransportError
from ringme_async.transports import Headers, Request, Response, Timeouts, Transport
from ringme_async.transports.aiohttp import AiohttpTransport
from tests.leaping import MINUTE

SECRET = "s3cret"
PATIENT = Timeouts(connect=MINUTE, attempt=MINUTE)

# The transport under test. The fixture ``each_transport`` sets it.
make: Callable[..., Transport] = AiohttpTransport


def request(
    url: str, method: str = "GET", body: bytes = b"", timeouts: Timeouts = PATIENT, **fields: str
) -> Request:
    """Make a request that carries secrets in its header, its query and its body."""
    headers = {"Authorization": f"Bearer {SECRET}", **fields}
    return Request(method, f"{url}?q={SECRET}", Headers(headers), body, timeouts)


def in_flight(count: int) -> Deadlines:
    """Make deadlines with this many requests in flight."""
    deadlines = Deadlines()
    for _ in range(count):
        deadlines.begin(deadlines.until(math.inf))
    return deadlines


def made(**settings: Any) -> Transport:
    """Make the transport under test."""
    return make(**settings)


@asynccontextmanager
async def opened(
    session: ClientSession | None = None,
    *,
    max_body: int = 8 * 2**20,
    ssl: SSLContext | None = None,
    proxy: str | None = None,
    limit: int = 0,
) -> AsyncIterator[Transport]:
    """Open and close a transport. A session or a limit makes it an ``AiohttpTransport``."""
    if session is not None or limit:
        transport: Transport = AiohttpTransport(
            session, max_body=max_body, ssl=ssl, proxy=proxy, limit=limit
        )
    else:
        transport = made(max_body=max_body, ssl=ssl, proxy=proxy)
    try:
        yield transport
    finally:
        await transport.aclose()


async def sent(
    url: str, method: str = "GET", body: bytes = b"", *, max_body: int = 8 * 2**20
) -> Response:
    """Send one request with a new transport."""
    async with opened(max_body=max_body) as transport:
        return await transport.send(request(url, method, body))


async def failure_of(transport: Transport, asked: Request) -> TransportError:
    """Send a request that fails, and check the promises of every failure."""
    with pytest.raises(TransportError) as caught:
        await transport.send(asked)
    assert_harmless(caught.value)
    return caught.value


def assert_harmless(error: RingMeError) -> None:
    """Check that an error is one line, without secrets and without aiohttp's frames."""
    assert "\n" not in str(error)
    for text in (str(error), repr(error), repr(vars(error))):
        assert SECRET not in text
    assert error.__cause__ is None
    assert error.__context__ is None
    frame = error.__traceback__
    while frame is not None:
        code = frame.tb_frame.f_code
        assert "site-packages" not in code.co_filename
        if "ringme_async" in code.co_filename:
            assert SECRET not in repr(frame.tb_frame.f_locals)
        frame = frame.tb_next
