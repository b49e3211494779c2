"""Which job starts next: fair to hosts, credentials and tenants, within their quotas.

Hosts take turns, so do a host's credentials, and a credential's tenants. A group that has used up
its allowance leaves its queue until one of its jobs ends. Every step costs the same, however many
jobs wait. The queue knows no tasks and no clock: its callers pass the time in.
"""

from __future__ import annotations

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
from ringme_async.bulk.parked_credentials import TIMER_SLACK, ParkedCredentials

__all__ = ["FairQueue"]

V = TypeVar("V")

# Prevents a busy loop if a job's "not before" is the present moment.
_SHORTEST_PARK: Final = 0.05


def _nothing() -> None:
    pass


@define(eq=False)
class FairQueue(Generic[V]):
    """The unfinished jobs of a run, in fair order.

    Args:
        limit: How many may be in flight in all.
        per_tenant: How many of one tenant; None: an eighth of the slots.
        host_of: Which host a quota key belongs to.
        heeds_quota: Whether a used-up quota parks jobs; if not, they run and fail.

    Attributes:
        held: How many jobs wait or are parked.
        parked: How many of them wait for their quota.
    """

    limit: CapacityLimit
    per_tenant: int | None
    host_of: Callable[[Hashable], Hashable]
    heeds_quota: bool
    held: int = field(default=0, init=False)
    parked: int = field(default=0, init=False)
    _registry: GroupRegistry[V] = field(init=False)
    _parked: ParkedCredentials[V] = field(factory=ParkedCredentials[V], init=False)
    # Credentials on hold, and the function that cancels the wait of each.
    _holds: dict[CredentialGroup[V], Callable[[], None]] = field(
        factory=dict[CredentialGroup[V], Callable[[], None]], init=False
    )
    _on_free: Callable[[], None] = field(default=_nothing, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._registry = GroupRegistry(self.limit, self.per_tenant, self.host_of)

    @property
    def is_ready(self) -> bool:
        """Whether a job can probably start now."""
        return self._registry.ready_hosts.first is not None

    @property
    def parked_until(self) -> float | None:
        """When the first parked credential can go on; None if none is parked."""
        return self._parked.parked_until

    @property
    def next_wake(self) -> float:
        """When to call ``wake``; infinity if nothing is parked."""
        return self._parked.next_wake

    @property
    def has_parked(self) -> bool:
        """Whether ``next_wake`` may be finite."""
        return bool(self._parked.heap)

    @property
    def network(self) -> FailureRow:
        """The failures in a row of all hosts."""
        return self._registry.network

    @property
    def credentials_on_hold(self) -> int:
        """How many credentials wait for the answer that tells their quota."""
        return len(self._holds)

    @property
    def waiting_for_quota(self) -> int:
        """How many jobs wait for an answer that tells whether their quota has a request left."""
        return sum(credential.waiting for credential in self._holds)

    def call_on_free(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever a credential on hold has a free request again."""
        self._on_free = wake

    def end_holds(self) -> None:
        """Stop waiting for free requests."""
        for credential, cancel_wait in list(self._holds.items()):
            cancel_wait()
            self._end_hold(credential)

    def start_or_add(self, queued: QueuedJob[V], now: float) -> bool:
        """Start a new job at once if it may start, else queue it; return whether it started.

        Jobs that wait are not preferred: a run pulls a new job only when none of them can start.
        """
        tenant = self._registry.enter(queued)
        credential = tenant.owner
        host = credential.host
        if (
            tenant.first is None
            and tenant.in_flight < tenant.allowance
            and credential.parked_until is None
            and not credential.is_on_hold
            and credential.has_room()
            and not host.breaker.is_stopping
            and host.has_room()
            and self._may_run(queued, now)
        ):
            tenant.in_flight += 1
            credential.in_flight += 1
            host.in_flight += 1
            return True
        self._enqueue(queued, tenant)
        return False

    def add(self, queued: QueuedJob[V]) -> None:
        """Queue a new job."""
        self._enqueue(queued, self._registry.enter(queued))

    def start_next(self, now: float) -> QueuedJob[V] | None:
        """Start the job whose turn it is; None if none may start."""
        while (host := self._registry.ready_hosts.first) is not None:
            credential = host.first
            if credential is None or not host.can_start():
                requeue(self._registry.ready_hosts, host)
                continue
            tenant = credential.first
            if tenant is None or not credential.can_start():
                requeue(host, credential)
                continue
            queued = tenant.first
            if queued is not None and self._may_run(queued, now):
                self._start(queued)
                return queued
        return None

    def start(self, queued: QueuedJob[V], now: float) -> bool:
        """Start a given job, the first of its tenant; return whether it was allowed to."""
        tenant = queued.tenant
        credential = tenant.owner
        if not (tenant.can_start() and credential.can_start() and credential.host.can_start()):
            return False
        if not self._may_run(queued, now):
            return False
        self._start(queued)
        return True

    def finish(self, queued: QueuedJob[V], feedback: Feedback, *, slow: bool) -> None:
        """Drop a job that was in flight."""
        self._free_slot(queued.tenant, feedback, slow=slow)
        self.forget(queued)

    def hold_suspect(self, queued: QueuedJob[V], feedback: Feedback, *, slow: bool) -> None:
        """Free the slot of a failed job, but keep its tenant's.

        So no later change of the tenant overtakes this one, which may run again.
        """
        self._free_slot(queued.tenant, feedback, slow=slow)
        self._update(queued.tenant)

    def forget(self, queued: QueuedJob[V]) -> None:
        """Drop a held job."""
        tenant = queued.tenant
        tenant.in_flight -= 1
        self._registry.leave(tenant)
        if self.held:
            self._update(tenant)

    def wait_again(self, queued: QueuedJob[V]) -> None:
        """Queue a held job again, at its old place."""
        tenant = queued.tenant
        tenant.in_flight -= 1
        tenant.reinsert(queued)
        self._count_waiting(tenant.owner)
        self._update(tenant)

    def update_host(self, host: HostGroup[V]) -> None:
        """Stop a host, or let it go on, as its circuit breaker says."""
        requeue(self._registry.ready_hosts, host)

    def untried(
        self, host: HostGroup[V], has_failed: Callable[[Hashable], bool]
    ) -> list[QueuedJob[V]]:
        """Return the next job of each tenant of a host that could run and has not failed."""
        return [queued for queued in self._next_jobs(host) if not has_failed(queued.tenant.name)]

    def first_of(self, host: HostGroup[V]) -> QueuedJob[V] | None:
        """Return the job of a host whose turn it is, even if the host is stopped."""
        credential = host.first
        tenant = None if credential is None else credential.first
        return None if tenant is None else tenant.first

    def start_probe(self, queued: QueuedJob[V], now: float) -> bool:
        """Start the first job of a tenant of a stopped host, unless its quota is used up."""
        if not self._may_run(queued, now):
            return False
        tenant = queued.tenant
        credential = tenant.owner
        host = credential.host
        tenant.remove(queued)
        self.held -= 1
        credential.waiting -= 1
        tenant.in_flight += 1
        credential.in_flight += 1
        host.in_flight += 1
        # Both go to the end of their queues, so that another tenant is probed next.
        if tenant.is_queued:
            credential.remove(tenant)
            tenant.is_queued = False
        if credential.is_queued:
            host.remove(credential)
            credential.is_queued = False
        self._update(tenant)
        return True

    def is_refused(self, job: Job[Any], now: float) -> bool:
        """Whether a job's quota would refuse it."""
        until = job.not_before() if self.heeds_quota else None
        return until is not None and until > now + TIMER_SLACK

    def park(self, queued: QueuedJob[V], until: float, now: float) -> None:
        """Park the credential of a job that was in flight, and queue that job again."""
        credential = queued.tenant.owner
        credential.in_flight -= 1
        credential.host.in_flight -= 1
        self._park(credential, max(until, now + _SHORTEST_PARK))
        self.wait_again(queued)

    def wake(self, now: float) -> None:
        """Unpark the credentials that are due, one in each millisecond."""
        while (credential := self._parked.pop_due(now)) is not None:
            # Its quota window is unknown, and more than one job would wait for the first answer.
            credential.allowance = 1
            self.parked -= credential.waiting
            self._update_key(credential)

    def extend_if_silent(self) -> None:
        """Once a second, let groups without recent answers start one more job."""
        for credential in self._registry.credentials():
            if credential.parked_until is None:
                credential.extend_if_silent()
                requeue(credential.host, credential)
        for host in self._registry.hosts():
            host.extend_if_silent()
            requeue(self._registry.ready_hosts, host)

    def flush(self) -> list[QueuedJob[V]]:
        """Drop and return every job that is not in flight, in input order."""
        flushed: list[QueuedJob[V]] = []
        self.end_holds()
        for tenant in self._registry.tenants():
            credential = tenant.owner
            while (queued := tenant.first) is not None:
                tenant.remove(queued)
                flushed.append(queued)
                self._registry.leave(tenant)
            credential.parked_until = None
            credential.waiting = 0
            self._update(tenant)
        self._parked.heap.clear()
        self.held = self.parked = 0
        flushed.sort(key=lambda queued: queued.index)
        return flushed

    def drop_waiting(self, host: HostGroup[V], *, include_untried: bool) -> list[QueuedJob[V]]:
        """Drop and return a host's waiting jobs, or the failed ones; parked jobs stay."""
        cleared: list[QueuedJob[V]] = []
        for credential in [one for one in host.credentials if one.parked_until is None]:
            for tenant in list(credential.tenants.values()):
                cleared += self._drop_waiting(tenant, include_untried)
        return cleared

    def _drop_waiting(self, tenant: TenantGroup[V], include_untried: bool) -> list[QueuedJob[V]]:
        cleared: list[QueuedJob[V]] = []
        queued = tenant.first
        while queued is not None:
            following = queued.behind
            if include_untried or queued.failure is not None:
                tenant.remove(queued)
                cleared.append(queued)
                self.held -= 1
                tenant.owner.waiting -= 1
                self._registry.leave(tenant)
            queued = following
        self._update(tenant)
        return cleared

    def _next_jobs(self, host: HostGroup[V]) -> Iterator[QueuedJob[V]]:
        for credential in host.credentials:
            if credential.parked_until is None:
                for tenant in credential.tenants.values():
                    if tenant.can_start() and tenant.first is not None:
                        yield tenant.first

    def _free_slot(self, tenant: TenantGroup[V], feedback: Feedback, *, slow: bool) -> None:
        credential = tenant.owner
        host = credential.host
        credential.in_flight -= 1
        host.in_flight -= 1
        if tenant.unfinished > 1:
            tenant.learn(feedback, slow=slow)
        credential.learn(feedback, tenant.key, slow=slow)
        host.learn(feedback, credential.key, slow=slow)

    def _enqueue(self, queued: QueuedJob[V], tenant: TenantGroup[V]) -> None:
        tenant.push(queued)
        self._count_waiting(tenant.owner)
        self._update(tenant)

    def _may_run(self, queued: QueuedJob[V], now: float) -> bool:
        until = queued.job.not_before()
        if until is None or until <= now + TIMER_SLACK:
            return True
        credential = queued.tenant.owner
        if until == math.inf:
            # In a slot, the job's timeout would run, and other jobs would lack the slot.
            self._holds[credential] = queued.job.call_when_free(partial(self._set_free, credential))
            credential.is_on_hold = True
        elif self.heeds_quota:
            self._park(credential, until)
        else:
            return True
        self._update_key(credential)
        return False

    def _set_free(self, credential: CredentialGroup[V]) -> None:
        self._end_hold(credential)
        self._on_free()

    def _end_hold(self, credential: CredentialGroup[V]) -> None:
        credential.is_on_hold = False
        del self._holds[credential]
        self._update_key(credential)

    def _start(self, queued: QueuedJob[V]) -> None:
        """Start the first job of its tenant, and end the turn of tenant, credential and host."""
        tenant = queued.tenant
        credential = tenant.owner
        host = credential.host
        tenant.remove(queued)
        self.held -= 1
        credential.waiting -= 1
        tenant.in_flight += 1
        credential.in_flight += 1
        host.in_flight += 1
        credential.remove(tenant)
        host.remove(credential)
        self._registry.ready_hosts.remove(host)
        tenant.is_queued = credential.is_queued = host.is_queued = False
        self._update(tenant)

    def _update(self, tenant: TenantGroup[V]) -> None:
        """Update the membership of a tenant and its parents in their queues."""
        if tenant.first is not None or tenant.is_queued:
            requeue(tenant.owner, tenant)
        self._update_key(tenant.owner)

    def _update_key(self, credential: CredentialGroup[V]) -> None:
        host = credential.host
        if credential.first is not None or credential.is_queued:
            requeue(host, credential)
        if host.first is not None or host.is_queued:
            requeue(self._registry.ready_hosts, host)

    def _count_waiting(self, credential: CredentialGroup[V]) -> None:
        self.held += 1
        credential.waiting += 1
        if credential.parked_until is not None:
            self.parked += 1

    def _park(self, credential: CredentialGroup[V], until: float) -> None:
        if credential.parked_until is None:
            self.parked += credential.waiting
        self._parked.push(credential, until)
