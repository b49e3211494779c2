"""A run with outcomes in input order, and the room that it keeps for the next one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ringme_async.bulk import BulkRun, NotBefore
from tests.bulk.scripted_job import ScriptedJob, World, itself, names_of, scripted

pytestmark = pytest.mark.jumping


async def come(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def test_one_slot_has_two_outcomes_ready_for_a_slow_reader(
    world: World,
) -> None:
    async with BulkRun(range(10), scripted(world), concurrency=1, ordered=True) as run:
        await asyncio.sleep(50)

        assert run.progress.unread == 2
        assert len(world.started) == 2


async def test_the_last_room_is_kept_for_the_next_outcome_in_order(world: World) -> None:
    def make(number: int) -> ScriptedJob:
        steps: list[Any] = [NotBefore(100.0), 1.0] if number == 0 else [1.0]
        return ScriptedJob(world, number, steps, quota_key=number, tenant_key=number)

    run = BulkRun(range(20), make, concurrency=2, ordered=True, host_of=itself)
    async with run:
        await asyncio.sleep(50)
        assert run.progress.unread == 3
        assert [outcome.index async for outcome in run] == list(range(20))


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_next_job_in_order_is_found_among_waiting_jobs(
    world: World, is_async: bool
) -> None:
    world.parked_until[0] = 100.0
    elements = come(20) if is_async else range(20)
    run = BulkRun(elements, scripted(world), concurrency=2, ordered=True, host_of=itself)

    async with run:
        await asyncio.sleep(50)
        assert run.progress.unread == 3
        assert [outcome.index async for outcome in run] == list(range(20))


async def test_the_next_job_in_order_waits_on_if_its_quota_is_used_up_again(
    world: World,
) -> None:
    world.parked_until[0] = 100.0
    asyncio.get_running_loop().call_at(50.0, world.parked_until.update, {0: 200.0})
    run = BulkRun(range(20), scripted(world), concurrency=2, ordered=True, host_of=itself)

    assert await names_of(run) == list(range(20))
    assert min(started for started, name in world.started if name == 0) == 200.0


async def test_room_is_used_as_soon_as_it_is_made_by_reading(world: World) -> None:
    make = scripted(world, tenant_key="one", quota_key="one")
    run = BulkRun(range(10), make, concurrency=2, per_tenant=1, ordered=True)
    async with run:
        await asyncio.sleep(50.5)
        before = len(world.started)

        await anext(run)
        await asyncio.sleep(0.1)

        assert [moment for moment, _ in world.started[before:]] == [50.5]
