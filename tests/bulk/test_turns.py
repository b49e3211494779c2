"""The schedule by itself: whose turn it is when the slots become fewer, or a quota is used up."""

from __future__ import annotations

import asyncio

import pytest

from ringme_async.bulk.limit import Limit
from ringme_async.bulk.schedule import Schedule
from ringme_async.bulk.ticket import Ticket
from ringme_async.bulk.verdict import Verdict
from tests.bulk.scripted_job import ScriptedJob, World

pytestmark = pytest.mark.jumping


class Desk:
    """A schedule, and jobs for it that are named by host and credential."""

    def __init__(self, slots: int) -> None:
        self.limit = Limit(slots)
        self.world = World()
        self.schedule = Schedule[str](self.limit, slots, lambda key: str(key)[0], heeds_quota=True)
        self.made = 0

    def ticket(self, key: str) -> Ticket[str]:
        self.made += 1
        job = ScriptedJob(self.world, key, [1.0], quota_key=key, tenant_key=(key, self.made))
        return Ticket(self.made, key, job)

    def start(self, key: str) -> Ticket[str]:
        ticket = self.ticket(key)
        assert self.schedule.admit(ticket, 0.0)
        return ticket

    def trust(self, key: str) -> None:
        """Let a credential earn all of its slots, and have one job in flight after that."""
        self.start(key)
        for _ in range(self.limit.value):
            self.schedule.finish(self.start(key), Verdict.SOUND, slow=False)

    def names_of_next(self) -> list[str | None]:
        taken: list[str | None] = []
        while (ticket := self.schedule.next(0.0)) is not None:
            taken.append(str(ticket.who))
        return taken


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
