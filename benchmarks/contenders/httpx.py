"""httpx."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from benchmarks.work import TOKEN, Go, Work, by_workers


@asynccontextmanager
async def opened(work: Work) -> AsyncIterator[Go]:
    """Open a client whose settings are the defaults, with which it is quickest here.

    They keep 20 connections. When as many are kept as are used at once, a request costs about
    twice as much, since the pool looks at each of them time and again.
    """
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as client:

        async def get(number: int) -> object:
            return (await client.get(work.url(number))).json()

        yield by_workers(work, get)
