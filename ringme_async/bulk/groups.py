"""What one host, one credential and one tenant may have in flight.

A host is a line of credentials, a credential one of tenants, and a tenant one of jobs: in each
stand those that can start now.

Each starts small and earns more: it is not known of anybody at the start whether he answers, and
whoever does not must not be found in all the slots. An answer lets one more go, so that the number
doubles with each round trip; the very first lets all go, if there is nobody else to keep slots for.
No answer halves it. The blame for that goes up, from a tenant to its credential and on to the host,
only if two of its members failed in a row, with nothing good in between: one dead tenant must not slow
its neighbours.
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
    """A job, whom it is for, and its place in the input.

    Attributes:
        tenant: The share that it is counted in; set when it is scheduled.
        is_probe: Whether it only asks if a host is there, and has no outcome.
        failure: How it failed when its host seemed to be down.
        abandoned: Whether its job was cancelled at the run's deadline.
    """

    index: int
    who: Who
    job: Job[V]
    tenant: TenantGroup[V] = field(init=False, repr=False)
    is_probe: bool = field(default=False, kw_only=True)
    failure: Failed | None = field(default=None, init=False, repr=False)
    abandoned: bool = field(default=False, init=False)


L = TypeVar("L", bound=LinkedItem)

# Two, so that a tenant that does not answer cannot hold up its whole credential by coming first.
_FIRST_ALLOWANCE: Final = 2
_NOBODY: Final = object()
# Before Python 3.12 each look at a member of an Enum goes through a method.
_SUCCESS: Final = Feedback.SUCCESS


@define(eq=False)
class Group(LinkedQueue[L], ABC):
    """A part of the slots, and what of it is taken.

    Attributes:
        allowance: How many jobs it may have in flight by what was learned of it.
        in_flight: How many it has.
        is_queued: Whether it stands in the line of those that can start a job.
    """

    key: Hashable
    allowance: int = field(default=_FIRST_ALLOWANCE, init=False)
    in_flight: int = field(default=0, init=False)
    is_queued: bool = field(default=False, init=False)

    @abstractmethod
    def can_start(self) -> bool:
        """Whether it has a job that may start now."""


S = TypeVar("S", bound=Group[Any])


def requeue(line: LinkedQueue[S], share: S) -> None:
    """Let a share join a line at its end, stay in it or leave it."""
    can_start = share.can_start()
    if can_start is not share.is_queued:
        share.is_queued = can_start
        if can_start:
            line.push(share)
        else:
            line.remove(share)


@define(eq=False)
class TenantGroup(Group[QueuedJob[V]]):
    """The share of one tenant; its jobs start in input order.

    Attributes:
        in_hand: How many jobs it has in flight, parked and waiting; at 0 it is forgotten.
    """

    owner: CredentialGroup[V]
    most: int
    in_hand: int = field(default=0, init=False)
    # Nothing is lost by waiting for a tenant's first answer: there are others.
    allowance: int = field(default=1, init=False)

    @property
    def name(self) -> Hashable:
        """What tells it from the other tenants of its host; two credentials may have one key."""
        return (self.owner.key, self.key)

    def can_start(self) -> bool:
        """Whether a job waits, and fewer are in flight than may be."""
        return self.first is not None and self.in_flight < self.allowance

    def put_back(self, queued: QueuedJob[V]) -> None:
        """Let a job that was started before wait again, in its old place."""
        # Only those that were put back before can stand in front of it.
        behind = self.first
        while behind is not None and behind.index < queued.index:
            behind = behind.behind
        self.insert(queued, behind)

    def learn(self, feedback: Feedback, *, slow: bool) -> None:
        """Take in how a job of it ended."""
        if slow or feedback is Feedback.OVERLOAD:
            self.allowance = max(1, self.allowance // 2)
        elif feedback is _SUCCESS and self.allowance < self.most:
            self.allowance += 1


@define(eq=False)
class _ParentGroup(Group[L], ABC):
    """A share whose members have shares of their own."""

    limit: CapacityLimit
    allowance: int = field(default=_FIRST_ALLOWANCE, init=False)
    _is_new: bool = field(default=True, init=False)
    _blamed: Hashable = field(default=_NOBODY, init=False)
    _silent_looks: int = field(default=0, init=False)

    @abstractmethod
    def is_alone(self) -> bool:
        """Whether it has no neighbours."""

    def has_room(self) -> bool:
        """Whether fewer jobs are in flight than may be.

        As soon as it has neighbours, an eighth of the slots is kept free of it for them.
        """
        if self.in_flight >= self.allowance:
            return False
        limit = self.limit
        return self.in_flight < limit.for_one_of_many or (
            self.in_flight < limit.value and self.is_alone()
        )

    def learn(self, feedback: Feedback, member: Hashable, *, slow: bool) -> None:
        """Take in how a job of one of its members ended."""
        self._silent_looks = 0
        if feedback is _SUCCESS:
            if not slow:
                self._blamed = _NOBODY
                if self._is_new and self.is_alone():
                    self.allowance = max(self.allowance, self.limit.value)
                elif self.allowance < self.limit.value:
                    self.allowance += 1
        elif feedback is Feedback.OVERLOAD:
            if self._blamed is not _NOBODY and self._blamed != member:
                self.allowance = max(1, self.allowance // 2)
            self._blamed = member
        self._is_new = False

    def relax(self) -> None:
        """Let one more go if nothing came back since the last look.

        Those that went first may be the ones that do not answer. Of a long silence, only looks
        1, 2, 4, 8 and so on count.
        """
        if self.first is not None and not self.has_room():
            self._silent_looks += 1
            if self._silent_looks & (self._silent_looks - 1) == 0:
                self.allowance += 1


@define(eq=False)
class CredentialGroup(_ParentGroup[TenantGroup[V]]):
    """The share of one credential, and whether its quota lets it run.

    Attributes:
        tenants: Those of its tenants that have jobs in hand; without any it is idle.
        waiting: How many of its jobs are parked or waiting.
        parked_until: The moment before which none of them can run, if there is one.
        is_on_hold: Whether its next job depends on others of it that are in flight.
    """

    host: HostGroup[V]
    tenants: dict[Hashable, TenantGroup[V]] = field(
        factory=dict[Hashable, TenantGroup[V]], init=False, repr=False
    )
    waiting: int = field(default=0, init=False)
    parked_until: float | None = field(default=None, init=False)
    is_on_hold: bool = field(default=False, init=False)

    def is_alone(self) -> bool:
        """Whether it is the only credential in hand on its host."""
        return self.host.members == 1

    def can_start(self) -> bool:
        """Whether one of its tenants can start a job, and its quota and its share allow it."""
        return (
            self.first is not None
            and self.parked_until is None
            and not self.is_on_hold
            and self.has_room()
        )


@define(eq=False)
class HostGroup(_ParentGroup[CredentialGroup[V]]):
    """The share of one host.

    Attributes:
        members: How many of its credentials have jobs in hand; at 0 it is idle.
        credentials: These credentials.
        breaker: Whether it is down; it outlives this share.
    """

    hosts: HostQueue[V]
    breaker: CircuitBreaker[QueuedJob[V]] = field(factory=CircuitBreaker[QueuedJob[V]])
    members: int = field(default=0, init=False)
    credentials: dict[CredentialGroup[V], None] = field(
        factory=dict["CredentialGroup[V]", None], init=False, repr=False
    )

    def is_alone(self) -> bool:
        """Whether it is the only host in hand."""
        return self.hosts.members == 1

    def can_start(self) -> bool:
        """Whether one of its credentials can start a job, it is not down, and it has room."""
        return self.first is not None and not self.breaker.is_stopping and self.has_room()


@define(eq=False)
class HostQueue(LinkedQueue[HostGroup[V]]):
    """All hosts.

    Attributes:
        members: How many of them are in hand.
    """

    members: int = field(default=0, init=False)


_MOST_BREAKERS: Final = 4096


@define(eq=False)
class GroupRegistry(Generic[V]):
    """The shares of all that have jobs in hand.

    Args:
        limit: How many jobs may be in flight in all.
        per_tenant: How many of one tenant; None: an eighth of the slots.
        host_of: Which host a quota key belongs to.

    Attributes:
        line: The hosts that can start a job.
        network: The failures in a row of all hosts.
    """

    limit: CapacityLimit
    per_tenant: int | None
    host_of: Callable[[Hashable], Hashable]
    line: HostQueue[V] = field(factory=HostQueue[V], init=False)
    network: FailureRow = field(factory=FailureRow, init=False)
    # A host that comes again is known: it has answered, or it is down.
    _breakers: dict[Hashable, CircuitBreaker[QueuedJob[V]]] = field(
        factory=dict[Hashable, CircuitBreaker[QueuedJob[V]]], init=False
    )
    _hosts: dict[Hashable, HostGroup[V]] = field(factory=dict[Hashable, HostGroup[V]], init=False)
    _keys: dict[Hashable, CredentialGroup[V]] = field(
        factory=dict[Hashable, CredentialGroup[V]], init=False
    )
    # Looked at first: in most runs it is always the same.
    _latest: CredentialGroup[V] | None = field(default=None, init=False)
    # Not forgotten yet: a run of one credential needs it again at once, with all that it has earned.
    _last_idle: CredentialGroup[V] | None = field(default=None, init=False)

    def hosts(self) -> Iterable[HostGroup[V]]:
        """Give all hosts."""
        return self._hosts.values()

    def credentials(self) -> Iterable[CredentialGroup[V]]:
        """Give all credentials."""
        return self._keys.values()

    def tenants(self) -> list[TenantGroup[V]]:
        """Give all tenants; they may leave meanwhile."""
        return [tenant for key in self._keys.values() for tenant in key.tenants.values()]

    def enter(self, queued: QueuedJob[V]) -> TenantGroup[V]:
        """Count a job in, and give the share of its tenant."""
        job = queued.job
        key = self._key(job.quota_key)
        tenant_key = job.tenant_key
        tenant = key.tenants.get(tenant_key)
        if tenant is None:
            if not key.tenants:
                self._count_in(key)
            most = self.per_tenant or self.limit.for_one_tenant
            tenant = key.tenants[tenant_key] = TenantGroup(tenant_key, key, most)
        queued.tenant = tenant
        tenant.in_hand += 1
        return tenant

    def leave(self, tenant: TenantGroup[V]) -> None:
        """Count a job of a tenant out."""
        tenant.in_hand -= 1
        if tenant.in_hand:
            return
        key = tenant.owner
        del key.tenants[tenant.key]
        if not key.tenants:
            self._count_out(key)
            self._let_idle(key)

    def _count_in(self, key: CredentialGroup[V]) -> None:
        host = key.host
        if not host.members:
            self.line.members += 1
        host.members += 1
        host.credentials[key] = None

    def _count_out(self, key: CredentialGroup[V]) -> None:
        host = key.host
        del host.credentials[key]
        host.members -= 1
        if not host.members:
            self.line.members -= 1

    def _key(self, name: Hashable) -> CredentialGroup[V]:
        key = self._latest
        if key is not None and key.key is name:
            return key
        key = self._keys.get(name)
        if key is None:
            host_name = self.host_of(name)
            host = self._hosts.get(host_name)
            if host is None:
                breaker = self._breaker(host_name)
                host = HostGroup(host_name, self.limit, self.line, breaker)
                self._hosts[host_name] = host
            key = self._keys[name] = CredentialGroup(name, self.limit, host)
        self._latest = key
        return key

    def _breaker(self, host_name: Hashable) -> CircuitBreaker[QueuedJob[V]]:
        breaker = self._breakers.pop(host_name, None)
        if breaker is None:
            breaker = CircuitBreaker[QueuedJob[V]](self.network)
            if len(self._breakers) >= _MOST_BREAKERS:
                oldest = next(iter(self._breakers))
                del self._breakers[oldest]
        self._breakers[host_name] = breaker
        return breaker

    def _let_idle(self, key: CredentialGroup[V]) -> None:
        """Forget the credential that was idle before this one, if it still is, and so its host."""
        last, self._last_idle = self._last_idle, key
        if last is None or last is key or last.tenants:
            return
        del self._keys[last.key]
        if last is self._latest:
            self._latest = None
        if last.host is not key.host and not last.host.members:
            del self._hosts[last.host.key]
