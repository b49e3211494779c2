"""Callers of a fake: in memory, over a socket by our transport, and by plain aiohttp."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import aiohttp
from attrs import frozen

from ringme_async.testing import FakeApplication, FakeRingMe
from ringme_async.transports import Headers, Request, Response, Timeouts, Transport
from ringme_async.transports.aiohttp import AiohttpTransport
from ringme_async.transports.memory import InMemoryTransport
from tests.leaping import MINUTE

ROOT = "/api/ver1.0"


class PlainTransport:
    """A plain aiohttp client."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession()

    async def send(self, request: Request) -> Response:
        async with self._session.request(
            request.method,
            request.url,
            headers=dict(request.headers),
            data=request.body or None,
            skip_auto_headers=("Content-Type", "Accept-Encoding"),
            allow_redirects=False,
        ) as answer:
            body = await answer.read()
            return Response(answer.status, Headers(dict(answer.headers)), body)

    async def aclose(self) -> None:
        await self._session.close()


@frozen(eq=False)
class Caller:
    """Sends requests to a fake."""

    transport: Transport
    url: str
    fake: FakeRingMe

    async def __call__(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: bytes = b"",
        timeout: float = MINUTE,
        **headers: str | None,
    ) -> Response:
        fields = {"accept-encoding": "gzip"}
        if token is not None:
            fields["authorization"] = f"Bearer {token}"
        for name, value in headers.items():
            fields.pop(name.replace("_", "-"), None)
            if value is not None:
                fields[name.replace("_", "-")] = value
        timeouts = Timeouts(connect=timeout, attempt=timeout)
        url = f"{self.url}{path}"
        return await self.transport.send(Request(method, url, Headers(fields), body, timeouts))

    async def get(self, who: object, token: str | None) -> Response:
        return await self("GET", f"{ROOT}/client/{who}/client/", token=token)

    async def put(self, who: object, token: str | None, fields: object) -> Response:
        return await self(
            "PUT",
            f"{ROOT}/client/{who}/client/",
            token=token,
            body=json.dumps(fields).encode(),
            content_type="application/json",
        )

    async def ask_token(self, form: Mapping[str, str], **headers: str | None) -> Response:
        return await self(
            "POST",
            "/oauth/token",
            body=urlencode(form).encode(),
            **{"content_type": "application/x-www-form-urlencoded", **headers},
        )

    async def log_in(self, application: FakeApplication) -> Response:
        return await self.ask_token(
            {
                "grant_type": "client_credentials",
                "client_id": application.app_id,
                "client_secret": application.app_secret,
                "scope": "all",
            }
        )


@asynccontextmanager
async def reaching(way: str, fake: FakeRingMe) -> AsyncIterator[Caller]:
    """Make a caller of this kind: ``memory``, ``loopback`` or ``plain``."""
    if way == "memory":
        yield Caller(InMemoryTransport(fake), fake.base_url, fake)
        return
    transport: Transport = AiohttpTransport() if way == "loopback" else PlainTransport()
    async with fake.serve() as url:
        try:
            yield Caller(transport, url, fake)
        finally:
            await transport.aclose()


def said(response: Response) -> Any:
    """Read the answer's JSON."""
    assert response.headers["content-type"].partition(";")[0] == "application/json"
    return json.loads(response.body)


def limits(response: Response) -> tuple[int, int, int]:
    """Read the three headers of the hourly limit."""
    names = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
    limit, remaining, reset = (int(response.headers[name]) for name in names)
    return limit, remaining, reset
