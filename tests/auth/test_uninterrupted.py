"""Work that runs to its end when its caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import pytest

from ringme_async.auth.uninterrupted import run_uninterrupted
from tests.auth.hosts import settle

pytestmark = pytest.mark.jumping


def now() -> float:
    return asyncio.get_running_loop().time()


def started(work: Coroutine[object, object, None]) -> asyncio.Task[None]:
    return asyncio.create_task(run_uninterrupted(work, name="work"))


async def test_a_cancellation_is_raised_after_the_work_has_ended() -> None:
    waiting = started(asyncio.sleep(5))
    await asyncio.sleep(1)
    waiting.cancel("enough")
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert now() == 5.0
    assert waiting.cancelled()


async def test_work_runs_for_a_minute_at_most_after_a_cancellation() -> None:
    waiting = started(asyncio.sleep(1e6))
    await asyncio.sleep(1)
    for _ in range(10):
        waiting.cancel()
        await asyncio.sleep(1)
    await asyncio.wait([waiting])
    assert now() == 61.0


async def test_an_error_of_the_work_is_raised() -> None:
    async def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await started(work())


async def test_an_error_of_the_work_after_a_cancellation_raises_the_cancellation() -> None:
    async def work() -> None:
        await asyncio.sleep(1)
        raise ZeroDivisionError

    waiting = started(work())
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_cancellation_raised_by_the_work_is_raised() -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await started(work())


async def test_time_outs_in_the_work_still_work() -> None:
    ended: list[float] = []

    async def work() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await asyncio.sleep(100)
        ended.append(now())

    waiting = started(work())
    await settle()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert ended == [3.0]


async def test_a_cancellation_of_all_tasks_does_not_reach_the_work() -> None:
    waiting = started(asyncio.sleep(5))
    await settle()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.wait([waiting])
    assert now() == 5.0
