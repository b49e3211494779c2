"""aiohttp-retry around an aiohttp session."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp_retry import ExponentialRetry, RetryClient

from benchmarks.work import TOKEN, Go, Work, by_workers


@asynccontextmanager
async def opened(work: Work) -> AsyncIterator[Go]:
    """Open a client that tries three times."""
    async with RetryClient(
        headers={"Authorization": f"Bearer {TOKEN}"}, retry_options=ExponentialRetry(attempts=3)
    ) as client:

        async def get(number: int) -> dict[str, object]:
            async with client.get(work.url(number)) as answer:
                record: dict[str, object] = json.loads(await answer.read())
                return record

        yield by_workers(work, get)
