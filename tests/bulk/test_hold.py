"""A credential on hold: its jobs wait for the answers to its last free requests."""

from __future__ import annotations

import asyncio
import math

import pytest

from ringme_async.bulk import BulkRun, CapacityLimit
from ringme_async.bulk.fair_queue import FairQueue
from tests.bulk.bench import QueueBench
from tests.bulk.scripted_job import World, now, scripted

pytestmark = pytest.mark.jumping


def held(bench: QueueBench, *keys: str) -> None:
    """Put a credential on hold, with jobs that wait for it."""
    bench.world.on_hold.add(keys[0])
    bench.add(*keys)
    assert bench.names_of_next() == []


class TestTheQueue:
    async def test_starts_others_meanwhile(self) -> None:
        bench = QueueBench(8)
        bench.world.on_hold.add("a1")
        bench.add("a1", "a1", "a2", "b1")

        assert bench.names_of_next() == ["a2", "b1"]
        assert (bench.queue.held, bench.queue.waiting_for_quota) == (2, 2)
        assert (bench.queue.parked, bench.queue.next_wake) == (0, math.inf)

    async def test_does_not_start_a_new_job_of_it(self) -> None:
        bench = QueueBench(8)
        held(bench, "a1")

        assert not bench.queue.start_or_add(bench.queued("a1"), 0.0)
        assert len(bench.world.listeners) == 1

    async def test_goes_on_as_soon_as_a_request_is_free(self) -> None:
        bench = QueueBench(8)
        held(bench, "a1", "a1")
        woken: list[bool] = []
        bench.queue.call_on_free(lambda: woken.append(bench.queue.is_ready))

        bench.world.set_free("a1")

        assert woken == [True]
        assert bench.queue.waiting_for_quota == 0
        assert bench.names_of_next() == ["a1", "a1"]

    async def test_ends_without_a_listener(self) -> None:
        bench = QueueBench(8)
        held(bench, "a1")

        bench.world.set_free("a1")

        assert bench.names_of_next() == ["a1"]

    async def test_ends_when_its_jobs_are_flushed(self) -> None:
        bench = QueueBench(8)
        held(bench, "a1", "a1")

        assert len(bench.queue.flush()) == 2
        assert bench.world.listeners == []
        assert bench.queue.waiting_for_quota == 0

    async def test_holds_jobs_that_a_used_up_quota_would_not_park(self) -> None:
        bench = QueueBench(8)
        bench.queue = FairQueue[str](CapacityLimit(8), 8, str, heeds_quota=False)
        held(bench, "a1")
        bench.world.set_free("a1")
        bench.world.parked_until["a1"] = 1000.0

        assert bench.names_of_next() == ["a1"]


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
        # A tenth of a second passes before the run reads past the hold.
        assert now() == pytest.approx(153.1)
        assert (progress.in_flight, progress.waiting, progress.waiting_for_quota) == (0, 1, 1)
        assert progress.held_by == "quota"

    async def test_stops_listening_when_it_is_left(self, world: World) -> None:
        world.on_hold.add("busy")
        async with BulkRun(["busy", "a"], scripted(world)) as run:
            await anext(run)
            assert len(world.listeners) == 1

        assert world.listeners == []

    async def test_ends_waiting_jobs_at_its_deadline(self, world: World) -> None:
        world.on_hold.add("busy")

        report = await BulkRun(["busy", "busy"], scripted(world), deadline=10)

        assert now() == pytest.approx(10.0)
        assert report.counts == {"done": 0, "not_attempted": 2}
        assert world.listeners == []
