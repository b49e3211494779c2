"""Plain aiohttp: ``session.get``, ``json.loads``, a dict. The baseline of all ratios."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from benchmarks.work import CHANGE, TOKEN, Go, Work, by_workers


@asynccontextmanager
async def opened(work: Work) -> AsyncIterator[Go]:
    """Open a session with default settings."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:

        async def get(number: int) -> dict[str, object]:
            async with session.get(work.url(number)) as answer:
                record: dict[str, object] = json.loads(await answer.read())
                return record

        async def put(number: int) -> dict[str, object]:
            async with session.put(work.url(number), json=CHANGE) as answer:
                record: dict[str, object] = json.loads(await answer.read())
                return record

        yield by_workers(work, get if work.method == "GET" else put)
