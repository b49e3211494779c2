"""Deadlines: as ``asyncio.timeout_at``, with one timer of the loop for all of them."""

import asyncio
import math
from contextlib import ExitStack

import pytest

from ringme_async._internal.deadlines import Deadlines

pytestmark = pytest.mark.jumping


def now() -> float:
    return asyncio.get_running_loop().time()


async def wait_within(deadlines: Deadlines, when: float, seconds: float) -> float:
    """Sleep under a deadline and return the time; at the deadline raise TimeoutError."""
    with deadlines.until(when):
        await asyncio.sleep(seconds)
        return now()
    raise TimeoutError


async def end_of(deadlines: Deadlines, when: float, seconds: float) -> tuple[str, float]:
    try:
        return "done", await wait_within(deadlines, when, seconds)
    except TimeoutError:
        return "too late", now()


async def test_a_block_that_ends_before_its_deadline_is_left_alone() -> None:
    deadlines = Deadlines()
    began = now()
    assert await wait_within(deadlines, began + 10, 9) == pytest.approx(began + 9)


async def test_a_block_is_ended_at_its_deadline() -> None:
    deadlines = Deadlines()
    began = now()
    with pytest.raises(TimeoutError):
        await wait_within(deadlines, began + 10, 11)
    assert now() == pytest.approx(began + 10)


async def test_a_deadline_can_be_moved_while_it_runs() -> None:
    deadlines = Deadlines()
    with deadlines.until(now() + 10) as deadline:
        deadline.reschedule(math.inf)
        await asyncio.sleep(100)
        deadline.reschedule(now() + 5)
        await asyncio.sleep(10)
        raise AssertionError("the deadline did not end the block")
    assert now() == pytest.approx(105)


async def test_each_block_has_its_own_deadline_in_any_order() -> None:
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


async def test_many_blocks_share_one_timer_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    asked: list[float] = []
    call_at = loop.call_at

    def counting(when: float, *args: object, **named: object) -> asyncio.TimerHandle:
        asked.append(when)
        return call_at(when, *args, **named)  # type: ignore[arg-type]

    deadlines = Deadlines()
    began = now()
    monkeypatch.setattr(loop, "call_at", counting)
    with ExitStack() as all_of_them:
        for number in range(50):
            all_of_them.enter_context(deadlines.until(began + 10 + number))
        assert asked == [began + 10]


async def test_a_cancellation_from_outside_stays_a_cancellation() -> None:
    deadlines = Deadlines()
    task = asyncio.create_task(wait_within(deadlines, now() + 10, 60))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_at_the_deadline_is_not_lost() -> None:
    deadlines = Deadlines()
    task = asyncio.create_task(wait_within(deadlines, now() + 10, 60))
    asyncio.get_running_loop().call_at(now() + 10, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_block_with_a_long_clean_up_is_ended_only_once() -> None:
    deadlines = Deadlines()
    cleaned: list[float] = []

    async def stubborn() -> str:
        with deadlines.until(now() + 10):
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(20)
                cleaned.append(now())
        return "too late"

    began = now()
    ends = await asyncio.gather(stubborn(), end_of(deadlines, began + 15, 60))
    assert ends == ["too late", ("too late", pytest.approx(began + 15))]
    assert cleaned == [pytest.approx(began + 30)]


async def test_closing_cancels_the_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    handles: list[asyncio.TimerHandle] = []
    call_at = loop.call_at

    def keeping(when: float, *args: object) -> asyncio.TimerHandle:
        handles.append(call_at(when, *args))  # type: ignore[arg-type]
        return handles[-1]

    monkeypatch.setattr(loop, "call_at", keeping)
    deadlines = Deadlines()
    with deadlines.until(now() + 3600):
        pass
    deadlines.close()
    assert [handle.cancelled() for handle in handles] == [True]


async def test_deadlines_can_be_used_again_after_an_idle_time() -> None:
    deadlines = Deadlines()
    await wait_within(deadlines, now() + 10, 1)
    await asyncio.sleep(100)
    began = now()
    assert await end_of(deadlines, began + 5, 60) == ("too late", pytest.approx(began + 5))


async def test_an_error_at_the_deadline_is_raised_unchanged() -> None:
    deadlines = Deadlines()
    with pytest.raises(LookupError), deadlines.until(now() + 10):
        try:
            await asyncio.sleep(60)
        finally:
            raise LookupError
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_value_that_comes_despite_the_deadline_is_kept() -> None:
    async def unmoved() -> int:
        with Deadlines().until(now() + 10):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return 7
        return 0

    assert await unmoved() == 7


async def test_an_inner_deadline_ends_only_its_own_block() -> None:
    outer, inner = Deadlines(), Deadlines()
    began = now()
    told: list[float] = []
    with outer.until(began + 20):
        with inner.until(began + 10):
            await asyncio.sleep(60)
        told.append(now())
        await asyncio.sleep(60)
    told.append(now())
    assert told == [pytest.approx(began + 10), pytest.approx(began + 20)]


def test_outside_of_a_task_there_is_no_deadline() -> None:
    refusals: list[RuntimeError] = []

    async def main() -> None:
        done = asyncio.get_running_loop().create_future()

        def enter() -> None:
            try:
                with Deadlines().until(now() + 10):
                    pass
            except RuntimeError as refusal:
                refusals.append(refusal)
            done.set_result(None)

        asyncio.get_running_loop().call_soon(enter)
        await done

    asyncio.run(main())
    assert [str(refusal) for refusal in refusals] == ["a deadline is for what runs in a task"]


async def test_idle_waits_until_no_block_is_running() -> None:
    deadlines = Deadlines()
    began = now()
    ended = asyncio.gather(
        end_of(deadlines, began + 10, 3), end_of(deadlines, began + 10, 7), deadlines.idle()
    )
    await asyncio.sleep(1)
    await asyncio.gather(deadlines.idle(), deadlines.idle())
    assert now() == pytest.approx(began + 7)
    await ended
    await deadlines.idle()


async def test_end_all_ends_all_running_blocks() -> None:
    deadlines = Deadlines()
    began = now()
    asyncio.get_running_loop().call_at(began + 3, deadlines.end_all)
    ends = await asyncio.gather(
        end_of(deadlines, began + 10, 60), end_of(deadlines, began + 20, 60)
    )
    assert ends == [("too late", pytest.approx(began + 3))] * 2
    assert deadlines.is_idle
