"""``concurrency="auto"``: where it settles at a simulated server, and when it backs off."""

from __future__ import annotations

import asyncio
import random
from itertools import count
from typing import Any

import pytest
from attrs import define, field

from ringme_async.bulk import BulkRun, NotBefore
from ringme_async.errors import (
    AccessDenied,
    DeadlineExceeded,
    InvalidRequest,
    RingMeError,
    ServerError,
)
from tests.bulk.scripted_job import ScriptedJob, World, now

pytestmark = pytest.mark.jumping


@define(eq=False)
class Server:
    """Does its best with so many requests at once; beyond that each waits for the others.

    Args:
        best: How many requests it handles at once without their waiting for each other.
        cost: What one more costs all: 1 keeps the throughput, 2 loses by it.
    """

    best: int
    cost: int = 1
    latency: float = 0.1
    fails: float = 0.0
    spread: float = 0.5
    chance: random.Random = field(factory=lambda: random.Random(1))
    in_flight: int = 0
    answered: int = 0

    async def answer(self) -> None:
        self.in_flight += 1
        try:
            load = max(1.0, self.in_flight / self.best)
            luck = self.chance.uniform(1 - self.spread, 1 + self.spread)
            await asyncio.sleep(self.latency * load**self.cost * luck)
        finally:
            self.in_flight -= 1
        if self.chance.random() < self.fails:
            raise ServerError("overloaded")
        self.answered += 1


@define(eq=False)
class Read:
    """One request, after a login or a wait for its quota if there is one."""

    server: Server
    quota_key: Any
    tenant_key: Any
    login: float = 0.0
    attempts: int = 0
    retries: int = 0
    waiting_for_login: bool = False
    sent_at: float | None = None

    def not_before(self) -> float | None:
        return None

    async def run(self) -> Any | NotBefore:
        if self.login:
            self.waiting_for_login = True
            await asyncio.sleep(self.login)
            self.waiting_for_login = False
        self.attempts += 1
        self.sent_at = now()
        await self.server.answer()

    def abandon(self, reason: str) -> RingMeError:
        return DeadlineExceeded("cut short")


@define(eq=False)
class Watch:
    """A run on a server, and the levels that it takes."""

    server: Server
    run: BulkRun[Any]
    levels: list[int] = field(factory=list)

    @classmethod
    def over(cls, server: Server, elements: Any = None, **options: Any) -> Watch:
        login = options.pop("login", 0.0)

        def make(number: int) -> Read:
            return Read(server, "dealer", number, login)

        items = count() if elements is None else elements
        return cls(server, BulkRun(items, make, concurrency="auto", **options))

    async def until(self, moment: float) -> list[int]:
        """Read on, and give the levels that it had meanwhile."""
        self.levels.clear()
        while now() < moment:
            await anext(self.run)
            self.levels.append(self.run.progress.concurrency)
        return self.levels


@pytest.mark.parametrize("cost", [1, 2], ids=["queues", "thrashes"])
@pytest.mark.parametrize("best", [10, 60])
async def test_it_settles_near_the_best_of_the_server(best: int, cost: int) -> None:
    watch = Watch.over(Server(best, cost))
    async with watch.run:
        await watch.until(12)
        before = watch.server.answered
        levels = await watch.until(27)

    assert 0.6 * best <= min(levels)
    assert max(levels) <= 1.8 * best + 2
    usual = sum(levels) / len(levels)
    assert 0.85 * best <= usual <= 1.4 * best + 1
    assert (watch.server.answered - before) / 15 >= 0.8 * best / watch.server.latency


async def test_it_takes_all_slots_at_a_server_without_a_limit() -> None:
    watch = Watch.over(Server(10_000), max_concurrency=50)
    async with watch.run:
        await watch.until(10)
        levels = await watch.until(20)

    assert set(levels) == {50}


async def test_it_starts_with_a_few_slots() -> None:
    for options, level in (({}, 8), ({"max_concurrency": 3}, 3)):
        async with Watch.over(Server(50), **options).run as run:
            assert run.progress.concurrency == level


@pytest.mark.parametrize("failing", [0.6, 1.0])
async def test_it_backs_off_in_a_brown_out_of_failures_and_comes_back_after_it(
    failing: float,
) -> None:
    watch = Watch.over(Server(30))
    async with watch.run:
        await watch.until(10)
        watch.server.fails = failing
        await watch.until(12)
        during = list(await watch.until(30))
        watch.server.fails = 0.0
        await watch.until(42)
        after = list(await watch.until(55))

    assert max(during) <= 6
    assert sum(after) / len(after) == pytest.approx(30, rel=0.3)


async def test_it_backs_off_in_a_brown_out_of_slowness_and_comes_back_after_it() -> None:
    watch = Watch.over(Server(30))
    async with watch.run:
        await watch.until(10)
        watch.server.best, watch.server.latency = 3, 0.2
        await watch.until(40)
        during = list(await watch.until(50))
        watch.server.best, watch.server.latency = 30, 0.1
        await watch.until(65)
        after = list(await watch.until(80))

    assert sum(during) / len(during) <= 9
    assert sum(after) / len(after) == pytest.approx(30, rel=0.5)


async def test_it_gets_used_to_a_server_that_has_become_slower_for_good() -> None:
    watch = Watch.over(Server(20))
    async with watch.run:
        await watch.until(10)
        watch.server.latency = 0.3
        await watch.until(100)
        levels = await watch.until(130)

    assert sum(levels) / len(levels) == pytest.approx(20, rel=0.4)


async def test_a_few_failures_do_not_lower_it() -> None:
    watch = Watch.over(Server(10_000, fails=0.05), max_concurrency=32)
    async with watch.run:
        await watch.until(10)
        levels = await watch.until(25)

    assert sum(levels) / len(levels) >= 30


async def test_a_refusal_is_an_answer() -> None:
    class Refused(Read):
        async def run(self) -> Any | NotBefore:
            await super().run()
            raise AccessDenied("no")

    server = Server(10_000)
    run = BulkRun(
        count(),
        lambda number: Refused(server, "dealer", number),
        concurrency="auto",
        max_concurrency=64,
    )
    watch = Watch(server, run)
    async with run:
        await watch.until(20)

    assert watch.levels[-1] == 64


async def test_slots_kept_free_for_neighbours_count_as_in_use() -> None:
    class Job(ScriptedJob):
        async def run(self) -> Any:
            self.sent_at = now()
            return await super().run()

    def make(number: int) -> Job:
        host = "stalled" if number == 0 else "quick"
        script = [1e6] if number == 0 else [0.1]
        return Job(World(), number, script, quota_key=host, tenant_key=number)

    async with BulkRun(
        count(), make, concurrency="auto", max_concurrency=64, host_of=lambda key: key
    ) as run:
        async for _ in run:
            if run.progress.concurrency == 64:
                break
            assert run.progress.done < 20_000


async def test_a_job_that_sends_nothing_does_not_count() -> None:
    class Idle(Read):
        async def run(self) -> Any | NotBefore:
            await asyncio.sleep(0.1)
            raise InvalidRequest("no credentials")

    server = Server(50)
    run = BulkRun(range(1_000), lambda n: Idle(server, "dealer", n), concurrency="auto")

    assert (await run).failed == 1_000
    assert run.progress.concurrency == 8


async def test_requests_from_before_a_job_was_parked_do_not_count_again() -> None:
    class Sent(ScriptedJob):
        async def run(self) -> Any:
            self.sent_at = now()
            return await super().run()

    world = World()
    run = BulkRun(
        range(200),
        lambda n: Sent(world, n, [NotBefore(1.0), 0.1], quota_key=n, tenant_key=n),
        concurrency="auto",
        host_of=lambda key: key,
    )
    assert (await run).ok
    assert run.progress.concurrency > 8


async def test_waiting_for_a_login_is_no_latency_and_no_reason_for_more() -> None:
    def patient(number: int) -> float:
        return 5.0 if number % 2 else 0.0

    server = Server(10_000, spread=0.1)
    run = BulkRun(
        count(),
        lambda number: Read(server, "dealer", number, patient(number)),
        concurrency="auto",
        max_concurrency=64,
    )
    watch = Watch(server, run)
    async with run:
        levels = await watch.until(30)

    assert set(levels) == {8}


async def test_a_run_limited_by_its_input_gets_no_more_slots() -> None:
    async def slowly() -> Any:
        for number in count():
            await asyncio.sleep(0.05)
            yield number

    watch = Watch.over(Server(50, spread=0.1), slowly())
    async with watch.run:
        levels = await watch.until(30)

    assert set(levels) == {8}


async def test_one_tenant_gets_no_more_than_an_eighth_of_the_present_slots() -> None:
    server = Server(10_000)

    def make(number: int) -> Read:
        return Read(server, "dealer", "one")

    async with BulkRun(range(100), make, concurrency="auto") as run:
        async for _ in run:
            assert server.in_flight <= 1
