"""How many elements a run pulls while none of the pulled ones can start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ringme_async.bulk import BulkRun
from tests.bulk.scripted_job import ScriptedJob, World, counting, itself, now, scripted

pytestmark = pytest.mark.jumping

MANY = 5_000
STUCK = 1_000.0


def of_two_hosts(world: World, name: int) -> ScriptedJob:
    """Make a job: the last one is for another host, and those before it do not come to an end."""
    if name == MANY:
        return ScriptedJob(world, name, [0.01], quota_key="other", tenant_key=name)
    return ScriptedJob(world, name, [STUCK], quota_key="dealer", tenant_key=name)


async def test_it_pulls_a_few_hundred_while_one_credential_earns_its_slots(
    world: World,
) -> None:
    pulled: list[int] = []
    make = scripted(world, lambda _: [0.01], quota_key="dealer")
    async with BulkRun(counting(pulled, range(MANY)), make, concurrency=64) as run:
        await anext(run)
        assert len(pulled) == 258
        async for outcome in run:
            if outcome.index == 1_000:
                break
        assert run.progress.in_flight == 64
        assert len(pulled) < 1_200


async def test_it_pulls_more_and_more_while_no_job_ends(world: World) -> None:
    run = BulkRun(range(MANY + 1), lambda name: of_two_hosts(world, name), host_of=itself)
    async with run:
        assert (await anext(run)).who == MANY
        assert 0.1 < now() < 1.0


async def test_the_read_ahead_doubles_each_time(world: World) -> None:
    run = BulkRun(range(MANY + 1), lambda name: of_two_hosts(world, name), host_of=itself)
    async with run:
        waiting: list[int] = []
        for _ in range(3):
            await asyncio.sleep(0.09)
            waiting.append(run.progress.waiting)

    assert waiting == [256, 512, 1_024]


async def test_it_pulls_more_of_an_async_input_too(world: World) -> None:
    async def elements() -> AsyncIterator[int]:
        for name in range(MANY + 1):
            yield name

    run = BulkRun(elements(), lambda name: of_two_hosts(world, name), host_of=itself)
    async with run:
        assert (await anext(run)).who == MANY
        assert 0.1 < now() < 1.0


async def test_it_never_pulls_more_than_max_waiting(world: World) -> None:
    pulled: list[int] = []

    def make(name: int) -> Any:
        return of_two_hosts(world, name)

    async with BulkRun(counting(pulled, range(MANY + 1)), make, max_waiting=1_000) as run:
        await asyncio.sleep(STUCK / 2)
        assert run.progress.input_blocked
        assert run.progress.waiting == 1_000
        assert len(pulled) == 1_000 + run.progress.in_flight


async def test_parked_jobs_do_not_count(world: World) -> None:
    pulled: list[int] = []
    world.parked_until["dealer"] = STUCK

    def make(name: int) -> Any:
        return of_two_hosts(world, name)

    async with BulkRun(counting(pulled, range(MANY + 1)), make, host_of=itself) as run:
        assert (await anext(run)).who == MANY
        assert now() == pytest.approx(0.01)
