"""The queue by itself: which job is next when slots are removed, or a quota is used up."""

from __future__ import annotations

import asyncio

import pytest

from ringme_async.bulk.feedback import Feedback
from ringme_async.bulk.outcome import Failed
from ringme_async.errors import ConnectError
from tests.bulk.bench import QueueBench

pytestmark = pytest.mark.jumping


@pytest.mark.parametrize(("one", "other"), [("a1", "b1"), ("a1", "a2")], ids=["host", "credential"])
async def test_a_group_without_room_after_slots_were_removed_lets_another_start(
    one: str, other: str
) -> None:
    bench = QueueBench(16)
    bench.trust(one)
    for _ in range(3):
        bench.start(one)
    bench.queue.add(bench.queued(one))
    bench.queue.add(bench.queued(other))

    bench.limit.change(5)

    assert bench.names_of_next() == [other]
    assert bench.queue.held == 1


async def test_a_given_job_does_not_start_if_its_quota_is_used_up() -> None:
    bench = QueueBench(4)
    queued = bench.queued("a1")
    bench.queue.add(queued)
    bench.world.parked_until["a1"] = asyncio.get_running_loop().time() + 60

    assert not bench.queue.start(queued, 0.0)
    assert bench.queue.parked == 1
    assert bench.queue.parked_until == 60.0


async def test_a_job_whose_quota_resets_within_the_timer_slack_starts() -> None:
    bench = QueueBench(4)
    now = asyncio.get_running_loop().time()
    bench.world.parked_until["a1"] = now + 0.00005

    assert bench.queue.start_or_add(bench.queued("a1"), now)


async def test_new_jobs_of_a_tenant_start_at_once_up_to_its_allowance() -> None:
    bench = QueueBench(16)
    bench.trust("a1")
    first = bench.start("a1", "one")
    bench.queue.add(bench.queued("a1", "one"))
    bench.finish(first)
    assert bench.names_of_next() == ["a1"]

    # It may have two by now, of which one is in flight.
    bench.start("a1", "one")
    assert not bench.queue.start_or_add(bench.queued("a1", "one"), 0.0)


async def test_two_credentials_without_an_answer_halve_their_hosts_allowance() -> None:
    bench = QueueBench(16)
    bench.trust("a1")
    held = [bench.start("a2"), bench.start("a3")]

    for queued in held:
        bench.finish(queued, Feedback.OVERLOAD)
    bench.add(*[f"a{key}" for key in range(4, 14)] * 2)

    # One is still in flight.
    assert len(bench.names_of_next()) == 8 - 1


class TestSlowAnswers:
    async def test_do_not_raise_a_credentials_allowance(self) -> None:
        bench = QueueBench(16)
        bench.trust("a1")

        bench.finish(bench.start("a2"), slow=True)
        bench.add(*["a2"] * 5)

        assert bench.names_of_next() == ["a2", "a2"]

    async def test_do_not_raise_a_hosts_allowance(self) -> None:
        bench = QueueBench(16)
        bench.trust("b1")

        bench.finish(bench.start("a1"), slow=True)
        bench.add("a1", "a2", "a3", "a4")

        assert bench.names_of_next() == ["a1", "a2"]


class TestAHostThatIsDown:
    async def test_starts_nothing_until_its_breaker_is_closed(self) -> None:
        bench = QueueBench(16)
        host = bench.start("a1").tenant.owner.host
        host.breaker.open(0.0)
        bench.queue.update_host(host)
        bench.add("a2", "a3")

        assert bench.names_of_next() == []
        host.breaker.close()
        bench.queue.update_host(host)
        assert bench.names_of_next() == ["a2"]

    async def test_is_probed_by_one_tenant_after_the_other(self) -> None:
        bench = QueueBench(16)
        host = bench.start("a1").tenant.owner.host
        host.breaker.open(0.0)
        bench.queue.update_host(host)
        bench.add("a2", "a2", "a3")

        asked: list[object] = []
        while (queued := bench.queue.first_of(host)) is not None:
            assert bench.queue.start_probe(queued, 0.0)
            asked.append(queued.who)

        assert asked == ["a2", "a3", "a2"]

    async def test_drops_all_of_its_waiting_jobs(self) -> None:
        bench = QueueBench(16)
        bench.start("a1").tenant.owner.host.breaker.open(0.0)
        first = bench.start("b1").tenant.owner.host
        first.breaker.open(0.0)
        bench.add("a1", "b1", "b1")

        cleared = bench.queue.drop_waiting(first, include_untried=True)

        assert [queued.who for queued in cleared] == ["b1", "b1"]
        assert bench.queue.held == 1

    async def test_drops_only_the_jobs_that_have_failed(self) -> None:
        bench = QueueBench(16)
        host = bench.start("a1").tenant.owner.host
        host.breaker.open(0.0)
        queued_jobs = [bench.queued("a1", "tenant") for _ in range(3)]
        for queued in queued_jobs:
            bench.queue.add(queued)
        queued_jobs[1].failure = Failed("a1", 1, 1, ConnectError("refused"))

        assert bench.queue.drop_waiting(host, include_untried=False) == [queued_jobs[1]]
        assert bench.queue.held == 2

    async def test_counts_no_dropped_job_twice(self) -> None:
        bench = QueueBench(16)
        queued = bench.start("a1")
        host = queued.tenant.owner.host
        host.breaker.open(0.0)
        bench.queue.update_host(host)
        bench.add("a1", "a1", "a1")
        bench.queue.drop_waiting(host, include_untried=True)
        host.breaker.close()
        bench.queue.update_host(host)

        bench.add("a1", "a1")
        bench.finish(queued)
        bench.world.parked_until["a1"] = asyncio.get_running_loop().time() + 60
        bench.names_of_next()

        assert (bench.queue.held, bench.queue.parked) == (2, 2)


class TestTheParked:
    async def test_return_their_slots_to_their_credential_once(self) -> None:
        bench = QueueBench(16)
        bench.trust("b1")
        one, _ = bench.start("a1"), bench.start("a1")
        bench.queue.park(one, 60.0, 0.0)
        bench.queue.wake(60.0)

        assert bench.names_of_next() == []

    async def test_return_their_slots_to_their_host_once(self) -> None:
        bench = QueueBench(16)
        bench.trust("b1")
        one, _ = bench.start("a1"), bench.start("a2")
        bench.queue.park(one, 60.0, 0.0)
        bench.add("a3", "a4")

        assert bench.names_of_next() == ["a3"]

    async def test_wake_in_the_order_of_parking_if_they_are_due_together(self) -> None:
        bench = QueueBench(16)
        for key in ("a1", "b1", "c1"):
            bench.queue.park(bench.start(key), 60.0, 0.0)

        woken: list[str | None] = []
        for thousandth in range(3):
            bench.queue.wake(60.0 + thousandth / 1_000)
            woken += bench.names_of_next()

        assert woken == ["a1", "b1", "c1"]
