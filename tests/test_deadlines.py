"""Deadlines: as ``asyncio.timeout_at``, with one timer of the loop for all of them."""

import asyncio

import pytest

from ringme_async.deadlines import Deadlines

pytestmark = pytest.mark.jumping


def now() -> float:
    return asyncio.get_running_loop().time()


async def wait_within(deadlines: Deadlines, when: float, seconds: float) -> float:
    """Sleep under a deadline, and tell when that ended; a TimeoutError is the deadline's."""
    timer = deadlines.start(when)
    try:
        async with timer:
            await asyncio.sleep(seconds)
    finally:
        deadlines.stop(timer)
    return now()


async def end_of(deadlines: Deadlines, when: float, seconds: float) -> tuple[str, float]:
    try:
        return "done", await wait_within(deadlines, when, seconds)
    except TimeoutError:
        return "too late", now()


async def test_what_ends_before_its_deadline_is_left_alone() -> None:
    deadlines = Deadlines()
    began = now()
    assert await wait_within(deadlines, began + 10, 9) == pytest.approx(began + 9)


async def test_what_is_under_way_at_its_deadline_ends_with_a_timeout_error() -> None:
    deadlines = Deadlines()
    began = now()
    with pytest.raises(TimeoutError):
        await wait_within(deadlines, began + 10, 11)
    assert now() == pytest.approx(began + 10)


async def test_each_of_many_has_its_own_deadline_in_whatever_order_they_came() -> None:
    deadlines = Deadlines()
    began = now()
    ends = await asyncio.gather(
        end_of(deadlines, began + 30, 60),
        end_of(deadlines, began + 10, 60),
        end_of(deadlines, began + 20, 5),
        end_of(deadlines, began + 40, 60),
    )
    assert [(how, round(when - began, 3)) for how, when in ends] == [
        ("too late", 30),
        ("too late", 10),
        ("done", 5),
        ("too late", 40),
    ]


async def test_a_deadline_that_has_passed_already_ends_the_first_wait() -> None:
    deadlines = Deadlines()
    began = now()
    assert await end_of(deadlines, began - 1, 60) == ("too late", pytest.approx(began))


async def test_many_under_way_hold_one_timer_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    asked: list[float] = []
    call_at = loop.call_at

    def counting(when: float, *args: object, **named: object) -> asyncio.TimerHandle:
        asked.append(when)
        return call_at(when, *args, **named)  # type: ignore[arg-type]

    deadlines = Deadlines()
    began = now()
    monkeypatch.setattr(loop, "call_at", counting)
    timers = [deadlines.start(began + 10 + number) for number in range(50)]
    assert asked == [began + 10]
    for timer in timers:
        deadlines.stop(timer)


async def test_a_cancellation_from_outside_stays_one() -> None:
    deadlines = Deadlines()
    task = asyncio.create_task(wait_within(deadlines, now() + 10, 60))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_in_the_moment_of_the_deadline_is_not_lost() -> None:
    deadlines = Deadlines()
    task = asyncio.create_task(wait_within(deadlines, now() + 10, 60))
    asyncio.get_running_loop().call_at(now() + 10, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_that_takes_long_to_clean_up_is_ended_once_only() -> None:
    deadlines = Deadlines()
    cleaned: list[float] = []

    async def stubborn() -> None:
        timer = deadlines.start(now() + 10)
        try:
            async with timer:
                try:
                    await asyncio.sleep(60)
                finally:
                    await asyncio.sleep(20)
                    cleaned.append(now())
        finally:
            deadlines.stop(timer)

    began = now()
    ends = await asyncio.gather(
        stubborn(), end_of(deadlines, began + 15, 60), return_exceptions=True
    )
    assert isinstance(ends[0], TimeoutError)
    assert ends[1] == ("too late", pytest.approx(began + 15))
    assert cleaned == [pytest.approx(began + 30)]


async def test_when_closed_it_takes_its_timer_back(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    handles: list[asyncio.TimerHandle] = []
    call_at = loop.call_at

    def keeping(when: float, *args: object) -> asyncio.TimerHandle:
        handles.append(call_at(when, *args))  # type: ignore[arg-type]
        return handles[-1]

    monkeypatch.setattr(loop, "call_at", keeping)
    deadlines = Deadlines()
    deadlines.stop(deadlines.start(now() + 3600))
    deadlines.close()
    assert [handle.cancelled() for handle in handles] == [True]


async def test_it_can_be_used_again_after_it_was_idle_past_a_deadline() -> None:
    deadlines = Deadlines()
    await wait_within(deadlines, now() + 10, 1)
    await asyncio.sleep(100)
    began = now()
    assert await end_of(deadlines, began + 5, 60) == ("too late", pytest.approx(began + 5))


async def test_all_that_is_under_way_can_be_ended_at_once() -> None:
    deadlines = Deadlines()
    began = now()
    asyncio.get_running_loop().call_at(began + 3, deadlines.end_all)
    ends = await asyncio.gather(
        end_of(deadlines, began + 10, 60), end_of(deadlines, began + 20, 60)
    )
    assert ends == [("too late", pytest.approx(began + 3))] * 2
    assert deadlines.is_idle
