"""The schedule by itself: whose turn it is when the slots become fewer, or a quota is used up."""

from __future__ import annotations

import asyncio

import pytest

from ringme_async.bulk.verdict import Verdict
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
    desk.schedule.add(desk.ticket(one))
    desk.schedule.add(desk.ticket(other))

    desk.limit.change(5)

    assert desk.names_of_next() == [other]
    assert desk.schedule.held == 1


async def test_a_certain_job_is_not_started_if_its_quota_turns_out_to_be_used_up() -> None:
    desk = Desk(4)
    ticket = desk.ticket("a1")
    desk.schedule.add(ticket)
    desk.world.parked_until["a1"] = asyncio.get_running_loop().time() + 60

    assert not desk.schedule.take(ticket, 0.0)
    assert desk.schedule.parked == 1
    assert desk.schedule.parked_until == 60.0


async def test_a_job_whose_quota_is_back_within_a_hair_is_not_sent_away() -> None:
    desk = Desk(4)
    now = asyncio.get_running_loop().time()
    desk.world.parked_until["a1"] = now + 0.00005

    assert desk.schedule.admit(desk.ticket("a1"), now)


async def test_new_jobs_of_a_tenant_start_at_once_up_to_what_it_has_earned() -> None:
    desk = Desk(16)
    desk.trust("a1")
    first = desk.start("a1", "one")
    desk.schedule.add(desk.ticket("a1", "one"))
    desk.finish(first)
    assert desk.names_of_next() == ["a1"]

    # It may have two by now, of which one is in flight.
    desk.start("a1", "one")
    assert not desk.schedule.admit(desk.ticket("a1", "one"), 0.0)


async def test_two_credentials_without_an_answer_halve_what_their_host_has() -> None:
    desk = Desk(16)
    desk.trust("a1")
    held = [desk.start("a2"), desk.start("a3")]

    for ticket in held:
        desk.finish(ticket, Verdict.ILL)
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
    async def test_is_asked_by_one_job_when_it_is_roused(self) -> None:
        desk = Desk(16)
        ticket = desk.start("a1")
        desk.schedule.rest(ticket.tenant.owner.host, 5.0)
        desk.add("a2", "a3", "a4")
        desk.finish(ticket, Verdict.MUTE)

        desk.schedule.wake(5.0)

        assert desk.names_of_next() == ["a2"]

    async def test_goes_on_resting_when_another_has_rested(self) -> None:
        desk = Desk(16)
        for key, until in (("a1", 100.0), ("b1", 50.0)):
            ticket = desk.start(key)
            desk.schedule.rest(ticket.tenant.owner.host, until)
            desk.add(key)
            desk.finish(ticket, Verdict.MUTE)

        desk.schedule.wake(50.0)

        assert desk.names_of_next() == ["b1"]
        assert desk.schedule.next_wake == 100.0

    async def test_is_cleared_of_what_waits_for_it_whoever_came_before(self) -> None:
        desk = Desk(16)
        host = desk.start("a1").tenant.owner.host
        desk.schedule.rest(host, 100.0)
        first = desk.start("b1").tenant.owner.host
        desk.schedule.rest(first, 100.0)
        desk.add("a1", "b1", "b1")

        assert [ticket.who for ticket in desk.schedule.clear_out(first)] == ["b1", "b1"]
        assert desk.schedule.held == 1

    async def test_has_nothing_counted_twice_that_it_was_cleared_of(self) -> None:
        desk = Desk(16)
        ticket = desk.start("a1")
        host = ticket.tenant.owner.host
        desk.schedule.rest(host, 100.0)
        desk.add("a1", "a1", "a1")
        desk.schedule.clear_out(host)
        desk.schedule.rouse(host)

        desk.add("a1", "a1")
        desk.finish(ticket)
        desk.world.parked_until["a1"] = asyncio.get_running_loop().time() + 60
        desk.names_of_next()

        assert (desk.schedule.held, desk.schedule.parked) == (2, 2)


class TestTheParked:
    async def test_give_their_slots_back_to_their_credential_once(self) -> None:
        desk = Desk(16)
        desk.trust("b1")
        one, _ = desk.start("a1"), desk.start("a1")
        desk.schedule.put_back(one, 60.0, 0.0)
        desk.schedule.wake(60.0)

        assert desk.names_of_next() == []

    async def test_give_their_slots_back_to_their_host_once(self) -> None:
        desk = Desk(16)
        desk.trust("b1")
        one, _ = desk.start("a1"), desk.start("a2")
        desk.schedule.put_back(one, 60.0, 0.0)
        desk.add("a3", "a4")

        assert desk.names_of_next() == ["a3"]

    async def test_of_one_moment_wake_in_the_order_in_which_they_were_parked(self) -> None:
        desk = Desk(16)
        for key in ("a1", "b1", "c1"):
            desk.schedule.put_back(desk.start(key), 60.0, 0.0)

        woken: list[str | None] = []
        for thousandth in range(3):
            desk.schedule.wake(60.0 + thousandth / 1_000)
            woken += desk.names_of_next()

        assert woken == ["a1", "b1", "c1"]
