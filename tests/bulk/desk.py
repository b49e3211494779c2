"""A schedule by itself, and jobs for it."""

from __future__ import annotations

from collections.abc import Hashable

from ringme_async.bulk.adaptive_limit import Limit
from ringme_async.bulk.fair_queue import Schedule
from ringme_async.bulk.feedback import Verdict
from ringme_async.bulk.groups import Ticket
from tests.bulk.scripted_job import ScriptedJob, World


class Desk:
    """A schedule, and jobs for it that are named by host and credential."""

    def __init__(self, slots: int) -> None:
        self.limit = Limit(slots)
        self.world = World()
        self.schedule = Schedule[str](self.limit, slots, lambda key: str(key)[0], heeds_quota=True)
        self.made = 0

    def ticket(self, key: str, tenant: Hashable = None) -> Ticket[str]:
        self.made += 1
        tenant_key = (key, self.made if tenant is None else tenant)
        job = ScriptedJob(self.world, key, [1.0], quota_key=key, tenant_key=tenant_key)
        return Ticket(self.made, key, job)

    def start(self, key: str, tenant: Hashable = None) -> Ticket[str]:
        ticket = self.ticket(key, tenant)
        assert self.schedule.admit(ticket, 0.0)
        return ticket

    def add(self, *keys: str) -> None:
        for key in keys:
            self.schedule.add(self.ticket(key))

    def finish(
        self, ticket: Ticket[str], verdict: Verdict = Verdict.SOUND, slow: bool = False
    ) -> None:
        self.schedule.finish(ticket, verdict, slow=slow)

    def trust(self, key: str) -> None:
        """Let a credential earn all of its slots, and have one job in flight after that."""
        self.start(key)
        for _ in range(self.limit.value):
            self.finish(self.start(key))

    def names_of_next(self) -> list[str | None]:
        taken: list[str | None] = []
        while (ticket := self.schedule.next(0.0)) is not None:
            taken.append(str(ticket.who))
        return taken
