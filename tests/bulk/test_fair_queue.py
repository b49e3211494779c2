"""Which job may run when: quotas, fairness, and how many elements are held."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringme_async.bulk import BulkRun, CapacityLimit, Done, Failed, NotAttempted, NotBefore
from ringme_async.bulk.fair_queue import FairQueue
from ringme_async.bulk.groups import QueuedJob
from ringme_async.errors import Busy, ResponseLost
from tests.bulk.scripted_job import ScriptedJob, World, counting, names_of, now, scripted
from tests.jumping_loop import JumpingLoop

pytestmark = pytest.mark.jumping


class TestParking:
    async def test_gives_the_slot_to_the_next_credential_and_comes_back(self, world: World) -> None:
        def make(name: str) -> ScriptedJob:
            steps: list[Any] = [NotBefore(50.0), 1.0] if name == "poor" else [1.0]
            return ScriptedJob(world, name, steps, quota_key=name, tenant_key=name)

        run = BulkRun(["poor", "rich", "richer"], make, concurrency=1)

        assert await names_of(run) == ["rich", "richer", "poor"]
        assert 51.0 <= now() < 52.0

    async def test_sends_no_request_before_the_quota_resets(self, world: World) -> None:
        world.parked_until["dealer"] = 30.0
        make = scripted(world, quota_key="dealer")

        await BulkRun(range(5), make)

        assert min(started for started, _ in world.started) >= 30.0

    async def test_wakes_before_new_input_is_pulled(self, world: World) -> None:
        def make(number: int) -> ScriptedJob:
            steps: list[Any] = [NotBefore(2.5), 1.0] if number == 0 else [1.0]
            return ScriptedJob(world, number, steps, quota_key=number, tenant_key=number)

        order = await names_of(BulkRun(range(10), make, concurrency=1))

        assert order.index(0) == 3

    async def test_spreads_credentials_that_wake_together(self, world: World) -> None:
        def make(number: int) -> ScriptedJob:
            return ScriptedJob(
                world, number, [NotBefore(60.0), 1.0], quota_key=number, tenant_key=number
            )

        await BulkRun(range(50), make, concurrency=64, host_of=lambda key: key)

        woken = sorted(started for started, _ in world.started if started >= 60.0)
        assert len(set(woken)) == 50
        assert woken[-1] - woken[0] == pytest.approx(0.049)

    async def test_starts_one_job_first_when_a_credential_wakes(self, world: World) -> None:
        def make(number: int) -> ScriptedJob:
            return ScriptedJob(world, number, [1.0], tenant_key=number)

        world.parked_until["dealer"] = 60.0
        await BulkRun(range(20), make)

        first = min(started for started, _ in world.started)
        assert [started for started, _ in world.started].count(first) == 1

    async def test_for_no_time_at_all_does_not_spin(self, world: World) -> None:
        def make(number: int) -> ScriptedJob:
            return ScriptedJob(world, number, [NotBefore(0.0), 1.0], tenant_key=number)

        report = await BulkRun([1], make)

        assert report.ok
        assert report[0].attempts == 2
        assert now() == pytest.approx(1.05)

    async def test_counts_all_jobs_that_wait_for_the_credential(self, world: World) -> None:
        def make(number: int) -> ScriptedJob:
            steps: list[Any] = [NotBefore(100.0), 1.0] if number == 6 else [1.0]
            return ScriptedJob(world, number, steps, quota_key="dealer", tenant_key=number)

        async with BulkRun(range(50), make, concurrency=4) as run:
            async for _ in run:
                progress = run.progress
                if progress.parked and not progress.in_flight:
                    break

        assert progress.waiting == 0
        assert progress.parked == progress.pulled - progress.done > 10

    async def test_of_one_credential_ends_for_that_credential_only(self, world: World) -> None:
        def make(number: int) -> ScriptedJob:
            key = "a" if number < 3 else "b"
            return ScriptedJob(world, number, [1.0], quota_key=key, tenant_key=number)

        world.parked_until = {"a": 50.0, "b": 100.0}
        async with BulkRun(range(8), make) as run:
            reader = asyncio.ensure_future(anext(run))
            await asyncio.sleep(75)
            assert run.progress.parked == 5
            await reader

    async def test_lasts_as_long_as_the_latest_answer_says(self, world: World) -> None:
        class Refused(ScriptedJob):
            async def run(self) -> Any:
                if self.attempts or self.name > 1:
                    return await super().run()
                self.attempts = 1
                await asyncio.sleep(1.0)
                return NotBefore(50.0 * (1 + self.name))

        async with BulkRun(range(5), lambda n: Refused(world, n, [1.0], tenant_key=n)) as run:
            reader = asyncio.ensure_future(anext(run))
            await asyncio.sleep(60)
            assert run.progress.parked_until == 100.0
            assert run.progress.parked == 5
            await reader

        assert min(started for started, _ in world.started) == 100.0

    async def test_does_not_happen_when_quotas_are_to_fail(self, world: World) -> None:
        world.parked_until["dealer"] = 1000.0

        report = await BulkRun(range(5), scripted(world, quota_key="dealer"), on_quota="fail")

        assert report.ok
        assert now() < 1000.0

    async def test_holds_no_more_than_max_waiting_and_says_so(self, world: World) -> None:
        world.parked_until["dealer"] = 100.0
        pulled: list[int] = []
        run = BulkRun(
            counting(pulled, range(1_000_000)),
            scripted(world, quota_key="dealer"),
            max_waiting=500,
            concurrency=4,
        )
        async with run:
            reader = asyncio.ensure_future(anext(run))
            await asyncio.sleep(50)

            assert len(pulled) == 500
            assert run.progress.input_blocked
            assert run.progress.parked == 500
            assert run.progress.held_by == "quota"
            assert run.progress.parked_until == 100.0
            await reader

    async def test_keeps_the_order_of_one_tenants_jobs(self, world: World) -> None:
        def make(number: int) -> ScriptedJob:
            steps: list[Any] = [NotBefore(now() + 20.0), 1.0] if number % 3 == 0 else [1.0]
            return ScriptedJob(world, number, steps, tenant_key="one")

        order = await names_of(BulkRun(range(10), make, per_tenant=1))

        assert order == list(range(10))

    async def test_puts_several_jobs_of_one_tenant_back_in_order(self, world: World) -> None:
        def make(number: int) -> ScriptedJob:
            steps: list[Any] = [NotBefore(now() + 20.0), 1.0] if number in {5, 6, 7} else [1.0]
            return ScriptedJob(world, number, steps, tenant_key="one")

        report = await BulkRun(range(20), make, per_tenant=8)

        assert report.ok


class TestFairness:
    async def test_no_tenant_has_more_in_flight_than_its_share(self, world: World) -> None:
        make = scripted(world, tenant_key="one", quota_key="one")

        await BulkRun(range(100), make, concurrency=64)

        assert world.peak == 8

    async def test_one_credential_earns_all_slots_within_a_few_round_trips(
        self, world: World
    ) -> None:
        make = scripted(world, quota_key="dealer")

        await BulkRun(range(2_000), make, concurrency=64)

        assert world.peak == 64
        at = Counter(started for started, _ in world.started)
        assert at[7.0] == 64
        assert now() <= 2_000 / 64 + 7

    async def test_a_stalled_tenant_holds_up_no_other_of_its_credential(self, world: World) -> None:
        def make(pair: tuple[int, int]) -> ScriptedJob:
            tenant, _ = pair
            steps: list[Any] = [30.0, 30.0] if tenant == 0 else [0.1]
            return ScriptedJob(world, pair, steps, tenant_key=tenant)

        work = [(tenant, number) for number in range(100) for tenant in range(50)]
        last = 0.0
        async with BulkRun(work, make) as run:
            async for outcome in run:
                if isinstance(outcome, Done) and outcome.value[0] != 0:
                    last = now()
                if run.progress.done == 4_900:
                    break

        assert last <= 4_900 * 0.1 / 64 * 1.2 + 1.0

    async def test_a_dead_credential_leaves_slots_to_the_others(self, world: World) -> None:
        def make(pair: tuple[str, int]) -> ScriptedJob:
            key, _ = pair
            steps: list[Any] = [ResponseLost("cut off")] if key == "dead" else [0.1]
            if key == "stalled":
                steps = [1000.0]
            return ScriptedJob(world, pair, steps, quota_key=key, tenant_key=pair)

        work = [
            (key, number) for number in range(200) for key in ("stalled", "dead", "well", "better")
        ]
        done = 0
        async with BulkRun(work, make, concurrency=16) as run:
            async for outcome in run:
                done += isinstance(outcome, Done)
                if done == 400:
                    break

        assert now() < 30

    async def test_a_stalled_host_leaves_slots_to_the_others(self, world: World) -> None:
        def make(pair: tuple[str, int]) -> ScriptedJob:
            host, _ = pair
            steps: list[Any] = [1000.0] if host == "stalled" else [0.1]
            return ScriptedJob(world, pair, steps, quota_key=pair, tenant_key=pair)

        work = [(host, number) for number in range(300) for host in ("stalled", "well")]
        done = 0
        run = BulkRun(work, make, concurrency=16, host_of=lambda key: key[0])
        async with run:
            async for outcome in run:
                done += isinstance(outcome, Done)
                if done == 300:
                    break

        assert now() < 60

    async def test_a_group_that_stalls_after_good_answers_does_not_take_the_last_slots(
        self, world: World
    ) -> None:
        def make(pair: tuple[str, int]) -> ScriptedJob:
            key, number = pair
            steps: list[Any] = [1000.0] if key == "turns bad" and number >= 100 else [0.1]
            return ScriptedJob(world, pair, steps, quota_key=key, tenant_key=pair)

        work = [("turns bad", number) for number in range(150)]
        work += [("well", number) for number in range(200)]
        done = 0
        async with BulkRun(work, make, concurrency=16) as run:
            async for outcome in run:
                done += isinstance(outcome, Done)
                if done == 300:
                    break

        assert now() < 60

    async def test_a_tenant_that_gets_slow_gets_fewer_slots(self, world: World) -> None:
        def make(pair: tuple[str, int]) -> ScriptedJob:
            tenant, number = pair
            steps: list[Any] = [20.0] if tenant == "slow" and number > 50 else [0.1]
            return ScriptedJob(world, pair, steps, tenant_key=tenant)

        work = [(tenant, n) for n in range(80) for tenant in ("slow", "a", "b", "c", "d")]
        report = await BulkRun(work, make, concurrency=32)

        assert report.ok

    async def test_a_busy_server_changes_no_allowance(self, world: World) -> None:
        make = scripted(world, lambda _: [Busy("wait")], quota_key="dealer")

        report = await BulkRun(range(50), make)

        assert report.failed == 50


class TestTheLimit:
    async def test_may_rise_and_fall_in_mid_run(self, world: World) -> None:
        limit = CapacityLimit(4)
        heard: list[str] = []
        limit.call_on_rise(lambda: heard.append("more"))

        limit.change(2)
        limit.change(8)
        limit.change(0)

        assert limit.value == 1
        assert heard == ["more"]


class TestProgress:
    async def test_says_nothing_before_the_start(self, world: World) -> None:
        run = BulkRun(range(5), scripted(world))
        progress = run.progress

        assert (progress.total, progress.pulled, progress.per_second, progress.eta) == (
            5,
            0,
            0.0,
            None,
        )
        await run

    async def test_adds_up_at_every_step(self, world: World) -> None:
        def steps(number: int) -> list[Any]:
            return [[1.0], [ResponseLost("x")], [NotBefore(now() + 5.0), 2.0]][number % 3]

        def make(number: int) -> ScriptedJob:
            return ScriptedJob(world, number, steps(number), quota_key=number, tenant_key=number)

        async with BulkRun(range(200), make, concurrency=8) as run:
            async for _ in run:
                look = run.progress
                assert look.pulled == look.finished + look.parked + look.waiting + look.in_flight

        end = run.progress
        assert (end.finished, end.eta, end.retried) == (200, 0.0, 66)

    async def test_estimates_the_time_left(self, world: World) -> None:
        make = scripted(world, quota_key="dealer")
        async with BulkRun(range(6_400), make, concurrency=64) as run:
            async for _ in run:
                if run.progress.done >= 3_200:
                    break

            assert run.progress.per_second == pytest.approx(64, rel=0.3)
            assert run.progress.eta == pytest.approx(50, rel=0.3)

    async def test_estimates_no_end_before_a_parked_element_goes_on(self, world: World) -> None:
        world.parked_until["dealer"] = 500.0
        run = BulkRun(range(10), scripted(world, quota_key="dealer"))
        async with run:
            reader = asyncio.ensure_future(anext(run))
            await asyncio.sleep(100)

            assert run.progress.eta == pytest.approx(400)
            await reader

    async def test_knows_no_total_of_a_generator(self, world: World) -> None:
        async with BulkRun((n for n in range(5)), scripted(world)) as run:
            await anext(run)

            assert run.progress.total is None
            assert run.progress.eta is None

    async def test_names_the_consumer_as_the_limit(self, world: World) -> None:
        make = scripted(world, quota_key="dealer")
        async with BulkRun(range(1_000), make, concurrency=4) as run:
            await asyncio.sleep(100)

            assert run.progress.unread <= 8
            assert run.progress.held_by == "consumer"

    async def test_names_the_slots_as_the_limit(self, world: World) -> None:
        async with BulkRun(range(100), scripted(world), concurrency=2) as run:
            await anext(run)

            assert run.progress.held_by == "concurrency"

    async def test_names_the_logins_as_the_limit(self, world: World) -> None:
        make = scripted(world, waiting_for_login=True)
        async with BulkRun(range(100), make, concurrency=2) as run:
            await anext(run)

            assert run.progress.waiting_for_login == 2
            assert run.progress.held_by == "logins"

    async def test_names_a_tenants_allowance_as_the_limit(self, world: World) -> None:
        make = scripted(world, tenant_key="one", quota_key="one")
        async with BulkRun(range(1_000), make, concurrency=64) as run:
            for _ in range(500):
                await anext(run)
                assert run.progress.held_by == "fairness"

    async def test_names_fairness_as_the_limit_while_slots_are_still_earned(
        self, world: World
    ) -> None:
        make = scripted(world, quota_key="dealer")
        async with BulkRun(range(1_000), make, concurrency=64) as run:
            await anext(run)
            assert run.progress.held_by == "fairness"
            for _ in range(300):
                await anext(run)
            assert run.progress.held_by == "concurrency"

    async def test_names_the_input_as_the_limit(self, world: World) -> None:
        async with BulkRun([1], scripted(world)) as run:
            await asyncio.sleep(0)
            assert run.progress.held_by == "input"
            await anext(run)


async def test_the_next_job_in_order_does_not_start_out_of_turn(world: World) -> None:
    queue = FairQueue[Any](CapacityLimit(8), 1, lambda key: key, heeds_quota=False)
    first, second = (
        QueuedJob(n, n, ScriptedJob(world, n, [1.0], tenant_key="one")) for n in range(2)
    )
    queue.add(first)
    queue.add(second)
    queue.add(QueuedJob(2, 2, ScriptedJob(world, 2, [1.0], tenant_key="two")))

    assert queue.start(first, 0.0)
    assert not queue.start(second, 0.0)
    assert queue.held == 2


@st.composite
def scripts(draw: st.DrawFn) -> list[tuple[str, str, list[Any]]]:
    keys = st.sampled_from(["a", "b", "c"])
    step = st.one_of(
        st.floats(0.01, 20.0),
        st.floats(0.1, 100.0).map(NotBefore),
        st.just(ResponseLost("cut off")),
    )
    ending = st.one_of(st.floats(0.01, 20.0), st.just(ResponseLost("cut off")))
    one = st.tuples(
        keys,
        st.sampled_from(["x", "y", "z"]),
        st.tuples(st.lists(step, max_size=2), ending).map(lambda pair: [*pair[0], pair[1]]),
    )
    return draw(st.lists(one, max_size=40))


@settings(max_examples=40, deadline=None)
@given(
    work=scripts(),
    concurrency=st.integers(1, 8),
    per_tenant=st.integers(1, 3),
    max_waiting=st.integers(1, 20),
    ordered=st.booleans(),
    deadline=st.none() | st.floats(0.1, 100.0),
)
def test_every_element_has_one_outcome_and_every_bound_holds(
    work: list[tuple[str, str, list[Any]]],
    concurrency: int,
    per_tenant: int,
    max_waiting: int,
    ordered: bool,
    deadline: float | None,
) -> None:
    world = World()
    pulled: list[int] = []

    def make(index: int) -> ScriptedJob:
        key, tenant, steps = work[index]
        return ScriptedJob(world, index, list(steps), quota_key=key, tenant_key=(key, tenant))

    async def follow() -> list[int]:
        run = BulkRun(
            counting(pulled, range(len(work))),
            make,
            concurrency=concurrency,
            per_tenant=per_tenant,
            max_waiting=max_waiting,
            ordered=ordered,
            deadline=deadline,
        )
        seen: list[int] = []
        async with run:
            async for outcome in run:
                seen.append(outcome.index)
                held = len(pulled) - len(seen)
                assert held <= 2 * concurrency + max_waiting + concurrency
                if deadline is None:
                    assert not isinstance(outcome, NotAttempted)
                assert isinstance(outcome, Done | Failed | NotAttempted)
        assert run.report.complete
        return seen

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        seen = runner.run(follow())

    assert sorted(seen) == list(range(len(work)))
    assert world.peak <= concurrency
    if ordered:
        assert seen == sorted(seen)


async def test_ten_thousand_jobs_run_in_flat_memory_if_their_outcomes_are_not_kept() -> None:
    world = World()

    def make(number: int) -> ScriptedJob:
        world.started.clear()
        return ScriptedJob(world, number, [0.01], tenant_key=number)

    tracemalloc.start()
    try:
        async with BulkRun((n for n in range(10_000)), make) as run:
            sizes = [
                tracemalloc.get_traced_memory()[0]
                async for outcome in run
                if outcome.index % 1_000 == 999
            ]
    finally:
        tracemalloc.stop()

    assert sizes[-1] - sizes[1] < 700_000


async def test_random_work_under_random_quotas_ends_and_keeps_the_order_of_writes() -> None:
    world = World()
    chance = random.Random(7)

    def make(number: int) -> ScriptedJob:
        steps: list[Any] = [chance.uniform(0.1, 2.0)]
        if chance.random() < 0.1:
            steps.insert(0, NotBefore(now() + chance.uniform(1.0, 500.0)))
        return ScriptedJob(
            world, number, steps, quota_key=number % 7, tenant_key=(number % 7, number % 21)
        )

    order = await names_of(BulkRun(range(1_000), make, per_tenant=1, concurrency=16))

    for tenant in range(21):
        mine = [number for number in order if number % 21 == tenant]
        assert mine == sorted(mine)
