"""The tasks of a run."""

from __future__ import annotations

import asyncio
import contextlib
from contextvars import ContextVar

import pytest

from ringme_async.bulk import Limit
from ringme_async.bulk.worker_pool import Crew

trace: ContextVar[str] = ContextVar("trace", default="none")


class Workplace:
    """Counts those who come, and lets them work until they are let go."""

    def __init__(self) -> None:
        self.come: list[str] = []
        self.left = 0
        self.go = asyncio.Event()
        self.crew = Crew(Limit(1), self.work, self.leave)

    def hire(self, slots: int) -> Crew:
        self.crew = Crew(Limit(slots), self.work, self.leave)
        return self.crew

    async def work(self) -> None:
        self.crew.arrive()
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
    crew = place.hire(slots)
    for _ in range(stirred):
        crew.stir()
        await settle()

    assert len(place.come) == come
    assert crew.has_idle_worker is (come < slots)

    place.go.set()
    await crew.join()
    assert place.left == come
    assert crew.is_gone


async def test_while_one_is_about_to_look_no_other_is_stirred() -> None:
    place = Workplace()
    crew = place.hire(4)
    assert crew.can_stir
    crew.stir()
    assert not crew.can_stir
    crew.stir()
    await settle()

    assert len(place.come) == 1
    assert crew.can_stir
    place.go.set()
    await crew.join()


async def test_one_that_rested_and_is_about_to_look_is_enough() -> None:
    place = Workplace()
    steps: list[str] = []

    async def work() -> None:
        crew.arrive()
        await crew.rest()
        steps.append("back")

    crew = Crew(Limit(4), work, place.leave)
    crew.spawn(work())
    crew.spawn(work())
    await settle()

    crew.stir()
    crew.stir()
    await settle()
    assert steps == ["back"]
    assert crew.can_stir

    crew.stir()
    await settle()
    assert steps == ["back", "back"]
    await crew.join()


async def test_each_task_has_the_context_in_which_the_crew_was_made_to_itself() -> None:
    place = Workplace()
    trace.set("the run's")
    crew = place.hire(4)
    trace.set("the reader's")

    crew.stir()
    await settle()
    crew.stir()
    await settle()

    assert place.come == ["the run's", "the run's"]
    place.go.set()
    await crew.join()


@pytest.mark.parametrize("error", [LookupError("broken"), asyncio.CancelledError()], ids=repr)
async def test_the_first_that_fails_stops_all_others_and_is_kept(error: BaseException) -> None:
    async def fail(wrong: BaseException) -> None:
        raise wrong

    place = Workplace()
    crew = place.hire(4)
    crew.stir()
    await settle()
    crew.spawn(fail(error))
    crew.spawn(fail(ValueError("too late")))
    await crew.join()

    assert type(crew.error) is type(error)
    assert crew.is_stopping
    assert crew.is_gone
    assert place.left == 3


async def test_one_that_is_stopped_has_not_failed() -> None:
    place = Workplace()
    crew = place.hire(4)
    crew.stir()
    await settle()

    crew.stop()
    await crew.join()
    crew.stir()
    await settle()

    assert crew.error is None
    assert len(place.come) == place.left == 1


async def test_one_that_rests_is_stirred_before_another_is_hired() -> None:
    place = Workplace()
    steps: list[str] = []

    async def work() -> None:
        crew.arrive()
        steps.append("come")
        await crew.rest()
        steps.append("back")

    crew = Crew(Limit(4), work, place.leave)
    crew.stir()
    await settle()
    crew.stir()
    await settle()

    assert steps == ["come", "back"]
    await crew.join()


async def test_whoever_waits_for_the_last_is_cancelled_after_that() -> None:
    async def leave_slowly() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await place.go.wait()

    place = Workplace()
    crew = place.hire(4)
    crew.spawn(leave_slowly())
    await settle()
    crew.stop()
    waiting = asyncio.ensure_future(crew.join())
    await settle()
    assert not waiting.done()

    place.go.set()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert crew.is_gone


async def test_a_cancellation_of_the_wait_for_the_last_reaches_them_again() -> None:
    steps: list[str] = []

    async def leave_slowly() -> None:
        for step in ("work", "clean up", "clean up more"):
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                steps.append(step)

    place = Workplace()
    crew = place.hire(4)
    crew.spawn(leave_slowly())
    await settle()
    crew.stop()
    waiting = asyncio.ensure_future(crew.join())
    for _ in range(2):
        await settle()
        waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert steps == ["work", "clean up", "clean up more"]
    assert crew.is_gone


@pytest.mark.jumping
async def test_a_cancellation_goes_before_a_warning_that_is_an_error() -> None:
    async def hang() -> None:
        while not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await over.wait()

    over = asyncio.Event()
    place = Workplace()
    crew = place.hire(4)
    task = crew.spawn(hang())
    await settle()
    crew.stop()
    waiting = asyncio.ensure_future(crew.join())
    await settle()

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert crew.is_gone
    over.set()
    await task
