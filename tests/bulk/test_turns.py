"""The schedule by itself: whose turn it is when the slots become fewer, or a quota is used up."""

from __future__ import annotations

import asyncio

import pytest

from ringme_async.bulk.feedback import Feedback
from ringme_async.bulk.outcome import Failed
from ringme_async.errors import ConnectError
from tests.bulk.desk import Desk

pytestmark = pytest.mark.jumping


@pytest.mark.parametrize(("one", "other"), [("a1", "b1"), ("a1", "a2")], ids=["host", "credential"])
async def test_whoever_stands_in_line_for_slots_that_are_gone_makes_way_for_others(
    one: str, other: str
) -> None:
    desk = Desk(16)
    desk.trust(one)
    for _ in range(3):
        desk.start(one)
    desk.queue.add(desk.queued(one))
    desk.queue.add(desk.queued(other))

    desk.limit.change(5)

    assert desk.names_of_next() == [other]
    assert desk.queue.held == 1


async def test_a_certain_job_is_not_started_if_its_quota_turns_out_to_be_used_up() -> None:
    desk = Desk(4)
    queued = desk.queued("a1")
    desk.queue.add(queued)
    desk.world.parked_until["a1"] = asyncio.get_running_loop().time() + 60

    assert not desk.queue.start(queued, 0.0)
    assert desk.queue.parked == 1
    assert desk.queue.parked_until == 60.0


async def test_a_job_whose_quota_is_back_within_a_hair_is_not_sent_away() -> None:
    desk = Desk(4)
    now = asyncio.get_running_loop().time()
    desk.world.parked_until["a1"] = now + 0.00005

    assert desk.queue.start_or_add(desk.queued("a1"), now)


async def test_new_jobs_of_a_tenant_start_at_once_up_to_what_it_has_earned() -> None:
    desk = Desk(16)
    desk.trust("a1")
    first = desk.start("a1", "one")
    desk.queue.add(desk.queued("a1", "one"))
    desk.finish(first)
    assert desk.names_of_next() == ["a1"]

    # It may have two by now, of which one is in flight.
    desk.start("a1", "one")
    assert not desk.queue.start_or_add(desk.queued("a1", "one"), 0.0)


async def test_two_credentials_without_an_answer_halve_what_their_host_has() -> None:
    desk = Desk(16)
    desk.trust("a1")
    held = [desk.start("a2"), desk.start("a3")]

    for queued in held:
        desk.finish(queued, Feedback.OVERLOAD)
    desk.add(*[f"a{key}" for key in range(4, 14)] * 2)

    # One is still in flight.
    assert len(desk.names_of_next()) == 8 - 1


class TestSlowAnswers:
    async def test_earn_a_credential_no_more(self) -> None:
        desk = Desk(16)
        desk.trust("a1")

        desk.finish(desk.start("a2"), slow=True)
        desk.add(*["a2"] * 5)

        assert desk.names_of_next() == ["a2", "a2"]

    async def test_earn_a_host_no_more(self) -> None:
        desk = Desk(16)
        desk.trust("b1")

        desk.finish(desk.start("a1"), slow=True)
        desk.add("a1", "a2", "a3", "a4")

        assert desk.names_of_next() == ["a1", "a2"]


class TestAHostThatIsDown:
    async def test_starts_nothing_until_its_breaker_is_closed(self) -> None:
        desk = Desk(16)
        host = desk.start("a1").tenant.owner.host
        host.breaker.open(0.0)
        desk.queue.update_host(host)
        desk.add("a2", "a3")

        assert desk.names_of_next() == []
        host.breaker.close()
        desk.queue.update_host(host)
        assert desk.names_of_next() == ["a2"]

    async def test_is_probed_by_one_tenant_after_the_other(self) -> None:
        desk = Desk(16)
        host = desk.start("a1").tenant.owner.host
        host.breaker.open(0.0)
        desk.queue.update_host(host)
        desk.add("a2", "a2", "a3")

        asked: list[object] = []
        while (queued := desk.queue.first_of(host)) is not None:
            assert desk.queue.start_probe(queued, 0.0)
            asked.append(queued.who)

        assert asked == ["a2", "a3", "a2"]

    async def test_is_cleared_of_what_waits_for_it_whoever_came_before(self) -> None:
        desk = Desk(16)
        desk.start("a1").tenant.owner.host.breaker.open(0.0)
        first = desk.start("b1").tenant.owner.host
        first.breaker.open(0.0)
        desk.add("a1", "b1", "b1")

        cleared = desk.queue.drop_waiting(first, include_untried=True)

        assert [queued.who for queued in cleared] == ["b1", "b1"]
        assert desk.queue.held == 1

    async def test_is_cleared_of_what_has_failed_alone(self) -> None:
        desk = Desk(16)
        host = desk.start("a1").tenant.owner.host
        host.breaker.open(0.0)
        queued_jobs = [desk.queued("a1", "tenant") for _ in range(3)]
        for queued in queued_jobs:
            desk.queue.add(queued)
        queued_jobs[1].failure = Failed("a1", 1, 1, ConnectError("refused"))

        assert desk.queue.drop_waiting(host, include_untried=False) == [queued_jobs[1]]
        assert desk.queue.held == 2

    async def test_has_nothing_counted_twice_that_it_was_cleared_of(self) -> None:
        desk = Desk(16)
        queued = desk.start("a1")
        host = queued.tenant.owner.host
        host.breaker.open(0.0)
        desk.queue.update_host(host)
        desk.add("a1", "a1", "a1")
        desk.queue.drop_waiting(host, include_untried=True)
        host.breaker.close()
        desk.queue.update_host(host)

        desk.add("a1", "a1")
        desk.finish(queued)
        desk.world.parked_until["a1"] = asyncio.get_running_loop().time() + 60
        desk.names_of_next()

        assert (desk.queue.held, desk.queue.parked) == (2, 2)


class TestTheParked:
    async def test_give_their_slots_back_to_their_credential_once(self) -> None:
        desk = Desk(16)
        desk.trust("b1")
        one, _ = desk.start("a1"), desk.start("a1")
        desk.queue.park(one, 60.0, 0.0)
        desk.queue.wake(60.0)

        assert desk.names_of_next() == []

    async def test_give_their_slots_back_to_their_host_once(self) -> None:
        desk = Desk(16)
        desk.trust("b1")
        one, _ = desk.start("a1"), desk.start("a2")
        desk.queue.park(one, 60.0, 0.0)
        desk.add("a3", "a4")

        assert desk.names_of_next() == ["a3"]

    async def test_of_one_moment_wake_in_the_order_in_which_they_were_parked(self) -> None:
        desk = Desk(16)
        for key in ("a1", "b1", "c1"):
            desk.queue.park(desk.start(key), 60.0, 0.0)

        woken: list[str | None] = []
        for thousandth in range(3):
            desk.queue.wake(60.0 + thousandth / 1_000)
            woken += desk.names_of_next()

        assert woken == ["a1", "b1", "c1"]
