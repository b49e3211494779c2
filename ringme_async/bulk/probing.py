"""Probes: which tenants show whether a host that fails others is up.

The circuit breaker says when to probe. This file says whom: witnesses, whose probes change nothing,
and fresh tenants from anywhere in the queue. In the order of the queue, a block of broken tenants
would look like a host that is down.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from random import Random
from typing import Any, Final, Generic, TypeVar

from attrs import define, field

from ringme_async.bulk.circuit_breaker import CircuitBreaker, State
from ringme_async.bulk.fair_queue import FairQueue
from ringme_async.bulk.groups import HostGroup, QueuedJob
from ringme_async.bulk.job import Job
from ringme_async.bulk.parked_credentials import TIMER_SLACK

__all__ = ["ProbeOf", "Probing"]

V = TypeVar("V")

ProbeOf = Callable[[Any], Job[Any]]
"""Makes a job that changes nothing, for the tenant of a finished job."""

_SEED: Final = 0


@define(eq=False)
class Probing(Generic[V]):
    """The hosts of a run that are being probed, or rest until the next probe.

    Args:
        queue: The unfinished jobs.
        probe_of: Makes a witness's probe; None: there are no witnesses.

    Attributes:
        hosts_to_probe: The hosts whose breakers want probes.
        witness_probes: The witnesses' probes in flight, and the host of each.
        rests: The hosts that rest and until when, the earliest first.
    """

    queue: FairQueue[V]
    probe_of: ProbeOf | None
    hosts_to_probe: dict[HostGroup[V], None] = field(factory=dict[HostGroup[V], None], init=False)
    witness_probes: dict[QueuedJob[V], HostGroup[V]] = field(
        factory=dict[QueuedJob[V], HostGroup[V]], init=False
    )
    rests: list[tuple[float, int, HostGroup[V]]] = field(
        factory=list[tuple[float, int, HostGroup[V]]], init=False
    )
    _times_rested: int = field(default=0, init=False)
    _random: Random = field(factory=lambda: Random(_SEED), init=False)

    @property
    def next_wake(self) -> float:
        """When to call ``wake``; infinity if no host rests."""
        while self.rests:
            until, _, host = self.rests[0]
            if _rests_until(host.breaker) == until:
                return until
            heapq.heappop(self.rests)
        return math.inf

    def update(self, host: HostGroup[V]) -> None:
        """Apply the new state of a host's breaker."""
        breaker = host.breaker
        if breaker.is_probing:
            self.hosts_to_probe[host] = None
        else:
            self.hosts_to_probe.pop(host, None)
        if breaker.state is State.OPEN:
            self._times_rested += 1
            heapq.heappush(self.rests, (breaker.rests_until, self._times_rested, host))
        self.queue.update_host(host)

    def wake(self, now: float) -> None:
        """Probe the hosts again whose rest is over."""
        while self.next_wake <= now + TIMER_SLACK:
            _, _, host = heapq.heappop(self.rests)
            host.breaker.half_open(now)
            self.update(host)
        self.clear_starved()

    def extend_if_silent(self) -> None:
        """Once a second, allow one more probe where the ones in flight are silent."""
        for host in self.hosts_to_probe:
            host.breaker.extend_if_silent()

    def clear_starved(self) -> None:
        """Search again for tenants to probe, as new ones may have come."""
        for host in self.hosts_to_probe:
            host.breaker.is_starved = False

    def start(
        self,
        host: HostGroup[V],
        now: float,
        *,
        has_room: bool,
        next_in_order: QueuedJob[V] | None = None,
    ) -> QueuedJob[V] | None:
        """Start a probe of a host; None: it has no tenant to probe.

        Args:
            host: The host.
            now: The loop's time.
            has_room: Whether one more outcome may come about; a witness's probe has none.
            next_in_order: The next job to be read in an ordered run, for which the last room is
                kept.
        """
        breaker = host.breaker
        queued: QueuedJob[V] | None = None
        if breaker.prefers_witness:
            queued = self._witness(host, now)
        if queued is None and has_room:
            queued = self._fresh(host, now)
        if queued is None:
            queued = self._witness(host, now)
        if queued is None and has_room and breaker.state is State.HALF_OPEN:
            queued = self._failed_job(host, now)
        if queued is None and not has_room:
            queued = self._next_in_order(next_in_order, host, now)
        if queued is not None:
            breaker.add_probe(queued)
        return queued

    def end_witness_probe(self, queued: QueuedJob[V]) -> HostGroup[V]:
        """Drop a witness's probe; return its host."""
        return self.witness_probes.pop(queued)

    def _witness(self, host: HostGroup[V], now: float) -> QueuedJob[V] | None:
        while (witness := host.breaker.next_witness()) is not None:
            if self.probe_of is None:
                continue
            job = self.probe_of(witness.job)
            if self.queue.is_refused(job, now):
                continue
            queued = QueuedJob(witness.index, witness.who, job, is_probe=True)
            queued.tenant = witness.tenant
            self.witness_probes[queued] = host
            return queued
        return None

    def _fresh(self, host: HostGroup[V], now: float) -> QueuedJob[V] | None:
        while untried := self.queue.untried(host, host.breaker.has_failed):
            queued = self._spread(untried, host.breaker.probes_sent)
            if self.queue.start_probe(queued, now):
                return queued
        return None

    def _spread(self, untried: list[QueuedJob[V]], turn: int) -> QueuedJob[V]:
        """Choose a tenant from anywhere in the queue: by halving and at random, in turns.

        Halving finds healthy tenants beside any large block. Chance finds them in any pattern.
        """
        if turn % 2:
            return self._random.choice(untried)
        return untried[-1 - int(_halving(turn // 2) * len(untried))]

    def _next_in_order(
        self, next_in_order: QueuedJob[V] | None, host: HostGroup[V], now: float
    ) -> QueuedJob[V] | None:
        if next_in_order is None or next_in_order.tenant.first is not next_in_order:
            return None
        credential = next_in_order.tenant.owner
        if credential.host is not host or credential.parked_until is not None:
            return None
        return next_in_order if self.queue.start_probe(next_in_order, now) else None

    def _failed_job(self, host: HostGroup[V], now: float) -> QueuedJob[V] | None:
        while (queued := self.queue.first_of(host)) is not None:
            if self.queue.start_probe(queued, now):
                return queued
        return None


def _rests_until(breaker: CircuitBreaker[QueuedJob[V]]) -> float | None:
    return breaker.rests_until if breaker.state is State.OPEN else None


def _halving(number: int) -> float:
    """Return 0, 1/2, 1/4, 3/4, 1/8 and so on (van der Corput's sequence)."""
    place, part = 0.0, 0.5
    while number:
        place += part * (number & 1)
        number >>= 1
        part /= 2
    return place
