"""Which job is next: fair to hosts, credentials and tenants, and heedful of their quotas.

Hosts take turns, each host's credentials do, and each credential's tenants; whoever has as much in
flight as its share allows stands aside until a job of it ends. Every step costs the same, however
many jobs wait. It knows no tasks and no clock: moments are given to it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from typing import Any, Final, Generic, TypeVar

from attrs import define, field

from ringme_async.bulk.adaptive_limit import CapacityLimit
from ringme_async.bulk.failure_row import FailureRow
from ringme_async.bulk.feedback import Feedback
from ringme_async.bulk.groups import (
    CredentialGroup,
    GroupRegistry,
    HostGroup,
    QueuedJob,
    TenantGroup,
    requeue,
)
from ringme_async.bulk.job import Job

__all__ = ["TIMER_SLACK", "FairQueue"]

V = TypeVar("V")

# A thousand credentials that wake in the same second are spread over it.
_BETWEEN_WAKES: Final = 0.001
# A job that is told the moment it asks in as its "not before" must not be asked without end.
_SHORTEST_PARK: Final = 0.05
# A loop may fire a timer a hair early; whoever comes then must not be sent away again.
TIMER_SLACK: Final = 0.0001


def _nothing() -> None:
    pass


@define(eq=False)
class FairQueue(Generic[V]):
    """The jobs in hand.

    Args:
        limit: How many may be in flight in all.
        per_tenant: How many of one tenant; None: an eighth of the slots.
        host_of: Which host a quota key belongs to.
        heeds_quota: Whether a used-up quota parks jobs; if not, they run and fail.

    Attributes:
        held: How many jobs are in hand and not in flight.
        parked: How many of them wait for their quota.
    """

    limit: CapacityLimit
    per_tenant: int | None
    host_of: Callable[[Hashable], Hashable]
    heeds_quota: bool
    held: int = field(default=0, init=False)
    parked: int = field(default=0, init=False)
    _registry: GroupRegistry[V] = field(init=False)
    # Ordered by moment, and then by when they were parked, which is the same for no two.
    _parking: list[tuple[float, int, CredentialGroup[V]]] = field(
        factory=list[tuple[float, int, CredentialGroup[V]]], init=False
    )
    _times_parked: int = field(default=0, init=False)
    # Credentials on hold, and what takes back the wait of each.
    _holds: dict[CredentialGroup[V], Callable[[], None]] = field(
        factory=dict[CredentialGroup[V], Callable[[], None]], init=False
    )
    _on_free: Callable[[], None] = field(default=_nothing, init=False, repr=False)
    _last_wake: float = field(default=-math.inf, init=False)

    def __attrs_post_init__(self) -> None:
        self._registry = GroupRegistry(self.limit, self.per_tenant, self.host_of)

    @property
    def is_ready(self) -> bool:
        """Whether it is likely that a job could start now."""
        return self._registry.line.first is not None

    @property
    def parked_until(self) -> float | None:
        """When the first of the parked can go on; None if none is parked."""
        while self._parking:
            until, number, key = self._parking[0]
            if key.parked_until is None or key.parked_until <= until:
                return until
            heapq.heapreplace(self._parking, (key.parked_until, number, key))
        return None

    @property
    def next_wake(self) -> float:
        """When to call ``wake``; never, if nothing is parked."""
        until = self.parked_until
        return math.inf if until is None else max(until, self._last_wake + _BETWEEN_WAKES)

    @property
    def has_sleepers(self) -> bool:
        """Whether ``next_wake`` may be something."""
        return bool(self._parking)

    @property
    def network(self) -> FailureRow:
        """The failures in a row of all hosts."""
        return self._registry.network

    @property
    def waiting_for_quota(self) -> int:
        """How many jobs wait for an answer that tells whether a request is left for them."""
        return sum(key.waiting for key in self._holds)

    def call_on_free(self, wake: Callable[[], None]) -> None:
        """Have ``wake`` called whenever a credential has a free request again."""
        self._on_free = wake

    def end_holds(self) -> None:
        """Wait for no free requests any more."""
        for key, forget in list(self._holds.items()):
            forget()
            self._end_hold(key)

    def admit(self, queued: QueuedJob[V], now: float) -> bool:
        """Take a new job in hand, and start it at once if it may.

        It is not asked whether others could start: jobs are pulled when none can.
        """
        tenant = self._registry.enter(queued)
        key = tenant.owner
        host = key.host
        if (
            tenant.first is None
            and tenant.in_flight < tenant.allowance
            and key.parked_until is None
            and not key.is_on_hold
            and key.has_room()
            and not host.breaker.is_stopping
            and host.has_room()
            and self._may_run(queued, now)
        ):
            tenant.in_flight += 1
            key.in_flight += 1
            host.in_flight += 1
            return True
        self._let_wait(queued, tenant)
        return False

    def add(self, queued: QueuedJob[V]) -> None:
        """Take a new job in hand, to be started later."""
        self._let_wait(queued, self._registry.enter(queued))

    def next(self, now: float) -> QueuedJob[V] | None:
        """Start a job that waits: whose turn it is, of those that may."""
        while (host := self._registry.line.first) is not None:
            key = host.first
            if key is None or not host.can_start():
                requeue(self._registry.line, host)
                continue
            tenant = key.first
            if tenant is None or not key.can_start():
                requeue(host, key)
                continue
            queued = tenant.first
            if queued is not None and self._may_run(queued, now):
                self._start(queued)
                return queued
        return None

    def take(self, queued: QueuedJob[V], now: float) -> bool:
        """Start this very job, the first of its tenant, if it may."""
        tenant = queued.tenant
        key = tenant.owner
        if not (tenant.can_start() and key.can_start() and key.host.can_start()):
            return False
        if not self._may_run(queued, now):
            return False
        self._start(queued)
        return True

    def finish(self, queued: QueuedJob[V], feedback: Feedback, *, slow: bool) -> None:
        """Let go of a job that was in flight."""
        self._land(queued.tenant, feedback, slow=slow)
        self.let_go(queued)

    def hold_back(self, queued: QueuedJob[V], feedback: Feedback, *, slow: bool) -> None:
        """Keep a job in hand that was in flight: to its tenant alone it stays in flight.

        So no later change of that tenant goes before it is known whether this one comes again.
        """
        self._land(queued.tenant, feedback, slow=slow)
        self._update(queued.tenant)

    def let_go(self, queued: QueuedJob[V]) -> None:
        """Let go of a job that was held back."""
        tenant = queued.tenant
        tenant.in_flight -= 1
        self._registry.leave(tenant)
        if self.held:
            self._update(tenant)

    def take_back(self, queued: QueuedJob[V]) -> None:
        """Let a job wait again that was held back, in its old place."""
        tenant = queued.tenant
        tenant.in_flight -= 1
        tenant.put_back(queued)
        self._count_in(tenant.owner)
        self._update(tenant)

    def update_host(self, host: HostGroup[V]) -> None:
        """Stop a host, or let it go on, as its circuit breaker says."""
        requeue(self._registry.line, host)

    def untried(
        self, host: HostGroup[V], has_failed: Callable[[Hashable], bool]
    ) -> list[QueuedJob[V]]:
        """Give the next job of each tenant of a host that could run, and has not failed."""
        return [queued for queued in self._next_ones(host) if not has_failed(queued.tenant.name)]

    def first_of(self, host: HostGroup[V]) -> QueuedJob[V] | None:
        """Give the job of a host whose turn it is, whether or not the host is stopped."""
        key = host.first
        tenant = None if key is None else key.first
        return None if tenant is None else tenant.first

    def start_probe(self, queued: QueuedJob[V], now: float) -> bool:
        """Start the first job of a tenant though its host is stopped, unless its quota is used up."""
        if not self._may_run(queued, now):
            return False
        tenant = queued.tenant
        key = tenant.owner
        host = key.host
        tenant.remove(queued)
        self.held -= 1
        key.waiting -= 1
        tenant.in_flight += 1
        key.in_flight += 1
        host.in_flight += 1
        # Both stand at the end of their lines, so that the next probe is another's.
        if tenant.is_queued:
            key.remove(tenant)
            tenant.is_queued = False
        if key.is_queued:
            host.remove(key)
            key.is_queued = False
        self._update(tenant)
        return True

    def is_refused(self, job: Job[Any], now: float) -> bool:
        """Whether a job's quota would refuse it."""
        until = job.not_before() if self.heeds_quota else None
        return until is not None and until > now + TIMER_SLACK

    def put_back(self, queued: QueuedJob[V], until: float, now: float) -> None:
        """Park a job that was in flight, and with it all of its credential."""
        key = queued.tenant.owner
        key.in_flight -= 1
        key.host.in_flight -= 1
        self._park(key, max(until, now + _SHORTEST_PARK))
        self.take_back(queued)

    def wake(self, now: float) -> None:
        """Let the credentials go on whose time has come, one in each millisecond."""
        while self.next_wake <= now + TIMER_SLACK:
            _, _, key = heapq.heappop(self._parking)
            self._last_wake = now
            key.parked_until = None
            # Its window is unknown: until the first answer, others would only wait in the slots.
            key.allowance = 1
            self.parked -= key.waiting
            self._update_key(key)

    def relax(self) -> None:
        """Let those go on from whom nothing came back since the last look; once a second."""
        for key in self._registry.credentials():
            if key.parked_until is None:
                key.relax()
                requeue(key.host, key)
        for host in self._registry.hosts():
            host.relax()
            requeue(self._registry.line, host)

    def flush(self) -> list[QueuedJob[V]]:
        """Let go of everything that is not in flight, in input order."""
        flushed: list[QueuedJob[V]] = []
        self.end_holds()
        for tenant in self._registry.tenants():
            key = tenant.owner
            while (queued := tenant.first) is not None:
                tenant.remove(queued)
                flushed.append(queued)
                self._registry.leave(tenant)
            key.parked_until = None
            key.waiting = 0
            self._update(tenant)
        self._parking.clear()
        self.held = self.parked = 0
        flushed.sort(key=lambda queued: queued.index)
        return flushed

    def clear_out(self, host: HostGroup[V], *, all_of_it: bool) -> list[QueuedJob[V]]:
        """Let go of what waits for a host and has failed, or of all; what is parked stays."""
        cleared: list[QueuedJob[V]] = []
        for key in list(host.credentials):
            if key.parked_until is not None:
                continue
            for tenant in list(key.tenants.values()):
                cleared += self._clear_out(tenant, all_of_it)
        return cleared

    def _clear_out(self, tenant: TenantGroup[V], all_of_it: bool) -> list[QueuedJob[V]]:
        cleared: list[QueuedJob[V]] = []
        queued = tenant.first
        while queued is not None:
            following = queued.behind
            if all_of_it or queued.failure is not None:
                tenant.remove(queued)
                cleared.append(queued)
                self.held -= 1
                tenant.owner.waiting -= 1
                self._registry.leave(tenant)
            queued = following
        self._update(tenant)
        return cleared

    def _next_ones(self, host: HostGroup[V]) -> Iterator[QueuedJob[V]]:
        for key in host.credentials:
            if key.parked_until is None:
                for tenant in key.tenants.values():
                    if tenant.can_start() and tenant.first is not None:
                        yield tenant.first

    def _land(self, tenant: TenantGroup[V], feedback: Feedback, *, slow: bool) -> None:
        key = tenant.owner
        host = key.host
        key.in_flight -= 1
        host.in_flight -= 1
        if tenant.in_hand > 1:
            tenant.learn(feedback, slow=slow)
        key.learn(feedback, tenant.key, slow=slow)
        host.learn(feedback, key.key, slow=slow)

    def _let_wait(self, queued: QueuedJob[V], tenant: TenantGroup[V]) -> None:
        tenant.push(queued)
        self._count_in(tenant.owner)
        self._update(tenant)

    def _may_run(self, queued: QueuedJob[V], now: float) -> bool:
        until = queued.job.not_before()
        if until is None or until <= now + TIMER_SLACK:
            return True
        key = queued.tenant.owner
        if until == math.inf:
            # In a slot, the timeout of the job would run, and others would lack the slot.
            self._holds[key] = queued.job.call_when_free(partial(self._set_free, key))
            key.is_on_hold = True
        elif self.heeds_quota:
            self._park(key, until)
        else:
            return True
        self._update_key(key)
        return False

    def _set_free(self, key: CredentialGroup[V]) -> None:
        self._end_hold(key)
        self._on_free()

    def _end_hold(self, key: CredentialGroup[V]) -> None:
        key.is_on_hold = False
        del self._holds[key]
        self._update_key(key)

    def _start(self, queued: QueuedJob[V]) -> None:
        """Start the first of its tenant's jobs, and let all three stand at the end of their lines."""
        tenant = queued.tenant
        key = tenant.owner
        host = key.host
        tenant.remove(queued)
        self.held -= 1
        key.waiting -= 1
        tenant.in_flight += 1
        key.in_flight += 1
        host.in_flight += 1
        key.remove(tenant)
        host.remove(key)
        self._registry.line.remove(host)
        tenant.is_queued = key.is_queued = host.is_queued = False
        self._update(tenant)

    def _update(self, tenant: TenantGroup[V]) -> None:
        """Put it right in its line, and those above it; whose line is empty stands in none."""
        if tenant.first is not None or tenant.is_queued:
            requeue(tenant.owner, tenant)
        self._update_key(tenant.owner)

    def _update_key(self, key: CredentialGroup[V]) -> None:
        host = key.host
        if key.first is not None or key.is_queued:
            requeue(host, key)
        if host.first is not None or host.is_queued:
            requeue(self._registry.line, host)

    def _count_in(self, key: CredentialGroup[V]) -> None:
        self.held += 1
        key.waiting += 1
        if key.parked_until is not None:
            self.parked += 1

    def _park(self, key: CredentialGroup[V], until: float) -> None:
        if key.parked_until is not None:
            # Where it stands among the parked is put right when its turn comes.
            key.parked_until = max(key.parked_until, until)
            return
        key.parked_until = until
        self.parked += key.waiting
        self._times_parked += 1
        heapq.heappush(self._parking, (until, self._times_parked, key))
