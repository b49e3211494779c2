"""httpx."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from benchmarks.work import TOKEN, Go, Work, by_workers


@asynccontextmanager
async def opened(work: Work) -> AsyncIterator[Go]:
    """Open a client that keeps as many connections as are used at once."""
    limits = httpx.Limits(
        max_connections=work.concurrency, max_keepalive_connections=work.concurrency
    )
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(limits=limits, headers=headers) as client:

        async def get(number: int) -> object:
            return (await client.get(work.url(number))).json()

        yield by_workers(work, get)
