"""Quota against a strict stand-in of the server: hours of traffic, under a clock that jumps."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Callable

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from ringme_async.policies.quota import Quota
from tests.jumping_loop import JumpingLoop

HOUR = 3600.0


class AnswerLost(Exception):
    """The connection broke before the answer came."""


@define
class Answer:
    status: int
    headers: dict[str, str]


@define
class Server:
    """Counts strictly by the hours of its own clock; requests and answers overtake each other."""

    ceiling: int
    latency: Callable[[], float]
    hour: float = HOUR
    began: float = 0.0
    whole: Callable[[float], int] = math.ceil
    loses: Callable[[], bool] = lambda: False
    served: Counter[int] = field(factory=Counter[int], init=False)
    refused: Counter[int] = field(factory=Counter[int], init=False)
    lost: Counter[int] = field(factory=Counter[int], init=False)
    elsewhere: Counter[int] = field(factory=Counter[int], init=False)

    async def send(self) -> Answer:
        await asyncio.sleep(self.latency())
        hour = self.the_hour()
        if self.left(hour) > 0:
            self.served[hour] += 1
            answer = Answer(200, self.headers(hour))
        else:
            self.refused[hour] += 1
            answer = Answer(429, self.headers(hour))
        loses = self.loses()
        await asyncio.sleep(self.latency())
        if loses:
            self.lost[hour] += 1
            raise AnswerLost
        return answer

    def the_hour(self) -> int:
        return int((asyncio.get_running_loop().time() + self.began) // self.hour)

    def left(self, hour: int) -> int:
        return self.ceiling - self.served[hour] - self.elsewhere[hour]

    def headers(self, hour: int) -> dict[str, str]:
        clock = asyncio.get_running_loop().time() + self.began
        return {
            "x-ratelimit-limit": str(self.ceiling),
            "x-ratelimit-remaining": str(max(0, self.left(hour))),
            "x-ratelimit-reset": str(self.whole((hour + 1) * self.hour - clock)),
        }


async def ask(quota: Quota, server: Server) -> None:
    """Get one answer of 200, as a call does that waits for its quota."""
    while True:
        while (wait := quota.exhausted_for()) is not None:
            await asyncio.sleep(wait)
        reservation = quota.try_reserve() or await quota.reserve()
        if reservation is None:
            continue
        try:
            answer = await server.send()
        except AnswerLost:
            reservation.lost()
            continue
        if answer.status == 200:
            reservation.learn(answer.headers)
            return
        reservation.refused(float(answer.headers["x-ratelimit-reset"]))


async def work(quota: Quota, server: Server, amount: int, concurrency: int) -> int:
    """Do so much work with so many hands; give how much was done."""
    left = iter(range(amount))
    done = 0

    async def hand() -> None:
        nonlocal done
        for _ in left:
            await ask(quota, server)
            done += 1

    async with asyncio.TaskGroup() as hands:
        for _ in range(concurrency):
            hands.create_task(hand())
    return done


def between(least: float, most: float, seed: object = 0) -> Callable[[], float]:
    source = random.Random(repr(seed))
    return lambda: source.uniform(least, most)


def play(server: Server, amount: int, concurrency: int) -> int:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(work(Quota(), server, amount, concurrency))


def every_full_hour_was_used_to_the_last(server: Server) -> bool:
    first, *_, last = sorted(server.served)
    return all(server.served[hour] == server.ceiling for hour in range(first + 1, last))


@pytest.mark.parametrize(
    ("concurrency", "ceiling", "amount"),
    [
        *((1, 1, 6), (1, 2, 12), (1, 10, 60), (1, 100, 300)),
        *((64, 1, 6), (64, 2, 12), (64, 10, 60), (64, 100, 400), (64, 1000, 3000)),
        *((1000, 1, 6), (1000, 2, 12), (1000, 10, 60), (1000, 100, 500), (1000, 1000, 3000)),
    ],
)
@pytest.mark.parametrize("began", [0.0, 3599.9])
def test_alone_it_is_never_refused_and_leaves_nothing_unused(
    concurrency: int, ceiling: int, amount: int, began: float
) -> None:
    server = Server(ceiling, between(0.01, 0.45, (concurrency, ceiling)), began=began)
    assert play(server, amount, concurrency) == amount
    assert server.refused.total() == 0
    assert every_full_hour_was_used_to_the_last(server)


@pytest.mark.parametrize("ceiling", [1, 2, 10, 100])
@pytest.mark.parametrize("concurrency", [64, 1000])
def test_a_crowd_that_waits_for_few_requests_changes_nothing(
    concurrency: int, ceiling: int
) -> None:
    server = Server(ceiling, between(0.01, 0.45, (concurrency, ceiling)), began=1234.5)

    async def main() -> None:
        async with asyncio.timeout(5 * HOUR):
            await work(Quota(), server, 10**9, concurrency)

    with asyncio.Runner(loop_factory=JumpingLoop) as runner, pytest.raises(TimeoutError):
        runner.run(main())
    assert server.refused.total() == 0
    assert server.served == dict.fromkeys(range(6), ceiling)


@pytest.mark.parametrize("whole", [math.floor, math.ceil, round])
@pytest.mark.parametrize("ceiling", [1, 10, 100])
def test_it_does_not_matter_how_the_server_rounds_the_seconds(
    ceiling: int, whole: Callable[[float], int]
) -> None:
    server = Server(ceiling, between(0.01, 0.3), hour=10, began=7.77, whole=whole)
    assert play(server, 4 * ceiling, 64) == 4 * ceiling
    assert server.refused.total() == 0
    assert every_full_hour_was_used_to_the_last(server)


@pytest.mark.parametrize("ceiling", [150, 300, 450])
@pytest.mark.parametrize("seed", range(3))
def test_requests_in_flight_while_the_window_turns_do_no_harm(ceiling: int, seed: int) -> None:
    server = Server(ceiling, between(0.0, 0.45, seed), hour=10)
    assert play(server, 4 * ceiling, 20) == 4 * ceiling
    assert server.refused.total() == 0


@pytest.mark.parametrize("ceiling", [4, 10, 100])
def test_one_stalled_request_does_not_stop_the_others(ceiling: int) -> None:
    source = random.Random(ceiling)
    server = Server(ceiling, lambda: 20 if source.random() < 0.05 else 0.1)
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        done = runner.run(work(Quota(), server, 3 * ceiling, 64))
    assert done == 3 * ceiling
    assert server.refused.total() == 0
    assert every_full_hour_was_used_to_the_last(server)


@pytest.mark.parametrize("ceiling", [10, 100])
def test_a_cancelled_call_keeps_no_request(ceiling: int) -> None:
    source = random.Random(ceiling)
    quota = Quota()
    server = Server(ceiling, between(0.01, 0.45))

    async def main() -> int:
        done = 0

        async def hasty() -> None:
            nonlocal done
            try:
                async with asyncio.timeout(source.uniform(0, 3 * HOUR)):
                    await ask(quota, server)
                    done += 1
            except TimeoutError:
                pass

        async with asyncio.TaskGroup() as hands:
            for _ in range(6 * ceiling):
                hands.create_task(hasty())
        return done

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        done = runner.run(main())
    assert not quota.in_use
    assert server.refused.total() == 0
    assert server.served.total() >= done > ceiling


@pytest.mark.parametrize(
    ("concurrency", "ceiling", "rate"), [(1, 100, 10), (64, 100, 1), (64, 100, 10), (64, 1000, 1)]
)
def test_with_a_shared_counter_refusals_are_few(
    concurrency: int, ceiling: int, rate: float
) -> None:
    source = random.Random(concurrency)
    server = Server(ceiling, between(0.01, 0.45))

    async def other_application() -> None:
        while True:
            await asyncio.sleep(source.expovariate(rate))
            hour = server.the_hour()
            if server.left(hour) > 0:
                server.elsewhere[hour] += 1
            else:
                await asyncio.sleep((hour + 1) * HOUR - asyncio.get_running_loop().time())

    async def main() -> int:
        other = asyncio.create_task(other_application())
        try:
            return await work(Quota(), server, 3 * ceiling, concurrency)
        finally:
            other.cancel()

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        assert runner.run(main()) == 3 * ceiling
    assert max(server.refused.values(), default=0) <= 5


Latency = Callable[[], float]


def latencies(source: random.Random) -> list[Latency]:
    return [
        lambda: source.uniform(0.0, 0.49),
        lambda: min(0.49, source.expovariate(8)),
        lambda: source.choice([0.001, 0.49]),
        lambda: 0.1,
    ]


sources = st.randoms(use_true_random=False)
small = settings(max_examples=40, deadline=None)


@small
@given(
    latency=sources.flatmap(lambda source: st.sampled_from(latencies(source))),
    ceiling=st.integers(1, 30),
    concurrency=st.integers(1, 40),
    hour=st.sampled_from([10.0, 60.0, HOUR]),
    began=st.floats(0, 10),
    whole=st.sampled_from([math.floor, math.ceil, round]),
)
def test_it_is_never_refused_at_any_latencies(
    latency: Latency,
    ceiling: int,
    concurrency: int,
    hour: float,
    began: float,
    whole: Callable[[float], int],
) -> None:
    server = Server(ceiling, latency, hour=hour, began=began, whole=whole)
    amount = 2 * ceiling + concurrency
    assert play(server, amount, concurrency) == amount
    assert server.refused.total() == 0


@small
@given(
    latency=sources.flatmap(lambda source: st.sampled_from(latencies(source))),
    ceiling=st.integers(1, 30),
    concurrency=st.integers(1, 40),
    hour=st.sampled_from([10.0, HOUR]),
    losses=st.floats(0.0, 0.5),
    source=sources,
)
def test_with_lost_answers_it_is_refused_only_after_a_whole_hour_of_losses(
    latency: Latency,
    ceiling: int,
    concurrency: int,
    hour: float,
    losses: float,
    source: random.Random,
) -> None:
    server = Server(ceiling, latency, hour=hour, loses=lambda: source.random() < losses)
    amount = ceiling + concurrency
    assert play(server, amount, concurrency) == amount
    assert all(server.lost[hour] >= ceiling for hour in server.refused)
