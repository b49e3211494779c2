"""Large runs: flat memory, flat cost, and no request too many."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from typing import Any

import pytest
from attrs import define

from ringme_async import BearerToken, InMemoryTransport, Request, Response, RingMe
from tests.bulk.scripted_job import now
from tests.scale import full_scale
from tests.scripted import record

pytestmark = pytest.mark.jumping


@define(eq=False)
class Counted:
    """A server with an hourly ceiling, and no more to it."""

    ceiling: int
    hour: int = -1
    left: int = 0
    served: int = 0
    refused: int = 0

    async def __call__(self, request: Request) -> Response:
        await asyncio.sleep(0.02)
        hour, passed = divmod(now(), 3600.0)
        if hour != self.hour:
            self.hour, self.left = int(hour), self.ceiling
        if not self.left:
            self.refused += 1
            return Response(429, self.headers(passed), b'{"status": "rate_limit_exceeded"}')
        self.left -= 1
        self.served += 1
        client_id = int(request.url.split("/")[-3])
        return Response(200, self.headers(passed), record(id=client_id).body)

    def headers(self, passed: float) -> dict[str, str]:
        return {
            "content-type": "application/json",
            "x-ratelimit-limit": str(self.ceiling),
            "x-ratelimit-remaining": str(self.left),
            "x-ratelimit-reset": str(int(3600 - passed)),
        }


def dealing(server: Counted) -> RingMe:
    transport = InMemoryTransport(server)
    return RingMe("https://a.example", auth=BearerToken("t"), transport=transport)


async def sizes_of(run: Any, *, looks: int, of: int) -> list[int]:
    """Read a run to its end, and give what its memory was at so many moments on the way."""
    sizes: list[int] = []
    read = 0
    async for _ in run:
        read += 1
        if read % (of // looks) == 0:
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    assert read == of
    return sizes


async def test_a_million_ids_of_a_used_up_credential_take_no_memory_and_meet_no_refusal() -> None:
    ids = full_scale(1_000_000, scaled=40_000)
    server = Counted(1_000)
    async with dealing(server) as ringme:
        tracemalloc.start()
        try:
            # What is left at the deadline is still pulled, and has its outcome.
            async with ringme.clients.get_many(
                (number for number in range(1, ids + 1)), deadline=3 * 3600
            ) as run:
                sizes = await sizes_of(run, looks=20, of=ids)
        finally:
            tracemalloc.stop()

    assert server.refused == 0
    assert server.served == 3 * 1_000
    assert run.report.counts == {"done": 3_000, "not_attempted": ids - 3_000}
    assert max(sizes[10:]) - max(sizes[:10]) < 500_000


async def test_a_day_of_a_hundred_thousand_tenants_takes_seconds() -> None:
    tenants = full_scale(100_000, scaled=10_000)
    server = Counted(tenants // 24)
    async with dealing(server) as ringme, ringme.clients.get_many(range(1, tenants + 1)) as run:
        async for outcome in run:
            assert outcome.ok

    assert server.refused == 0
    assert server.served == tenants
    assert 23 * 3600 < now() < 25 * 3600
