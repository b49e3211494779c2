"""The tasks of a run."""

from __future__ import annotations

import asyncio
import contextlib
from contextvars import ContextVar

import pytest

from ringme_async.bulk import CapacityLimit
from ringme_async.bulk.worker_pool import WorkerPool

trace: ContextVar[str] = ContextVar("trace", default="none")


class Workplace:
    """Counts those who come, and lets them work until they are let go."""

    def __init__(self) -> None:
        self.come: list[str] = []
        self.left = 0
        self.go = asyncio.Event()
        self.pool = WorkerPool(CapacityLimit(1), self.work, self.leave)

    def hire(self, slots: int) -> WorkerPool:
        self.pool = WorkerPool(CapacityLimit(slots), self.work, self.leave)
        return self.pool

    async def work(self) -> None:
        self.pool.worker_started()
        self.come.append(trace.get())
        trace.set("a worker's own")
        await self.go.wait()

    def leave(self) -> None:
        self.left += 1


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("slots", "stirred", "come"), [(2, 1, 1), (2, 2, 2), (2, 5, 2)])
async def test_there_are_no_more_workers_than_slots(slots: int, stirred: int, come: int) -> None:
    place = Workplace()
    pool = place.hire(slots)
    for _ in range(stirred):
        pool.wake_one()
        await settle()

    assert len(place.come) == come
    assert pool.has_idle_worker is (come < slots)

    place.go.set()
    await pool.join()
    assert place.left == come
    assert pool.is_gone


async def test_while_one_is_about_to_look_no_other_is_stirred() -> None:
    place = Workplace()
    pool = place.hire(4)
    assert pool.can_wake
    pool.wake_one()
    assert not pool.can_wake
    pool.wake_one()
    await settle()

    assert len(place.come) == 1
    assert pool.can_wake
    place.go.set()
    await pool.join()


async def test_one_that_rested_and_is_about_to_look_is_enough() -> None:
    place = Workplace()
    steps: list[str] = []

    async def work() -> None:
        pool.worker_started()
        await pool.wait_for_work()
        steps.append("back")

    pool = WorkerPool(CapacityLimit(4), work, place.leave)
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


async def test_each_task_has_the_context_in_which_the_crew_was_made_to_itself() -> None:
    place = Workplace()
    trace.set("the run's")
    pool = place.hire(4)
    trace.set("the reader's")

    pool.wake_one()
    await settle()
    pool.wake_one()
    await settle()

    assert place.come == ["the run's", "the run's"]
    place.go.set()
    await pool.join()


@pytest.mark.parametrize("error", [LookupError("broken"), asyncio.CancelledError()], ids=repr)
async def test_the_first_that_fails_stops_all_others_and_is_kept(error: BaseException) -> None:
    async def fail(wrong: BaseException) -> None:
        raise wrong

    place = Workplace()
    pool = place.hire(4)
    pool.wake_one()
    await settle()
    pool.spawn(fail(error))
    pool.spawn(fail(ValueError("too late")))
    await pool.join()

    assert type(pool.error) is type(error)
    assert pool.is_stopping
    assert pool.is_gone
    assert place.left == 3


async def test_one_that_is_stopped_has_not_failed() -> None:
    place = Workplace()
    pool = place.hire(4)
    pool.wake_one()
    await settle()

    pool.stop()
    await pool.join()
    pool.wake_one()
    await settle()

    assert pool.error is None
    assert len(place.come) == place.left == 1


async def test_one_that_rests_is_stirred_before_another_is_hired() -> None:
    place = Workplace()
    steps: list[str] = []

    async def work() -> None:
        pool.worker_started()
        steps.append("come")
        await pool.wait_for_work()
        steps.append("back")

    pool = WorkerPool(CapacityLimit(4), work, place.leave)
    pool.wake_one()
    await settle()
    pool.wake_one()
    await settle()

    assert steps == ["come", "back"]
    await pool.join()


async def test_whoever_waits_for_the_last_is_cancelled_after_that() -> None:
    async def leave_slowly() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await place.go.wait()

    place = Workplace()
    pool = place.hire(4)
    pool.spawn(leave_slowly())
    await settle()
    pool.stop()
    waiting = asyncio.ensure_future(pool.join())
    await settle()
    assert not waiting.done()

    place.go.set()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert pool.is_gone


async def test_a_cancellation_of_the_wait_for_the_last_reaches_them_again() -> None:
    steps: list[str] = []

    async def leave_slowly() -> None:
        for step in ("work", "clean up", "clean up more"):
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                steps.append(step)

    place = Workplace()
    pool = place.hire(4)
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
async def test_a_cancellation_goes_before_a_warning_that_is_an_error() -> None:
    async def hang() -> None:
        while not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await over.wait()

    over = asyncio.Event()
    place = Workplace()
    pool = place.hire(4)
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
