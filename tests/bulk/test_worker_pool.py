"""The tasks of a run."""

from __future__ import annotations

import asyncio
import contextlib
from contextvars import ContextVar

import pytest

from ringme_async.bulk import CapacityLimit
from ringme_async.bulk.worker_pool import WorkerPool

trace: ContextVar[str] = ContextVar("trace", default="none")


class PoolBench:
    """Records the workers that start, and lets them work until ``go`` is set."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.left = 0
        self.go = asyncio.Event()
        self.pool = WorkerPool(CapacityLimit(1), self.work, self.leave)

    def start_pool(self, slots: int) -> WorkerPool:
        self.pool = WorkerPool(CapacityLimit(slots), self.work, self.leave)
        return self.pool

    async def work(self) -> None:
        self.pool.worker_started()
        self.started.append(trace.get())
        trace.set("a worker's own")
        await self.go.wait()

    def leave(self) -> None:
        self.left += 1


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("slots", "woken", "started"), [(2, 1, 1), (2, 2, 2), (2, 5, 2)])
async def test_there_are_no_more_workers_than_slots(slots: int, woken: int, started: int) -> None:
    bench = PoolBench()
    pool = bench.start_pool(slots)
    for _ in range(woken):
        pool.wake_one()
        await settle()

    assert len(bench.started) == started
    assert pool.has_idle_worker is (started < slots)

    bench.go.set()
    await pool.join()
    assert bench.left == started
    assert pool.is_gone


async def test_no_second_worker_is_woken_while_one_is_about_to_look() -> None:
    bench = PoolBench()
    pool = bench.start_pool(4)
    assert pool.can_wake
    pool.wake_one()
    assert not pool.can_wake
    pool.wake_one()
    await settle()

    assert len(bench.started) == 1
    assert pool.can_wake
    bench.go.set()
    await pool.join()


async def test_an_idle_worker_that_was_woken_is_enough() -> None:
    bench = PoolBench()
    steps: list[str] = []

    async def work() -> None:
        pool.worker_started()
        await pool.wait_for_work()
        steps.append("back")

    pool = WorkerPool(CapacityLimit(4), work, bench.leave)
    pool.spawn(work())
    pool.spawn(work())
    await settle()

    pool.wake_one()
    pool.wake_one()
    await settle()
    assert steps == ["back"]
    assert pool.can_wake

    pool.wake_one()
    await settle()
    assert steps == ["back", "back"]
    await pool.join()


async def test_each_task_has_its_own_copy_of_the_pools_context() -> None:
    bench = PoolBench()
    trace.set("the run's")
    pool = bench.start_pool(4)
    trace.set("the reader's")

    pool.wake_one()
    await settle()
    pool.wake_one()
    await settle()

    assert bench.started == ["the run's", "the run's"]
    bench.go.set()
    await pool.join()


@pytest.mark.parametrize("error", [LookupError("broken"), asyncio.CancelledError()], ids=repr)
async def test_the_first_task_that_fails_stops_all_others_and_its_error_is_kept(
    error: BaseException,
) -> None:
    async def fail(wrong: BaseException) -> None:
        raise wrong

    bench = PoolBench()
    pool = bench.start_pool(4)
    pool.wake_one()
    await settle()
    pool.spawn(fail(error))
    pool.spawn(fail(ValueError("too late")))
    await pool.join()

    assert type(pool.error) is type(error)
    assert pool.is_stopping
    assert pool.is_gone
    assert bench.left == 3


async def test_a_stopped_task_has_not_failed() -> None:
    bench = PoolBench()
    pool = bench.start_pool(4)
    pool.wake_one()
    await settle()

    pool.stop()
    await pool.join()
    pool.wake_one()
    await settle()

    assert pool.error is None
    assert len(bench.started) == bench.left == 1


async def test_an_idle_worker_is_woken_before_another_is_started() -> None:
    bench = PoolBench()
    steps: list[str] = []

    async def work() -> None:
        pool.worker_started()
        steps.append("started")
        await pool.wait_for_work()
        steps.append("back")

    pool = WorkerPool(CapacityLimit(4), work, bench.leave)
    pool.wake_one()
    await settle()
    pool.wake_one()
    await settle()

    assert steps == ["started", "back"]
    await pool.join()


async def test_a_cancelled_join_raises_after_the_last_task_has_ended() -> None:
    async def leave_slowly() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await bench.go.wait()

    bench = PoolBench()
    pool = bench.start_pool(4)
    pool.spawn(leave_slowly())
    await settle()
    pool.stop()
    waiting = asyncio.ensure_future(pool.join())
    await settle()
    assert not waiting.done()

    bench.go.set()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert pool.is_gone


async def test_a_cancelled_join_cancels_the_tasks_again() -> None:
    steps: list[str] = []

    async def leave_slowly() -> None:
        for step in ("work", "clean up", "clean up more"):
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                steps.append(step)

    bench = PoolBench()
    pool = bench.start_pool(4)
    pool.spawn(leave_slowly())
    await settle()
    pool.stop()
    waiting = asyncio.ensure_future(pool.join())
    for _ in range(2):
        await settle()
        waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert steps == ["work", "clean up", "clean up more"]
    assert pool.is_gone


@pytest.mark.jumping
async def test_a_cancellation_gets_out_before_a_warning_that_is_an_error() -> None:
    async def hang() -> None:
        while not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await over.wait()

    over = asyncio.Event()
    bench = PoolBench()
    pool = bench.start_pool(4)
    task = pool.spawn(hang())
    await settle()
    pool.stop()
    waiting = asyncio.ensure_future(pool.join())
    await settle()

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert pool.is_gone
    over.set()
    await task
