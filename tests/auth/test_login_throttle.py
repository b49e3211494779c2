"""Logins to one host: evenly spaced, few at once, in order, and nobody's place is lost."""

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
def test_a_rate_that_is_no_number_above_0_is_refused(per_second: object) -> None:
    with pytest.raises(InvalidRequest, match="per_second"):
        LoginLimit(per_second=per_second)  # type: ignore[arg-type]


@pytest.mark.parametrize("concurrent", [0, -1, 1.5, True, "6", None])
def test_a_concurrency_that_is_no_whole_number_from_1_up_is_refused(concurrent: object) -> None:
    with pytest.raises(InvalidRequest, match="concurrent"):
        LoginLimit(concurrent=concurrent)  # type: ignore[arg-type]


def test_the_defaults_stay_below_what_the_server_takes() -> None:
    assert LoginLimit() == LoginLimit(per_second=18, concurrent=6)


def let_pass(seconds: float) -> None:
    """Do what a callback does that blocks the loop: time passes, and nothing runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, JumpingLoop)
    loop._jumping.now += seconds


class Visitors:
    """Goes through a gate and notes when, who and how many at once."""

    def __init__(self, throttle: LoginThrottle, *, stay: float = 0.0) -> None:
        self.throttle = throttle
        self.stay = stay
        self.starts: list[float] = []
        self.order: list[object] = []
        self.inside = 0
        self.peak = 0

    async def visit(self, who: object = None, *, stay: float | None = None) -> None:
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
async def test_starts_are_evenly_spaced_from_the_first_on() -> None:
    visitors = Visitors(LoginThrottle(LoginLimit(per_second=4, concurrent=100)))
    await asyncio.gather(*(visitors.visit() for _ in range(6)))
    assert visitors.starts == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0, 1.25])


@jumping
async def test_no_more_than_the_stated_number_are_inside_at_once() -> None:
    visitors = Visitors(LoginThrottle(LoginLimit(per_second=1000, concurrent=3)), stay=1.0)
    await asyncio.gather(*(visitors.visit() for _ in range(9)))
    assert visitors.peak == 3
    assert now() == pytest.approx(3.0, abs=0.1)


@jumping
async def test_those_who_wait_go_in_the_order_they_came() -> None:
    visitors = Visitors(LoginThrottle(LoginLimit(per_second=10, concurrent=1)), stay=0.3)
    await asyncio.gather(*(visitors.visit(number) for number in range(20)))
    assert visitors.order == list(range(20))


@jumping
async def test_a_late_comer_does_not_overtake_those_who_wait() -> None:
    visitors = Visitors(LoginThrottle(LoginLimit(per_second=10, concurrent=1)), stay=0.3)
    first = [asyncio.create_task(visitors.visit(number)) for number in range(3)]
    await asyncio.sleep(0.3)
    # The first one leaves in this very step, and the second one has not come in yet.
    await asyncio.gather(*first, visitors.visit("late"))
    assert visitors.order == [0, 1, 2, "late"]


@jumping
async def test_after_a_rest_the_next_one_need_not_wait() -> None:
    visitors = Visitors(LoginThrottle(LoginLimit(per_second=2, concurrent=1)))
    await visitors.visit()
    await asyncio.sleep(10)
    await visitors.visit()
    assert visitors.starts == [0.0, 10.0]


@jumping
async def test_a_rest_saves_nothing_up_for_a_burst() -> None:
    visitors = Visitors(LoginThrottle(LoginLimit(per_second=18, concurrent=100)))
    await asyncio.sleep(3600)
    await asyncio.gather(*(visitors.visit() for _ in range(60)))
    assert most_in_a_second(visitors.starts) <= 19


@jumping
async def test_who_is_cancelled_in_the_queue_delays_nobody() -> None:
    visitors = Visitors(LoginThrottle(LoginLimit(per_second=10, concurrent=100)))
    tasks = [asyncio.create_task(visitors.visit(number)) for number in range(5)]
    await settle()
    tasks[1].cancel()
    tasks[3].cancel()
    await asyncio.wait(tasks)
    assert visitors.order == [0, 2, 4]
    assert visitors.starts == pytest.approx([0.0, 0.1, 0.2])


@jumping
async def test_who_is_cancelled_between_call_and_start_hands_the_turn_on_at_once() -> None:
    throttle = LoginThrottle(LoginLimit(per_second=10, concurrent=100))
    visitors = Visitors(throttle)
    tasks = [asyncio.create_task(visitors.visit(number)) for number in range(3)]
    await settle()
    # This timer fires right after the gate's own, which has called the second one by then.
    asyncio.get_running_loop().call_at(0.1, tasks[1].cancel)
    await asyncio.wait(tasks)
    assert tasks[1].cancelled()
    assert visitors.order == [0, 2]
    assert visitors.starts == pytest.approx([0.0, 0.1])
    assert throttle.is_idle(now() + 1)


@jumping
async def test_who_is_cancelled_in_the_step_in_which_a_place_is_freed_does_not_take_it_along() -> (
    None
):
    throttle = LoginThrottle(LoginLimit(per_second=1000, concurrent=1))
    visitors = Visitors(throttle)
    leave = asyncio.Event()

    async def hold() -> None:
        async with throttle:
            await leave.wait()

    holder = asyncio.create_task(hold())
    await asyncio.sleep(1)
    tasks = [asyncio.create_task(visitors.visit(number)) for number in range(2)]
    await settle()
    tasks[0].cancel()
    leave.set()
    await asyncio.wait([holder, *tasks])
    assert visitors.order == [1]


@jumping
@pytest.mark.parametrize("others", [0, 1])
async def test_who_is_cancelled_in_the_step_of_the_call_but_before_it_is_passed_over(
    others: int,
) -> None:
    throttle = LoginThrottle(LoginLimit(per_second=10, concurrent=100))
    visitors = Visitors(throttle)
    await visitors.visit("first")
    tasks: list[asyncio.Task[None]] = []

    def cancel_first() -> None:
        tasks[0].cancel()

    # In one step with the gate's own timer, and before it, since it was set first.
    asyncio.get_running_loop().call_at(0.1, cancel_first)
    tasks += [asyncio.create_task(visitors.visit(number)) for number in range(1 + others)]
    await asyncio.wait(tasks)
    assert visitors.order == ["first", 1][: 1 + others]
    assert visitors.starts == pytest.approx([0.0, 0.1][: 1 + others])
    assert throttle.is_idle(now() + 1)


@jumping
async def test_when_all_who_wait_are_cancelled_the_gate_opens_for_the_next() -> None:
    throttle = LoginThrottle(LoginLimit(per_second=10, concurrent=1))
    visitors = Visitors(throttle)
    tasks = [asyncio.create_task(visitors.visit(number)) for number in range(4)]
    await settle()
    for task in tasks[1:]:
        task.cancel()
    await asyncio.wait(tasks)
    await asyncio.sleep(1)
    assert throttle.is_idle(now())
    await visitors.visit("next")
    assert visitors.order == [0, "next"]


@jumping
async def test_an_error_inside_frees_the_place() -> None:
    throttle = LoginThrottle(LoginLimit(per_second=1000, concurrent=1))
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with throttle:
                raise ZeroDivisionError
    assert throttle.is_idle(now() + 1)


@jumping
async def test_the_interval_counts_from_the_real_start_even_if_the_loop_is_late() -> None:
    throttle = LoginThrottle(LoginLimit(per_second=20, concurrent=100))
    visitors = Visitors(throttle)
    tasks = [asyncio.create_task(visitors.visit()) for _ in range(4)]
    await settle()
    loop = asyncio.get_running_loop()
    # Two intervals of blocked loop, after the second one was called and before it starts.
    loop.call_at(0.05, let_pass, 0.1)
    await asyncio.gather(*tasks)
    assert visitors.starts == pytest.approx([0.0, 0.15, 0.2, 0.25])


@jumping
async def test_a_gate_where_somebody_waits_is_not_idle_although_the_loop_is_late() -> None:
    throttle = LoginThrottle(LoginLimit(per_second=10, concurrent=1))
    visitors = Visitors(throttle)
    await visitors.visit()
    waiting = asyncio.create_task(visitors.visit())
    await settle()

    let_pass(0.2)

    assert not throttle.is_idle(now())
    await waiting


@jumping
async def test_who_comes_between_the_call_and_the_start_of_another_does_not_overtake_it() -> None:
    visitors = Visitors(LoginThrottle(LoginLimit(per_second=10, concurrent=100)))
    loop = asyncio.get_running_loop()
    come = asyncio.Event()

    async def late() -> None:
        await come.wait()
        await visitors.visit("late")

    coming = asyncio.create_task(late())
    await settle()
    # Set before the gate's own timer, so that the late one runs right after the other is called.
    loop.call_at(0.1, come.set)
    await asyncio.gather(visitors.visit(0), visitors.visit(1), coming)

    assert visitors.order == [0, 1, "late"]
    assert visitors.starts == pytest.approx([0.0, 0.1, 0.2])


@jumping
async def test_a_gate_is_idle_from_the_moment_on_in_which_the_next_one_may_pass() -> None:
    throttle = LoginThrottle(LoginLimit(per_second=10))
    await Visitors(throttle).visit()

    assert not throttle.is_idle(0.0999)
    assert throttle.is_idle(0.1)


@jumping
async def test_a_gate_where_nobody_waits_sets_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[float] = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_at", lambda when, *_: timers.append(when))

    async with LoginThrottle(LoginLimit(per_second=10)):
        pass

    assert timers == []


plans = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.3, 1.0]),  # pause before the next comes
        st.sampled_from([0.0, 0.02, 0.2, 1.5]),  # stay inside
        st.sampled_from([None, None, None, 0.0, 0.03, 0.055, 0.5]),  # cancelled after
    ),
    min_size=1,
    max_size=70,
)


@settings(max_examples=60, deadline=None)
@given(plans, st.sampled_from([1.0, 7.3, 18.0]), st.integers(1, 7))
def test_whoever_comes_stays_and_is_cancelled_the_limit_is_kept_and_no_place_lost(
    plan: list[tuple[float, float, float | None]], per_second: float, concurrent: int
) -> None:
    async def main() -> None:
        throttle = LoginThrottle(LoginLimit(per_second=per_second, concurrent=concurrent))
        visitors = Visitors(throttle)
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[None]] = []
        for number, (pause, stay, cancelled) in enumerate(plan):
            await asyncio.sleep(pause)
            task = asyncio.create_task(visitors.visit(number, stay=stay))
            tasks.append(task)
            if cancelled is not None:
                loop.call_later(cancelled, task.cancel)
        await asyncio.wait(tasks)
        through = [number for number, task in enumerate(tasks) if not task.cancelled()]
        assert set(through) <= set(visitors.order)
        assert visitors.order == sorted(visitors.order)  # type: ignore[type-var]
        assert visitors.peak <= concurrent
        assert most_in_a_second(visitors.starts) <= per_second + 1
        assert throttle.is_idle(now() + 2)

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(main())


@jumping
async def test_gates_that_nobody_uses_are_forgotten() -> None:
    throttles = LoginThrottles(LoginLimit())
    for number in range(1_000):
        async with throttles.of(f"https://host-{number}.example"):
            pass
        await asyncio.sleep(1)
    assert len(throttles) <= 65


@jumping
async def test_gates_are_looked_through_again_when_they_have_doubled() -> None:
    throttles = LoginThrottles(LoginLimit())
    async with AsyncExitStack() as busy:
        for number in range(65):
            await busy.enter_async_context(throttles.of(f"https://busy-{number}.example"))
    await asyncio.sleep(1)
    # 64 of them were there when the last one came.
    for number in range(128 - 65):
        throttles.of(f"https://host-{number}.example")
    assert len(throttles) == 128
    throttles.of("https://one-more.example")
    assert len(throttles) == 1


@jumping
async def test_a_gate_in_use_is_never_forgotten() -> None:
    throttles = LoginThrottles(LoginLimit(concurrent=1))
    busy = throttles.of("https://busy.example")
    async with busy:
        for number in range(500):
            async with throttles.of(f"https://host-{number}.example"):
                await asyncio.sleep(1)
        assert throttles.of("https://busy.example") is busy


@jumping
async def test_a_gate_that_was_entered_a_moment_ago_is_not_forgotten() -> None:
    throttles = LoginThrottles(LoginLimit())
    recent: list[LoginThrottle] = []
    for number in range(200):
        recent.append(throttles.of(f"https://host-{number}.example"))
        async with recent[-1]:
            pass
    assert throttles.of("https://one-more.example")
    assert [throttles.of(f"https://host-{number}.example") for number in range(200)] == recent
