"""The state of a run by itself: which jobs it starts, pulls and holds."""

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
class StateBench:
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
def bench() -> StateBench:
    return StateBench()


async def test_no_job_starts_while_more_run_than_there_are_slots(bench: StateBench) -> None:
    bench.open([])
    for name in range(3):
        bench.file(name)
    bench.start()

    bench.limit.change(1)

    assert not bench.run_state.may_start_more()
    assert bench.run_state.start_next(0.0) is None


async def test_nothing_is_pulled_while_all_slots_are_in_use(bench: StateBench) -> None:
    bench.open(range(10))
    bench.start()
    bench.start()
    assert bench.run_state.may_pull()

    bench.limit.change(2)

    assert not bench.run_state.wants_more()
    assert not bench.run_state.may_pull()


async def test_256_elements_are_pulled_in_a_row_if_none_can_start(bench: StateBench) -> None:
    pulled: list[int] = []
    bench.open(counting(pulled, range(1_000)))
    bench.world.parked_until = dict.fromkeys(range(1_000), 100.0)

    assert bench.run_state.start_next(0.0) is None

    assert len(pulled) == PULLS_IN_A_ROW == 256


async def test_a_job_that_starts_when_its_host_recovers_fails_by_itself(
    bench: StateBench,
) -> None:
    bench.limit.change(64)
    bench.open([], one_host=True, waits_out_outages=True)
    for name in range(17):
        bench.file(name)
    while (asked := bench.run_state.start_next(1.0)) is not None:
        bench.begin(asked)
        bench.end(asked, ConnectError("refused"), 0.0, 1.0)
    assert bench.run_state.suspects.hosts_down == 1
    WakeUps(bench.run_state.queue, bench.run_state.probing).wake(5.0)

    bench.end(bench.start(5.0), None, 5.0, 7.0)
    dead = bench.start(7.0)
    bench.end(bench.start(7.0), None, 7.0, 9.0)
    bench.read()
    bench.end(dead, ConnectError("refused"), 7.0, 8.0)
    bench.run_state.release_suspects(9.0)

    assert [outcome.who for outcome in bench.read()] == [dead.who]


async def test_held_failures_take_none_of_the_readers_room(world: World) -> None:
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
