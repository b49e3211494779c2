"""A transport that answers from a script and keeps what it was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from attrs import define, field

from ringme_async.transports import Request, Response

Answer = Response | Exception | Callable[[Request], Awaitable[Response]]

RECORD: dict[str, object] = json.loads(
    Path(__file__).with_name("samples").joinpath("client.example.json").read_bytes()
)


def record(**fields: object) -> Response:
    """Answer with the page's example record, with some fields changed."""
    return Response(200, {"content-type": "application/json"}, json.dumps(RECORD | fields).encode())


async def asked_for(request: Request) -> Response:
    """Answer with the record that was asked for."""
    return record(id=int(request.url.split("/")[-3]))


def refusal(code: int, status: str | None = None, **headers: str) -> Response:
    """Answer no, as the API does."""
    said = {"message": "no"} | ({} if status is None else {"status": status})
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(code, fields, json.dumps(said).encode())


def token(value: str = "t0ken", **fields: object) -> Response:
    """Answer as the token endpoint does."""
    said = {"access_token": value, "token_type": "Bearer", "expires_in": 3600} | fields
    return Response(200, {}, json.dumps(said).encode())


async def never(request: Request) -> Response:
    """Answer in a thousand years."""
    await asyncio.sleep(1000 * 365 * 86_400)
    raise AssertionError("a thousand years have passed")


@define
class ScriptedTransport:
    """Gives the answers of its script in turn, and the last one for ever."""

    script: list[Answer]
    tokens: list[Answer] = field(factory=lambda: [token()])
    requests: list[Request] = field(factory=list)
    logins: list[Request] = field(factory=list)
    sent_at: list[float] = field(factory=list)
    closed: int = 0

    async def send(self, request: Request) -> Response:
        """Answer one request."""
        if request.url.endswith("/oauth/token"):
            self.logins.append(request)
            return await _give(self.tokens, request)
        self.requests.append(request)
        self.sent_at.append(asyncio.get_running_loop().time())
        return await _give(self.script, request)

    async def aclose(self) -> None:
        """Count the closing."""
        self.closed += 1


async def _give(script: list[Answer], request: Request) -> Response:
    answer = script.pop(0) if len(script) > 1 else script[0]
    if isinstance(answer, Exception):
        raise answer
    if isinstance(answer, Response):
        return answer
    return await answer(request)
