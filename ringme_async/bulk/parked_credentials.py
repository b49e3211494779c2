"""The credentials whose quota is used up, the first to go on first."""

from __future__ import annotations

import heapq
import math
from typing import Final, Generic, TypeVar

from attrs import define, field

from ringme_async.bulk.groups import CredentialGroup

__all__ = ["TIMER_SLACK", "ParkedCredentials"]

V = TypeVar("V")

# Spreads a thousand credentials that wake in the same second over that second.
_BETWEEN_WAKES: Final = 0.001
# A loop may fire a timer a hair early; a job that starts then must not be parked again.
TIMER_SLACK: Final = 0.0001


@define(eq=False)
class ParkedCredentials(Generic[V]):
    """The parked credentials of a run.

    Attributes:
        heap: When each can go on. The number orders credentials of the same moment. A credential
            that was parked for longer meanwhile keeps its entry until its turn comes.
    """

    heap: list[tuple[float, int, CredentialGroup[V]]] = field(
        factory=list[tuple[float, int, CredentialGroup[V]]], init=False
    )
    _times_parked: int = field(default=0, init=False)
    _last_wake: float = field(default=-math.inf, init=False)

    @property
    def parked_until(self) -> float | None:
        """When the first can go on; None if none is parked."""
        while self.heap:
            until, number, credential = self.heap[0]
            if credential.parked_until is None or credential.parked_until <= until:
                return until
            heapq.heapreplace(self.heap, (credential.parked_until, number, credential))
        return None

    @property
    def next_wake(self) -> float:
        """When to call ``pop_due``; infinity if none is parked."""
        until = self.parked_until
        return math.inf if until is None else max(until, self._last_wake + _BETWEEN_WAKES)

    def push(self, credential: CredentialGroup[V], until: float) -> None:
        """Park a credential, or park it for longer."""
        if credential.parked_until is not None:
            credential.parked_until = max(credential.parked_until, until)
            return
        credential.parked_until = until
        self._times_parked += 1
        heapq.heappush(self.heap, (until, self._times_parked, credential))

    def pop_due(self, now: float) -> CredentialGroup[V] | None:
        """Unpark the next credential that is due; one in each millisecond."""
        if self.next_wake > now + TIMER_SLACK:
            return None
        _, _, credential = heapq.heappop(self.heap)
        self._last_wake = now
        credential.parked_until = None
        return credential
