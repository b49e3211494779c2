"""A credential on hold: its last free requests are in flight, and its jobs wait for these."""

from __future__ import annotations

import asyncio
import math

import pytest

from ringme_async.bulk import BulkRun, CapacityLimit
from ringme_async.bulk.fair_queue import FairQueue
from tests.bulk.desk import Desk
from tests.bulk.scripted_job import World, now, scripted

pytestmark = pytest.mark.jumping


def held(desk: Desk, *keys: str) -> None:
    """Put a credential on hold, with jobs that wait for it."""
    desk.world.on_hold.add(keys[0])
    desk.add(*keys)
    assert desk.names_of_next() == []


class TestTheSchedule:
    async def test_starts_others_meanwhile(self) -> None:
        desk = Desk(8)
        desk.world.on_hold.add("a1")
        desk.add("a1", "a1", "a2", "b1")

        assert desk.names_of_next() == ["a2", "b1"]
        assert (desk.queue.held, desk.queue.waiting_for_quota) == (2, 2)
        assert (desk.queue.parked, desk.queue.next_wake) == (0, math.inf)

    async def test_does_not_start_a_new_job_of_it(self) -> None:
        desk = Desk(8)
        held(desk, "a1")

        assert not desk.queue.start_or_add(desk.queued("a1"), 0.0)
        assert len(desk.world.listeners) == 1

    async def test_goes_on_as_soon_as_a_request_is_free(self) -> None:
        desk = Desk(8)
        held(desk, "a1", "a1")
        woken: list[bool] = []
        desk.queue.call_on_free(lambda: woken.append(desk.queue.is_ready))

        desk.world.set_free("a1")

        assert woken == [True]
        assert desk.queue.waiting_for_quota == 0
        assert desk.names_of_next() == ["a1", "a1"]

    async def test_needs_nobody_to_be_told(self) -> None:
        desk = Desk(8)
        held(desk, "a1")

        desk.world.set_free("a1")

        assert desk.names_of_next() == ["a1"]

    async def test_that_is_flushed_waits_no_more(self) -> None:
        desk = Desk(8)
        held(desk, "a1", "a1")

        assert len(desk.queue.flush()) == 2
        assert desk.world.listeners == []
        assert desk.queue.waiting_for_quota == 0

    async def test_holds_jobs_that_a_used_up_quota_would_not_park(self) -> None:
        desk = Desk(8)
        desk.queue = FairQueue[str](CapacityLimit(8), 8, str, heeds_quota=False)
        held(desk, "a1")
        desk.world.set_free("a1")
        desk.world.parked_until["a1"] = 1000.0

        assert desk.names_of_next() == ["a1"]


class TestARun:
    async def test_waits_for_a_free_request_in_no_slot(self, world: World) -> None:
        world.on_hold.add("busy")
        make = scripted(world)
        async with BulkRun(["busy", "a", "b"], make, concurrency=1) as run:
            done = [(await anext(run)).who for _ in range(2)]
            await asyncio.sleep(100)
            progress = run.progress
            asyncio.get_running_loop().call_later(50, world.set_free, "busy")
            done += [outcome.who async for outcome in run]

        assert done == ["a", "b", "busy"]
        assert now() == pytest.approx(153.0)
        assert (progress.in_flight, progress.waiting, progress.waiting_for_quota) == (0, 1, 1)
        assert progress.held_by == "quota"

    async def test_that_is_left_listens_no_more(self, world: World) -> None:
        world.on_hold.add("busy")
        async with BulkRun(["busy", "a"], scripted(world)) as run:
            await anext(run)
            assert len(world.listeners) == 1

        assert world.listeners == []

    async def test_at_its_deadline_gives_up_what_waits(self, world: World) -> None:
        world.on_hold.add("busy")

        report = await BulkRun(["busy", "busy"], scripted(world), deadline=10)

        assert now() == pytest.approx(10.0)
        assert report.counts == {"done": 0, "not_attempted": 2}
        assert world.listeners == []
