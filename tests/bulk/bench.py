"""A ``FairQueue`` by itself, and jobs for it."""

from __future__ import annotations

from collections.abc import Hashable

from ringme_async.bulk.adaptive_limit import CapacityLimit
from ringme_async.bulk.fair_queue import FairQueue
from ringme_async.bulk.feedback import Feedback
from ringme_async.bulk.groups import QueuedJob
from tests.bulk.scripted_job import ScriptedJob, World


class QueueBench:
    """A queue, and jobs for it that are named by host and credential."""

    def __init__(self, slots: int) -> None:
        self.limit = CapacityLimit(slots)
        self.world = World()
        self.queue = FairQueue[str](self.limit, slots, lambda key: str(key)[0], heeds_quota=True)
        self.made = 0

    def queued(self, key: str, tenant: Hashable = None) -> QueuedJob[str]:
        self.made += 1
        tenant_key = (key, self.made if tenant is None else tenant)
        job = ScriptedJob(self.world, key, [1.0], quota_key=key, tenant_key=tenant_key)
        return QueuedJob(self.made, key, job)

    def start(self, key: str, tenant: Hashable = None) -> QueuedJob[str]:
        queued = self.queued(key, tenant)
        assert self.queue.start_or_add(queued, 0.0)
        return queued

    def add(self, *keys: str) -> None:
        for key in keys:
            self.queue.add(self.queued(key))

    def finish(
        self, queued: QueuedJob[str], feedback: Feedback = Feedback.SUCCESS, slow: bool = False
    ) -> None:
        self.queue.finish(queued, feedback, slow=slow)

    def trust(self, key: str) -> None:
        """Let a credential earn all of its slots, and have one job in flight after that."""
        self.start(key)
        for _ in range(self.limit.value):
            self.finish(self.start(key))

    def names_of_next(self) -> list[str | None]:
        taken: list[str | None] = []
        while (queued := self.queue.start_next(0.0)) is not None:
            taken.append(str(queued.who))
        return taken
