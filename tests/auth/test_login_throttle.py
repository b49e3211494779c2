"""Logins to one host: evenly spaced, few at once, in order, and without a lost slot."""

from __future__ import annotations

import asyncio
import math
from contextlib import AsyncExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringme_async.auth import LoginLimit
from ringme_async.auth.login_throttle import LoginThrottle, LoginThrottles
from ringme_async.errors import InvalidRequest
from tests.auth.hosts import most_in_a_second, settle
from tests.jumping_loop import JumpingLoop

jumping = pytest.mark.jumping


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("per_second", [0, -1, math.nan, math.inf, True, "18", None])
def test_a_rate_that_is_not_above_0_is_refused(per_second: object) -> None:
    with pytest.raises(InvalidRequest, match="per_second"):
        LoginLimit(per_second=per_second)  # type: ignore[arg-type]


@pytest.mark.parametrize("concurrent", [0, -1, 1.5, True, "6", None])
def test_a_concurrency_that_is_no_whole_number_above_0_is_refused(concurrent: object) -> None:
    with pytest.raises(InvalidRequest, match="concurrent"):
        LoginLimit(concurrent=concurrent)  # type: ignore[arg-type]


def test_the_defaults_stay_below_the_servers_limit() -> None:
    assert LoginLimit() == LoginLimit(per_second=18, concurrent=6)


def block_loop(seconds: float) -> None:
    """Act like a callback that blocks the loop: time passes, and nothing runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, JumpingLoop)
    loop._jumping.now += seconds


class Callers:
    """Logs in through a throttle, and records the starts, their order and the concurrency."""

    def __init__(self, throttle: LoginThrottle, *, stay: float = 0.0) -> None:
        self.throttle = throttle
        self.stay = stay
        self.starts: list[float] = []
        self.order: list[object] = []
        self.inside = 0
        self.peak = 0

    async def log_in(self, who: object = None, *, stay: float | None = None) -> None:
        async with self.throttle:
            self.starts.append(now())
            self.order.append(who)
            self.inside += 1
            self.peak = max(self.peak, self.inside)
            try:
                await asyncio.sleep(self.stay if stay is None else stay)
            finally:
                self.inside -= 1


@jumping
async def test_starts_are_evenly_spaced_from_the_first() -> None:
    callers = Callers(LoginThrottle(LoginLimit(per_second=4, concurrent=100)))
    await asyncio.gather(*(callers.log_in() for _ in range(6)))
    assert callers.starts == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0, 1.25])


@jumping
async def test_no_more_than_concurrent_logins_run_at_once() -> None:
    callers = Callers(LoginThrottle(LoginLimit(per_second=1000, concurrent=3)), stay=1.0)
    await asyncio.gather(*(callers.log_in() for _ in range(9)))
    assert callers.peak == 3
    assert now() == pytest.approx(3.0, abs=0.1)


@jumping
async def test_waiting_logins_start_in_order_of_arrival() -> None:
    callers = Callers(LoginThrottle(LoginLimit(per_second=10, concurrent=1)), stay=0.3)
    await asyncio.gather(*(callers.log_in(number) for number in range(20)))
    assert callers.order == list(range(20))


@jumping
async def test_a_new_login_does_not_overtake_waiting_logins() -> None:
    callers = Callers(LoginThrottle(LoginLimit(per_second=10, concurrent=1)), stay=0.3)
    first = [asyncio.create_task(callers.log_in(number)) for number in range(3)]
    await asyncio.sleep(0.3)
    # The first login ends in this step, and the second has not started yet.
    await asyncio.gather(*first, callers.log_in("late"))
    assert callers.order == [0, 1, 2, "late"]


@jumping
async def test_after_an_idle_interval_a_login_starts_at_once() -> None:
    callers = Callers(LoginThrottle(LoginLimit(per_second=2, concurrent=1)))
    await callers.log_in()
    await asyncio.sleep(10)
    await callers.log_in()
    assert callers.starts == [0.0, 10.0]


@jumping
async def test_idle_time_allows_no_burst() -> None:
    callers = Callers(LoginThrottle(LoginLimit(per_second=18, concurrent=100)))
    await asyncio.sleep(3600)
    await asyncio.gather(*(callers.log_in() for _ in range(60)))
    assert most_in_a_second(callers.starts) <= 19


@jumping
async def test_a_login_cancelled_in_the_queue_delays_no_other() -> None:
    callers = Callers(LoginThrottle(LoginLimit(per_second=10, concurrent=100)))
    tasks = [asyncio.create_task(callers.log_in(number)) for number in range(5)]
    await settle()
    tasks[1].cancel()
    tasks[3].cancel()
    await asyncio.wait(tasks)
    assert callers.order == [0, 2, 4]
    assert callers.starts == pytest.approx([0.0, 0.1, 0.2])


@jumping
async def test_a_login_cancelled_between_admission_and_start_admits_the_next_at_once() -> None:
    throttle = LoginThrottle(LoginLimit(per_second=10, concurrent=100))
    callers = Callers(throttle)
    tasks = [asyncio.create_task(callers.log_in(number)) for number in range(3)]
    await settle()
    # This timer fires right after the throttle's, which has then admitted the second login.
    asyncio.get_running_loop().call_at(0.1, tasks[1].cancel)
    await asyncio.wait(tasks)
    assert tasks[1].cancelled()
    assert callers.order == [0, 2]
    assert callers.starts == pytest.approx([0.0, 0.1])
    assert throttle.is_idle(now() + 1)


@jumping
async def test_a_login_cancelled_as_a_slot_is_freed_does_not_lose_the_slot() -> None:
    throttle = LoginThrottle(LoginLimit(per_second=1000, concurrent=1))
    callers = Callers(throttle)
    leave = asyncio.Event()

    async def hold() -> None:
        async with throttle:
            await leave.wait()

    holder = asyncio.create_task(hold())
    await asyncio.sleep(1)
    tasks = [asyncio.create_task(callers.log_in(number)) for number in range(2)]
    await settle()
    tasks[0].cancel()
    leave.set()
    await asyncio.wait([holder, *tasks])
    assert callers.order == [1]


@jumping
@pytest.mark.parametrize("others", [0, 1])
async def test_a_login_cancelled_just_before_its_admission_is_skipped(
    others: int,
) -> None:
    throttle = LoginThrottle(LoginLimit(per_second=10, concurrent=100))
    callers = Callers(throttle)
    await callers.log_in("first")
    tasks: list[asyncio.Task[None]] = []

    def cancel_first() -> None:
        tasks[0].cancel()

    # In one step with the throttle's timer, and before it, because it was set first.
    asyncio.get_running_loop().call_at(0.1, cancel_first)
    tasks += [asyncio.create_task(callers.log_in(number)) for number in range(1 + others)]
    await asyncio.wait(tasks)
    assert callers.order == ["first", 1][: 1 + others]
    assert callers.starts == pytest.approx([0.0, 0.1][: 1 + others])
    assert throttle.is_idle(now() + 1)


@jumping
async def test_the_throttle_admits_a_login_after_all_waiting_ones_were_cancelled() -> None:
    throttle = LoginThrottle(LoginLimit(per_second=10, concurrent=1))
    callers = Callers(throttle)
    tasks = [asyncio.create_task(callers.log_in(number)) for number in range(4)]
    await settle()
    for task in tasks[1:]:
        task.cancel()
    await asyncio.wait(tasks)
    await asyncio.sleep(1)
    assert throttle.is_idle(now())
    await callers.log_in("next")
    assert callers.order == [0, "next"]


@jumping
async def test_an_error_in_a_login_frees_its_slot() -> None:
    throttle = LoginThrottle(LoginLimit(per_second=1000, concurrent=1))
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with throttle:
                raise ZeroDivisionError
    assert throttle.is_idle(now() + 1)


@jumping
async def test_the_interval_counts_from_the_actual_start_when_the_loop_is_late() -> None:
    throttle = LoginThrottle(LoginLimit(per_second=20, concurrent=100))
    callers = Callers(throttle)
    tasks = [asyncio.create_task(callers.log_in()) for _ in range(4)]
    await settle()
    loop = asyncio.get_running_loop()
    # Blocks the loop for two intervals after the second login's admission, before its start.
    loop.call_at(0.05, block_loop, 0.1)
    await asyncio.gather(*tasks)
    assert callers.starts == pytest.approx([0.0, 0.15, 0.2, 0.25])


@jumping
async def test_a_throttle_with_a_waiting_login_is_not_idle_when_the_loop_is_late() -> None:
    throttle = LoginThrottle(LoginLimit(per_second=10, concurrent=1))
    callers = Callers(throttle)
    await callers.log_in()
    waiting = asyncio.create_task(callers.log_in())
    await settle()

    block_loop(0.2)

    assert not throttle.is_idle(now())
    await waiting


@jumping
async def test_a_login_that_arrives_before_an_admitted_one_starts_does_not_overtake_it() -> None:
    callers = Callers(LoginThrottle(LoginLimit(per_second=10, concurrent=100)))
    loop = asyncio.get_running_loop()
    come = asyncio.Event()

    async def late() -> None:
        await come.wait()
        await callers.log_in("late")

    coming = asyncio.create_task(late())
    await settle()
    # Set before the throttle's timer, so that the late login runs right after the other's admission.
    loop.call_at(0.1, come.set)
    await asyncio.gather(callers.log_in(0), callers.log_in(1), coming)

    assert callers.order == [0, 1, "late"]
    assert callers.starts == pytest.approx([0.0, 0.1, 0.2])


@jumping
async def test_a_throttle_is_idle_once_the_interval_is_over() -> None:
    throttle = LoginThrottle(LoginLimit(per_second=10))
    await Callers(throttle).log_in()

    assert not throttle.is_idle(0.0999)
    assert throttle.is_idle(0.1)


@jumping
async def test_a_throttle_without_waiting_logins_sets_no_timer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timers: list[float] = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_at", lambda when, *_: timers.append(when))

    async with LoginThrottle(LoginLimit(per_second=10)):
        pass

    assert timers == []


plans = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.3, 1.0]),  # pause before the next login
        st.sampled_from([0.0, 0.02, 0.2, 1.5]),  # duration
        st.sampled_from([None, None, None, 0.0, 0.03, 0.055, 0.5]),  # cancelled after
    ),
    min_size=1,
    max_size=70,
)


@settings(max_examples=60, deadline=None)
@given(plans, st.sampled_from([1.0, 7.3, 18.0]), st.integers(1, 7))
def test_any_arrivals_and_cancellations_keep_the_limit_and_lose_no_slot(
    plan: list[tuple[float, float, float | None]], per_second: float, concurrent: int
) -> None:
    async def main() -> None:
        throttle = LoginThrottle(LoginLimit(per_second=per_second, concurrent=concurrent))
        callers = Callers(throttle)
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[None]] = []
        for number, (pause, stay, cancelled) in enumerate(plan):
            await asyncio.sleep(pause)
            task = asyncio.create_task(callers.log_in(number, stay=stay))
            tasks.append(task)
            if cancelled is not None:
                loop.call_later(cancelled, task.cancel)
        await asyncio.wait(tasks)
        through = [number for number, task in enumerate(tasks) if not task.cancelled()]
        assert set(through) <= set(callers.order)
        assert callers.order == sorted(callers.order)  # type: ignore[type-var]
        assert callers.peak <= concurrent
        assert most_in_a_second(callers.starts) <= per_second + 1
        assert throttle.is_idle(now() + 2)

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(main())


@jumping
async def test_idle_throttles_are_removed() -> None:
    throttles = LoginThrottles(LoginLimit())
    for number in range(1_000):
        async with throttles.of(f"https://host-{number}.example"):
            pass
        await asyncio.sleep(1)
    assert len(throttles) <= 65


@jumping
async def test_throttles_are_swept_again_when_their_number_has_doubled() -> None:
    throttles = LoginThrottles(LoginLimit())
    async with AsyncExitStack() as busy:
        for number in range(65):
            await busy.enter_async_context(throttles.of(f"https://busy-{number}.example"))
    await asyncio.sleep(1)
    # The last sweep left 64 throttles.
    for number in range(128 - 65):
        throttles.of(f"https://host-{number}.example")
    assert len(throttles) == 128
    throttles.of("https://one-more.example")
    assert len(throttles) == 1


@jumping
async def test_a_throttle_in_use_is_never_removed() -> None:
    throttles = LoginThrottles(LoginLimit(concurrent=1))
    busy = throttles.of("https://busy.example")
    async with busy:
        for number in range(500):
            async with throttles.of(f"https://host-{number}.example"):
                await asyncio.sleep(1)
        assert throttles.of("https://busy.example") is busy


@jumping
async def test_a_throttle_that_was_just_used_is_not_removed() -> None:
    throttles = LoginThrottles(LoginLimit())
    recent: list[LoginThrottle] = []
    for number in range(200):
        recent.append(throttles.of(f"https://host-{number}.example"))
        async with recent[-1]:
            pass
    assert throttles.of("https://one-more.example")
    assert [throttles.of(f"https://host-{number}.example") for number in range(200)] == recent
