"""Plain aiohttp, with which the tests of the stand-in itself call it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from .client import RunningStandIn, start_standin

DEALER = {"app_id": "dealer", "secret": "hush-hush", "tenant": 1, "reach": {}}
Json = dict[str, Any]


class Plain:
    """A minimal client, written with aiohttp from the API page."""

    def __init__(self, server: RunningStandIn, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session

    async def login(self, **form: str) -> tuple[int, Json]:
        data = {"grant_type": "client_credentials", "client_secret": "hush-hush"} | form
        async with self.session.post(f"{self.server.base_url}/oauth/token", data=data) as answer:
            return answer.status, await answer.json()

    async def call(
        self, who: str, token: str, *, form: str = "{}/client", body: Json | None = None
    ) -> tuple[int, Json, Mapping[str, str]]:
        url = f"{self.server.base_url}/api/ver1.0/client/{form.format(who)}/"
        async with self.session.request(
            "GET" if body is None else "PUT",
            url,
            json=body,
            headers={"Authorization": f"Bearer {token}"},
            allow_redirects=False,
        ) as answer:
            return answer.status, await answer.json(), answer.headers


@asynccontextmanager
async def plain(config: Json) -> AsyncIterator[Plain]:
    async with start_standin(config) as server, aiohttp.ClientSession() as session:
        yield Plain(server, session)


async def until(wire: Plain, so: Callable[[Json], bool]) -> Json:
    """Wait until the books match."""
    while not so(books := await wire.server.books()):
        await asyncio.sleep(0)
    return books
