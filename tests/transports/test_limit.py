"""Requests that wait for a connection under the transport's or a given session's limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from ringme_async.errors import ConnectError, TransportTimeout
from ringme_async.transports import Timeouts
from ringme_async.transports.aiohttp import AiohttpTransport
from tests.leaping import MINUTE, leap
from tests.transports.sending import failure_of, request
from tests.wire import Peer, answer, serving

TIMEOUTS = Timeouts(connect=MINUTE, attempt=10 * MINUTE)


@asynccontextmanager
async def limited_to_one(by: str) -> AsyncIterator[AiohttpTransport]:
    if by == "limit":
        transport = AiohttpTransport(limit=1)
        yield transport
        await transport.aclose()
        return
    limits = {"limit": 1} if by == "session" else {"limit": 0, "limit_per_host": 1}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(**limits)) as session:
        yield AiohttpTransport(session)


each_limit = pytest.mark.parametrize("by", ["limit", "session", "host"])


@each_limit
async def test_the_wait_for_a_free_connection_does_not_count_as_connecting(by: str) -> None:
    may_answer = asyncio.Event()

    async def answer_later(peer: Peer) -> None:
        while await peer.request():
            await may_answer.wait()
            await peer.send(answer(b"hello"))

    async with serving(answer_later) as server, limited_to_one(by) as transport:
        asked = request(server.url(), timeouts=TIMEOUTS)
        sends = [asyncio.create_task(transport.send(asked)) for _ in range(5)]
        while not server.connections:
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        leap(5 * MINUTE)
        for _ in range(10):
            await asyncio.sleep(0)
        may_answer.set()
        bodies = {(await send).body for send in sends}

    assert bodies == {b"hello"}
    assert server.connections == 1


@each_limit
async def test_a_request_that_waits_too_long_is_not_sent(by: str) -> None:
    async def keep_silent(peer: Peer) -> None:
        await peer.until_closed()

    async with serving(keep_silent) as server, limited_to_one(by) as transport:
        first = asyncio.create_task(transport.send(request(server.url(), timeouts=TIMEOUTS)))
        while not server.connections:
            await asyncio.sleep(0)
        short = Timeouts(connect=MINUTE, attempt=0.1)
        error = await failure_of(transport, request(server.url(), "PUT", b"{}", short))
        first.cancel()
        await asyncio.wait([first])

    assert type(error) is TransportTimeout
    assert not error.sent
    assert "within 0.1 s" in str(error)
    assert server.connections == 1


async def test_a_request_that_waits_while_the_transport_closes_is_not_sent() -> None:
    async def keep_silent(peer: Peer) -> None:
        await peer.until_closed()

    async with serving(keep_silent) as server:
        transport = AiohttpTransport(limit=1)
        asked = request(server.url(), timeouts=TIMEOUTS)
        sends = [asyncio.create_task(failure_of(transport, asked)) for _ in range(4)]
        while not server.connections:
            await asyncio.sleep(0)
        await transport.aclose()
        _, *waited = [await send for send in sends]

    assert [(type(error), error.sent) for error in waited] == [(ConnectError, False)] * 3
    assert {"the session was closed" in str(error) for error in waited} == {True}


async def test_a_request_that_waits_while_a_given_session_closes_is_not_sent() -> None:
    async def keep_silent(peer: Peer) -> None:
        await peer.until_closed()

    async with serving(keep_silent) as server:
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1))
        transport = AiohttpTransport(session)
        asked = request(server.url(), timeouts=TIMEOUTS)
        sends = [asyncio.create_task(failure_of(transport, asked)) for _ in range(2)]
        while not server.connections:
            await asyncio.sleep(0)
        await session.close()
        _, error = [await send for send in sends]

    assert type(error) is ConnectError
    assert not error.sent
    assert "the session was closed" in str(error)
