"""Whose jobs are in hand: hosts, their credentials, and their tenants.

Whoever has none any more is forgotten, so that a run of any length has only those in memory that it
is about.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Final, Generic, TypeVar

from attrs import define, field

from ringme_async.bulk.circuit_breaker import CircuitBreaker
from ringme_async.bulk.failure_row import FailureRow
from ringme_async.bulk.limit import Limit
from ringme_async.bulk.share import Hosts, HostShare, KeyShare, TenantShare
from ringme_async.bulk.ticket import Ticket

__all__ = ["Roster"]

V = TypeVar("V")

_MOST_BREAKERS: Final = 4096


@define(eq=False)
class Roster(Generic[V]):
    """The shares of all that have jobs in hand.

    Args:
        limit: How many jobs may be in flight in all.
        per_tenant: How many of one tenant; None: an eighth of the slots.
        host_of: Which host a quota key belongs to.

    Attributes:
        line: The hosts that can start a job.
        network: The failures in a row of all hosts.
    """

    limit: Limit
    per_tenant: int | None
    host_of: Callable[[Hashable], Hashable]
    line: Hosts[V] = field(factory=Hosts[V], init=False)
    network: FailureRow = field(factory=FailureRow, init=False)
    # A host that comes again is known: it has answered, or it is down.
    _breakers: dict[Hashable, CircuitBreaker[Ticket[V]]] = field(
        factory=dict[Hashable, CircuitBreaker[Ticket[V]]], init=False
    )
    _hosts: dict[Hashable, HostShare[V]] = field(factory=dict[Hashable, HostShare[V]], init=False)
    _keys: dict[Hashable, KeyShare[V]] = field(factory=dict[Hashable, KeyShare[V]], init=False)
    # Looked at first: in most runs it is always the same.
    _latest: KeyShare[V] | None = field(default=None, init=False)
    # Not forgotten yet: a run of one credential needs it again at once, with all that it has earned.
    _last_idle: KeyShare[V] | None = field(default=None, init=False)

    def hosts(self) -> Iterable[HostShare[V]]:
        """Give all hosts."""
        return self._hosts.values()

    def credentials(self) -> Iterable[KeyShare[V]]:
        """Give all credentials."""
        return self._keys.values()

    def tenants(self) -> list[TenantShare[V]]:
        """Give all tenants; they may leave meanwhile."""
        return [tenant for key in self._keys.values() for tenant in key.tenants.values()]

    def enter(self, ticket: Ticket[V]) -> TenantShare[V]:
        """Count a job in, and give the share of its tenant."""
        job = ticket.job
        key = self._key(job.quota_key)
        tenant_key = job.tenant_key
        tenant = key.tenants.get(tenant_key)
        if tenant is None:
            if not key.tenants:
                self._count_in(key)
            most = self.per_tenant or self.limit.for_one_tenant
            tenant = key.tenants[tenant_key] = TenantShare(tenant_key, key, most)
        ticket.tenant = tenant
        tenant.in_hand += 1
        return tenant

    def leave(self, tenant: TenantShare[V]) -> None:
        """Count a job of a tenant out."""
        tenant.in_hand -= 1
        if tenant.in_hand:
            return
        key = tenant.owner
        del key.tenants[tenant.key]
        if not key.tenants:
            self._count_out(key)
            self._let_idle(key)

    def _count_in(self, key: KeyShare[V]) -> None:
        host = key.host
        if not host.members:
            self.line.members += 1
        host.members += 1
        host.credentials[key] = None

    def _count_out(self, key: KeyShare[V]) -> None:
        host = key.host
        del host.credentials[key]
        host.members -= 1
        if not host.members:
            self.line.members -= 1

    def _key(self, name: Hashable) -> KeyShare[V]:
        key = self._latest
        if key is not None and key.key is name:
            return key
        key = self._keys.get(name)
        if key is None:
            host_name = self.host_of(name)
            host = self._hosts.get(host_name)
            if host is None:
                breaker = self._breaker(host_name)
                host = HostShare(host_name, self.limit, self.line, breaker)
                self._hosts[host_name] = host
            key = self._keys[name] = KeyShare(name, self.limit, host)
        self._latest = key
        return key

    def _breaker(self, host_name: Hashable) -> CircuitBreaker[Ticket[V]]:
        breaker = self._breakers.pop(host_name, None)
        if breaker is None:
            breaker = CircuitBreaker[Ticket[V]](self.network)
            if len(self._breakers) >= _MOST_BREAKERS:
                oldest = next(iter(self._breakers))
                del self._breakers[oldest]
        self._breakers[host_name] = breaker
        return breaker

    def _let_idle(self, key: KeyShare[V]) -> None:
        """Forget the credential that was idle before this one, if it still is, and so its host."""
        last, self._last_idle = self._last_idle, key
        if last is None or last is key or last.tenants:
            return
        del self._keys[last.key]
        if last is self._latest:
            self._latest = None
        if last.host is not key.host and not last.host.members:
            del self._hosts[last.host.key]
