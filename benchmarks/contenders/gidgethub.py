"""gidgethub: an SDK for GitHub's API, over aiohttp, pointed at our server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from gidgethub.aiohttp import GitHubAPI

from benchmarks.work import TOKEN, Go, Work, by_workers


@asynccontextmanager
async def opened(work: Work) -> AsyncIterator[Go]:
    """Open the client with a token."""
    async with aiohttp.ClientSession() as session:
        api = GitHubAPI(session, "bench", oauth_token=TOKEN, base_url=work.origin)

        async def get(number: int) -> object:
            record: object = await api.getitem(work.url(number))
            return record

        yield by_workers(work, get)
