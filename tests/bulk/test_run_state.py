"""What a run has in hand, by itself: what may be started, pulled and judged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from attrs import define, field

from ringme_async.bulk import BulkRun, CapacityLimit, Done, Failed
from ringme_async.bulk.fair_queue import FairQueue
from ringme_async.bulk.feedback import ANSWERED, evidence_of
from ringme_async.bulk.groups import QueuedJob
from ringme_async.bulk.job_source import JobSource
from ringme_async.bulk.result_queue import ResultQueue
from ringme_async.bulk.run_state import PULLS_IN_A_ROW, RunState
from ringme_async.bulk.wake_ups import WakeUps
from ringme_async.errors import ConnectError
from tests.bulk.scripted_job import World, counting, itself, scripted

pytestmark = pytest.mark.jumping


@define(eq=False)
class Shop:
    """A stock whose jobs are begun and ended by hand, at any moment."""

    world: World = field(factory=World)
    limit: CapacityLimit = field(factory=lambda: CapacityLimit(4))
    run_state: RunState[Any] = field(init=False)

    def open(self, elements: Iterable[Any], one_host: bool = False, **options: Any) -> None:
        source = JobSource[Any, Any](elements, scripted(self.world), itself)  # type: ignore[arg-type]
        host_of = (lambda _: None) if one_host else itself
        queue = FairQueue[Any](self.limit, None, host_of, heeds_quota=True)
        self.run_state = RunState(source, queue, ResultQueue[Any](ordered=False), 10_000, **options)
        source.open()

    def file(self, name: Any) -> None:
        self.run_state.add(QueuedJob(name, name, scripted(self.world)(name)))

    def start(self, now: float = 0.0) -> QueuedJob[Any]:
        queued = self.run_state.start_next(now)
        assert queued is not None
        self.begin(queued)
        return queued

    def begin(self, queued: QueuedJob[Any]) -> None:
        task: Any = asyncio.current_task()
        self.run_state.running[queued] = task

    def end(
        self, queued: QueuedJob[Any], error: ConnectError | None, started: float, now: float
    ) -> None:
        del self.run_state.running[queued]
        if error is None:
            outcome: Any = Done(queued.who, queued.index, 1, "value")
            evidence = ANSWERED
        else:
            outcome, evidence = Failed(queued.who, queued.index, 1, error), evidence_of(error)
        self.run_state.finish(queued, outcome, evidence, started, now, slow=False)

    def read(self) -> list[Any]:
        return [self.run_state.results.take() for _ in range(len(self.run_state.results.readable))]


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def test_nothing_is_started_when_there_are_fewer_slots_than_before(shop: Shop) -> None:
    shop.open([])
    for name in range(3):
        shop.file(name)
    shop.start()

    shop.limit.change(1)

    assert not shop.run_state.may_start_more()
    assert shop.run_state.start_next(0.0) is None


async def test_nothing_more_is_wanted_when_as_many_run_as_there_are_slots(shop: Shop) -> None:
    shop.open(range(10))
    shop.start()
    shop.start()
    assert shop.run_state.may_pull()

    shop.limit.change(2)

    assert not shop.run_state.wants_more()
    assert not shop.run_state.may_pull()


async def test_of_an_input_of_which_nothing_can_start_256_are_pulled_in_a_row(shop: Shop) -> None:
    pulled: list[int] = []
    shop.open(counting(pulled, range(1_000)))
    shop.world.parked_until = dict.fromkeys(range(1_000), 100.0)

    assert shop.run_state.start_next(0.0) is None

    assert len(pulled) == PULLS_IN_A_ROW == 256


async def test_what_starts_at_the_moment_when_its_host_is_back_is_judged_by_its_own_failure(
    shop: Shop,
) -> None:
    shop.limit.change(64)
    shop.open([], one_host=True, waits_out_outages=True)
    for name in range(17):
        shop.file(name)
    while (asked := shop.run_state.start_next(1.0)) is not None:
        shop.begin(asked)
        shop.end(asked, ConnectError("refused"), 0.0, 1.0)
    assert shop.run_state.suspects.hosts_down == 1
    WakeUps(shop.run_state.queue, shop.run_state.probing).wake(5.0)

    shop.end(shop.start(5.0), None, 5.0, 7.0)
    dead = shop.start(7.0)
    shop.end(shop.start(7.0), None, 7.0, 9.0)
    shop.read()
    shop.end(dead, ConnectError("refused"), 7.0, 8.0)
    shop.run_state.release_suspects(9.0)

    assert [outcome.who for outcome in shop.read()] == [dead.who]


async def test_failures_that_are_not_judged_yet_leave_the_reader_its_room(world: World) -> None:
    make = scripted(world, lambda _: [ConnectError("refused")], quota_key="dealer")
    async with BulkRun(range(100), make, concurrency=2, on_outage="wait") as run:
        await asyncio.sleep(30)

        # Too few slots do not keep the outage from being seen.
        assert run.progress.hosts_down == 1
        assert run.progress.unread == 0

        await asyncio.sleep(100)
        assert run.progress.unread == 4
        async for outcome in run:
            assert run.progress.unread + run.progress.in_flight <= 4
            assert not outcome.ok
