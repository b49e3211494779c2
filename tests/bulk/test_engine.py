"""The engine of a run: when it reports outcomes, and what they say."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ringme_async.bulk import BulkRun, Done, Failed, NotAttempted, NotBefore
from ringme_async.bulk.adaptive_limit import CapacityLimit
from ringme_async.bulk.engine import Engine
from ringme_async.bulk.fair_queue import FairQueue
from ringme_async.bulk.job_source import JobSource
from ringme_async.bulk.result_queue import ResultQueue
from ringme_async.bulk.run_state import RunState
from ringme_async.errors import InvalidRequest, ResponseLost, RingMeClosed
from tests.bulk.scripted_job import ScriptedJob, World, itself, now, scripted

pytestmark = pytest.mark.jumping


def engine_of(world: World, limit: CapacityLimit) -> Engine[Any]:
    source = JobSource[Any, Any](range(100), scripted(world), itself)
    queue = FairQueue[Any](limit, None, itself, heeds_quota=True)
    return Engine(RunState(source, queue, ResultQueue[Any](ordered=False), 10_000), None)


async def test_a_slot_that_is_added_is_used_at_once(world: World) -> None:
    limit = CapacityLimit(2)
    engine = engine_of(world, limit)
    engine.start()
    try:
        await asyncio.sleep(0.5)
        limit.change(3)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert [moment for moment, _ in world.started] == [0.0, 0.0, 0.5]
    finally:
        await engine.stop()


async def test_its_time_is_0_before_the_start(world: World) -> None:
    assert engine_of(world, CapacityLimit(2)).now() == 0.0


async def test_a_malformed_element_is_reported_before_the_next_job_has_ended(world: World) -> None:
    def make(number: int) -> ScriptedJob:
        if number == 0:
            raise InvalidRequest("0 is none")
        return scripted(world)(number)

    async with BulkRun(range(2), make, concurrency=1) as run:
        outcome = await anext(run)

        assert isinstance(outcome, Failed)
        assert now() == 0.0


async def test_a_failure_names_its_tenant_and_its_attempts(world: World) -> None:
    error = ResponseLost("cut off")

    (outcome,) = await BulkRun(["x"], scripted(world, lambda _: [NotBefore(1.0), error]))

    assert outcome == Failed("x", 0, 2, error, retries=1)


async def test_a_failure_at_the_deadline_names_its_tenant_and_its_attempts(world: World) -> None:
    make = scripted(world, lambda _: [NotBefore(1.0), 100.0])

    (outcome,) = await BulkRun(["x"], make, deadline=5)

    assert isinstance(outcome, Failed)
    assert (outcome.who, outcome.index, outcome.attempts, outcome.retries) == ("x", 0, 2, 1)


async def test_waiting_elements_say_why_when_a_job_finds_the_client_closed(world: World) -> None:
    class Closing(ScriptedJob):
        async def run(self) -> Any:
            await asyncio.sleep(1.0)
            raise RingMeClosed("closed before the call")

    report = await BulkRun(range(3), lambda n: Closing(world, n, [], tenant_key="one"))

    assert isinstance(report[0], Failed)
    assert {one.reason for one in report if isinstance(one, NotAttempted)} == {
        "closed before the call"
    }


@pytest.mark.parametrize(("tenants", "level"), [(6, 8), (7, 10), (8, 10)])
async def test_auto_adds_slots_while_seven_eighths_of_them_are_in_use(
    world: World, tenants: int, level: int
) -> None:
    class Read(ScriptedJob):
        async def run(self) -> Any:
            self.sent_at = now()
            return await super().run()

    def make(number: int) -> Read:
        # The first ones set the others apart, so that no two end at the same moment.
        seconds = 0.1 + (0.01 * number if number < tenants else 0.0)
        return Read(world, number, [seconds], tenant_key=number % tenants)

    run = BulkRun(range(1_000), make, concurrency="auto", per_tenant=1)
    report = await run

    assert isinstance(report[0], Done)
    assert run.progress.concurrency == level
