"""A server in memory that answers from a dict, with scripted failures for some tenants."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ringme_async import (
    BearerToken,
    Headers,
    InMemoryTransport,
    Request,
    Response,
    RetryPolicy,
    RingMe,
)

EXAMPLE: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "samples" / "client.example.json").read_bytes()
)


def record_of(number: int, **fields: Any) -> dict[str, Any]:
    return {**EXAMPLE, "id": number, "name": f"tenant_{number}", **fields}


class World:
    """Tenants by id; an answer for a tenant may be an error's status, or held up.

    Attributes:
        records: The answers.
        broken: Tenants that get a status instead.
        held: Tenants whose answer never comes.
        asked: How often each tenant was asked for.
        sent: The bodies of the PUTs.
        form: Gives what is stored of a value that a PUT sets: of which tenant, field, value.
        step: Called before and after each PUT is carried out, with the tenant; may raise.
    """

    def __init__(self, count: int = 0) -> None:
        self.records = {number: record_of(number) for number in range(1, count + 1)}
        self.broken: dict[int, int] = {}
        self.held: set[int] = set()
        self.asked: Counter[int] = Counter()
        self.sent: list[tuple[int, Mapping[str, Any]]] = []
        self.form: Callable[[int, str, Any], Any] = lambda _tenant, _name, value: value
        self.step: Callable[[str, int], None] = lambda _moment, _tenant: None

    async def __call__(self, request: Request) -> Response:
        number = int(request.url.split("/")[-3])
        self.asked[number] += 1
        if number in self.held:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        if number in self.broken:
            words = {"status": "access_denied", "message": "no \u043d\u0435\u0442"}
            return answer(self.broken[number], words)
        if number not in self.records:
            return answer(404, {"status": "client_not_found", "message": "no such client"})
        if request.method == "PUT":
            assert request.body is not None
            fields = json.loads(request.body)
            self.step("before", number)
            self.sent.append((number, fields))
            for name, value in fields.items():
                self.records[number][name] = self.form(number, name, value)
            self.step("after", number)
        return answer(200, self.records[number])


def answer(status: int, body: Mapping[str, Any]) -> Response:
    return Response(status, Headers({}), json.dumps(body).encode())


@asynccontextmanager
async def ringme_on(world: World) -> AsyncIterator[RingMe]:
    async with RingMe(
        "https://pbx.example.com",
        auth=BearerToken("s3cret"),
        transport=InMemoryTransport(world),
        retry=RetryPolicy(attempts=1),
    ) as ringme:
        yield ringme


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def by_tenant(path: Path) -> dict[str, dict[str, Any]]:
    lines = lines_of(path)
    found = {line["tenant"]: line for line in lines}
    assert len(found) == len(lines), "a tenant is there twice"
    return found
