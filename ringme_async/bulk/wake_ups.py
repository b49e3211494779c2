"""What goes on at a known time: parked credentials, and hosts that rest."""

from __future__ import annotations

import math
from typing import Generic, TypeVar

from attrs import frozen

from ringme_async.bulk.fair_queue import FairQueue
from ringme_async.bulk.probing import Probing

__all__ = ["WakeUps"]

V = TypeVar("V")


@frozen(eq=False)
class WakeUps(Generic[V]):
    """The credentials and hosts of a run that go on at a known time."""

    queue: FairQueue[V]
    probing: Probing[V]

    @property
    def next_wake(self) -> float | None:
        """When to call ``wake``; None if nothing is parked and no host rests."""
        due = min(self.queue.next_wake, self.probing.next_wake)
        return None if due == math.inf else due

    @property
    def has_any(self) -> bool:
        """Whether ``next_wake`` may be a time."""
        return self.queue.has_parked or bool(self.probing.rests)

    def wake(self, now: float) -> None:
        """Let the credentials and hosts go on that are due."""
        self.queue.wake(now)
        self.probing.wake(now)

    def extend_if_silent(self) -> None:
        """Once a second, let groups and hosts without recent answers run one more job."""
        self.queue.extend_if_silent()
        self.probing.extend_if_silent()
