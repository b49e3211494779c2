"""How many jobs each host, credential and tenant may have in flight.

A host queues its credentials, a credential its tenants, and a tenant its jobs. A queue holds only
members that can start a job now.

Each group starts with a small allowance: a group that does not answer must not fill all slots. A
definite answer raises the allowance by one, so it doubles with each round trip. The first answer of
a group without neighbours raises it to all slots.

A job without an answer halves the allowance of its tenant. It halves that of the credential, and of
the host, only if two of its members failed in a row: one dead tenant must not slow its neighbours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final, Generic, TypeVar

from attrs import define, field

from ringme_async.bulk.adaptive_limit import CapacityLimit
from ringme_async.bulk.circuit_breaker import CircuitBreaker
from ringme_async.bulk.failure_row import FailureRow
from ringme_async.bulk.feedback import Feedback
from ringme_async.bulk.job import Job
from ringme_async.bulk.linked_queue import LinkedItem, LinkedQueue
from ringme_async.bulk.outcome import Failed
from ringme_async.tenant import Who

__all__ = [
    "CredentialGroup",
    "Group",
    "GroupRegistry",
    "HostGroup",
    "HostQueue",
    "QueuedJob",
    "TenantGroup",
    "requeue",
]

V = TypeVar("V")


@define(eq=False)
class QueuedJob(LinkedItem, Generic[V]):
    """A job, its tenant, and its place in the input.

    Attributes:
        tenant: The group of its tenant; set when the job is queued.
        is_probe: Whether it is a witness's probe, which has no outcome.
        failure: The failure that is held, while its host may be down.
        abandoned: Whether the run's deadline cancelled it.
    """

    index: int
    who: Who
    job: Job[V]
    tenant: TenantGroup[V] = field(init=False, repr=False)
    is_probe: bool = field(default=False, kw_only=True)
    failure: Failed | None = field(default=None, init=False, repr=False)
    abandoned: bool = field(default=False, init=False)


L = TypeVar("L", bound=LinkedItem)

# Two, so that a first tenant that does not answer cannot block its whole credential.
_FIRST_ALLOWANCE: Final = 2
_NONE_YET: Final = object()
# Before Python 3.12 each access to an Enum's member calls a method.
_SUCCESS: Final = Feedback.SUCCESS


@define(eq=False)
class Group(LinkedQueue[L], ABC):
    """A group of jobs that share an allowance.

    Attributes:
        allowance: How many jobs it may have in flight, by what was learned of it.
        in_flight: How many jobs it has in flight.
        is_queued: Whether it is in its parent's queue.
    """

    key: Hashable
    allowance: int = field(default=_FIRST_ALLOWANCE, init=False)
    in_flight: int = field(default=0, init=False)
    is_queued: bool = field(default=False, init=False)

    @abstractmethod
    def can_start(self) -> bool:
        """Whether it has a job that may start now."""


S = TypeVar("S", bound=Group[Any])


def requeue(queue: LinkedQueue[S], group: S) -> None:
    """Put a group at the end of a queue, keep it there, or remove it: by whether it can start."""
    can_start = group.can_start()
    if can_start is not group.is_queued:
        group.is_queued = can_start
        if can_start:
            queue.push(group)
        else:
            queue.remove(group)


@define(eq=False)
class TenantGroup(Group[QueuedJob[V]]):
    """The jobs of one tenant; they start in input order.

    Attributes:
        unfinished: How many jobs it has in flight, parked and waiting; at 0 the group is dropped.
    """

    owner: CredentialGroup[V]
    most: int
    unfinished: int = field(default=0, init=False)
    # One, as other tenants can use the slots until the tenant's first answer.
    allowance: int = field(default=1, init=False)

    @property
    def name(self) -> Hashable:
        """Its name, unique in the run; two credentials may have tenants of one key."""
        return (self.owner.key, self.key)

    def can_start(self) -> bool:
        """Whether a job waits, and the allowance is not used up."""
        return self.first is not None and self.in_flight < self.allowance

    def reinsert(self, queued: QueuedJob[V]) -> None:
        """Queue a job that was started before, at its old place."""
        # Only jobs that were started before have a smaller index, so the scan is short.
        behind = self.first
        while behind is not None and behind.index < queued.index:
            behind = behind.behind
        self.insert(queued, behind)

    def learn(self, feedback: Feedback, *, slow: bool) -> None:
        """Adjust the allowance by how a job ended."""
        if slow or feedback is Feedback.OVERLOAD:
            self.allowance = max(1, self.allowance // 2)
        elif feedback is _SUCCESS and self.allowance < self.most:
            self.allowance += 1


@define(eq=False)
class _ParentGroup(Group[L], ABC):
    """A group whose members are groups."""

    limit: CapacityLimit
    allowance: int = field(default=_FIRST_ALLOWANCE, init=False)
    _is_new: bool = field(default=True, init=False)
    _last_failed: Hashable = field(default=_NONE_YET, init=False)
    _silent_checks: int = field(default=0, init=False)

    @abstractmethod
    def is_alone(self) -> bool:
        """Whether it has no neighbours."""

    def has_room(self) -> bool:
        """Whether the allowance is not used up.

        A group with neighbours leaves them an eighth of the slots.
        """
        if self.in_flight >= self.allowance:
            return False
        limit = self.limit
        return self.in_flight < limit.for_one_of_many or (
            self.in_flight < limit.value and self.is_alone()
        )

    def learn(self, feedback: Feedback, member: Hashable, *, slow: bool) -> None:
        """Adjust the allowance by how a job of a member ended."""
        self._silent_checks = 0
        if feedback is _SUCCESS:
            if not slow:
                self._last_failed = _NONE_YET
                if self._is_new and self.is_alone():
                    self.allowance = max(self.allowance, self.limit.value)
                elif self.allowance < self.limit.value:
                    self.allowance += 1
        elif feedback is Feedback.OVERLOAD:
            if self._last_failed is not _NONE_YET and self._last_failed != member:
                self.allowance = max(1, self.allowance // 2)
            self._last_failed = member
        self._is_new = False

    def extend_if_silent(self) -> None:
        """Once a second, raise the allowance by one if no job has ended since the last check.

        The jobs in flight may be the ones that do not answer. In a long silence, the allowance
        rises at checks 1, 2, 4, 8 and so on.
        """
        if self.first is not None and not self.has_room():
            self._silent_checks += 1
            if self._silent_checks & (self._silent_checks - 1) == 0:
                self.allowance += 1


@define(eq=False)
class CredentialGroup(_ParentGroup[TenantGroup[V]]):
    """The jobs of one credential, and whether its quota lets them run.

    Attributes:
        tenants: Its tenants that have unfinished jobs; without any it is idle.
        waiting: How many of its jobs are parked or waiting.
        parked_until: When its quota lets its jobs run again; None if it is not parked.
        is_on_hold: Whether its next job waits for an answer that tells what is left of the quota.
    """

    host: HostGroup[V]
    tenants: dict[Hashable, TenantGroup[V]] = field(
        factory=dict[Hashable, TenantGroup[V]], init=False, repr=False
    )
    waiting: int = field(default=0, init=False)
    parked_until: float | None = field(default=None, init=False)
    is_on_hold: bool = field(default=False, init=False)

    def is_alone(self) -> bool:
        """Whether no other credential of its host has unfinished jobs."""
        return self.host.members == 1

    def can_start(self) -> bool:
        """Whether one of its tenants can start a job, and its quota and allowance permit it."""
        return (
            self.first is not None
            and self.parked_until is None
            and not self.is_on_hold
            and self.has_room()
        )


@define(eq=False)
class HostGroup(_ParentGroup[CredentialGroup[V]]):
    """The jobs of one host.

    Attributes:
        members: How many of its credentials have unfinished jobs; at 0 it is idle.
        credentials: These credentials.
        breaker: Its circuit breaker, which outlives this group.
    """

    hosts: HostQueue[V]
    breaker: CircuitBreaker[QueuedJob[V]] = field(factory=CircuitBreaker[QueuedJob[V]])
    members: int = field(default=0, init=False)
    credentials: dict[CredentialGroup[V], None] = field(
        factory=dict["CredentialGroup[V]", None], init=False, repr=False
    )

    def is_alone(self) -> bool:
        """Whether no other host has unfinished jobs."""
        return self.hosts.members == 1

    def can_start(self) -> bool:
        """Whether one of its credentials can start a job, and breaker and allowance permit it."""
        return self.first is not None and not self.breaker.is_stopping and self.has_room()


@define(eq=False)
class HostQueue(LinkedQueue[HostGroup[V]]):
    """The hosts that can start a job.

    Attributes:
        members: How many hosts have unfinished jobs.
    """

    members: int = field(default=0, init=False)


_MOST_BREAKERS: Final = 4096


@define(eq=False)
class GroupRegistry(Generic[V]):
    """The groups of all unfinished jobs.

    Args:
        limit: How many jobs may be in flight in all.
        per_tenant: How many of one tenant; None: an eighth of the slots.
        host_of: Which host a quota key belongs to.

    Attributes:
        ready_hosts: The hosts that can start a job.
        network: The failures in a row of all hosts.
    """

    limit: CapacityLimit
    per_tenant: int | None
    host_of: Callable[[Hashable], Hashable]
    ready_hosts: HostQueue[V] = field(factory=HostQueue[V], init=False)
    network: FailureRow = field(factory=FailureRow, init=False)
    # Kept when a host is dropped: it has answered, or it is down, and the run must not forget
    # that.
    _breakers: dict[Hashable, CircuitBreaker[QueuedJob[V]]] = field(
        factory=dict[Hashable, CircuitBreaker[QueuedJob[V]]], init=False
    )
    _hosts: dict[Hashable, HostGroup[V]] = field(factory=dict[Hashable, HostGroup[V]], init=False)
    _credentials: dict[Hashable, CredentialGroup[V]] = field(
        factory=dict[Hashable, CredentialGroup[V]], init=False
    )
    # Checked first: in most runs it is always the same.
    _latest: CredentialGroup[V] | None = field(default=None, init=False)
    # Kept for a while: a run of one credential needs it again at once, with the allowance it
    # earned.
    _last_idle: CredentialGroup[V] | None = field(default=None, init=False)

    def hosts(self) -> Iterable[HostGroup[V]]:
        """Return all hosts."""
        return self._hosts.values()

    def credentials(self) -> Iterable[CredentialGroup[V]]:
        """Return all credentials."""
        return self._credentials.values()

    def tenants(self) -> list[TenantGroup[V]]:
        """Return a copy of the list of all tenants, which may shrink meanwhile."""
        return [
            tenant
            for credential in self._credentials.values()
            for tenant in credential.tenants.values()
        ]

    def enter(self, queued: QueuedJob[V]) -> TenantGroup[V]:
        """Count a job as unfinished, and return the group of its tenant."""
        job = queued.job
        credential = self._credential(job.quota_key)
        tenant_key = job.tenant_key
        tenant = credential.tenants.get(tenant_key)
        if tenant is None:
            if not credential.tenants:
                self._activate(credential)
            most = self.per_tenant or self.limit.for_one_tenant
            tenant = credential.tenants[tenant_key] = TenantGroup(tenant_key, credential, most)
        queued.tenant = tenant
        tenant.unfinished += 1
        return tenant

    def leave(self, tenant: TenantGroup[V]) -> None:
        """Count a job of a tenant as finished."""
        tenant.unfinished -= 1
        if tenant.unfinished:
            return
        credential = tenant.owner
        del credential.tenants[tenant.key]
        if not credential.tenants:
            self._deactivate(credential)
            self._forget_idle(credential)

    def _activate(self, credential: CredentialGroup[V]) -> None:
        host = credential.host
        if not host.members:
            self.ready_hosts.members += 1
        host.members += 1
        host.credentials[credential] = None

    def _deactivate(self, credential: CredentialGroup[V]) -> None:
        host = credential.host
        del host.credentials[credential]
        host.members -= 1
        if not host.members:
            self.ready_hosts.members -= 1

    def _credential(self, name: Hashable) -> CredentialGroup[V]:
        credential = self._latest
        if credential is not None and credential.key is name:
            return credential
        credential = self._credentials.get(name)
        if credential is None:
            host_name = self.host_of(name)
            host = self._hosts.get(host_name)
            if host is None:
                breaker = self._breaker(host_name)
                host = HostGroup(host_name, self.limit, self.ready_hosts, breaker)
                self._hosts[host_name] = host
            credential = self._credentials[name] = CredentialGroup(name, self.limit, host)
        self._latest = credential
        return credential

    def _breaker(self, host_name: Hashable) -> CircuitBreaker[QueuedJob[V]]:
        breaker = self._breakers.pop(host_name, None)
        if breaker is None:
            breaker = CircuitBreaker[QueuedJob[V]](self.network)
            if len(self._breakers) >= _MOST_BREAKERS:
                oldest = next(iter(self._breakers))
                del self._breakers[oldest]
        self._breakers[host_name] = breaker
        return breaker

    def _forget_idle(self, credential: CredentialGroup[V]) -> None:
        """Drop the credential that became idle before this one, and its host, if still idle."""
        last, self._last_idle = self._last_idle, credential
        if last is None or last is credential or last.tenants:
            return
        del self._credentials[last.key]
        if last is self._latest:
            self._latest = None
        if last.host is not credential.host and not last.host.members:
            del self._hosts[last.host.key]
