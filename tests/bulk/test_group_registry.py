"""Which groups have unfinished jobs, and which are dropped."""

from __future__ import annotations

from typing import Any

import pytest

from ringme_async.bulk.adaptive_limit import CapacityLimit
from ringme_async.bulk.groups import GroupRegistry, QueuedJob
from tests.bulk.scripted_job import ScriptedJob, World


def roster_of(slots: int = 64, per_tenant: int | None = None) -> GroupRegistry[Any]:
    """Make a roster where the first letter of a credential is its host."""
    return GroupRegistry(CapacityLimit(slots), per_tenant, lambda name: str(name)[0])


def queued(key: str, tenant: str = "one") -> QueuedJob[Any]:
    return QueuedJob(0, 12, ScriptedJob(World(), 12, [1.0], quota_key=key, tenant_key=tenant))


def names(registry: GroupRegistry[Any]) -> tuple[list[Any], list[Any]]:
    """Give the hosts and the credentials that are known."""
    return [host.key for host in registry.hosts()], [key.key for key in registry.credentials()]


def members(registry: GroupRegistry[Any]) -> tuple[int, list[int]]:
    return registry.ready_hosts.members, [host.members for host in registry.hosts()]


@pytest.mark.parametrize(
    ("slots", "per_tenant", "most"),
    [(64, None, 8), (15, None, 1), (16, None, 2), (3, None, 1), (64, 3, 3), (1, 1, 1)],
)
def test_a_tenant_may_have_an_eighth_of_the_slots_by_default(
    slots: int, per_tenant: int | None, most: int
) -> None:
    assert roster_of(slots, per_tenant).enter(queued("a1")).most == most


def test_a_tenant_leaves_with_its_last_job() -> None:
    registry = roster_of()
    first, second = queued("a1"), queued("a1")
    tenant = registry.enter(first)
    assert registry.enter(second) is tenant
    other = registry.enter(queued("a1", "two"))
    neighbour = registry.enter(queued("a2"))

    assert first.tenant is second.tenant is tenant
    assert registry.tenants() == [tenant, other, neighbour]
    assert (tenant.key, tenant.owner.key, tenant.owner.host.key) == ("one", "a1", "a")
    assert neighbour.owner.host is tenant.owner.host
    assert [share.unfinished for share in (tenant, other, neighbour)] == [2, 1, 1]

    for leaver in (tenant, tenant, other):
        registry.leave(leaver)

    assert registry.tenants() == [neighbour]
    assert [share.unfinished for share in (tenant, other, neighbour)] == [0, 0, 1]


def test_neighbours_are_groups_with_unfinished_jobs() -> None:
    registry = roster_of()
    one = registry.enter(queued("a1"))
    registry.enter(queued("a1"))
    assert members(registry) == (1, [1])

    two, three = registry.enter(queued("a2")), registry.enter(queued("b1"))
    assert members(registry) == (2, [2, 1])

    registry.leave(one)
    assert members(registry) == (2, [2, 1])
    registry.leave(one)
    assert members(registry) == (2, [1, 1])
    registry.leave(three)
    assert members(registry)[0] == 1
    registry.leave(two)
    assert registry.ready_hosts.members == 0


def test_the_last_credential_keeps_its_allowance_until_another_is_idle() -> None:
    registry = roster_of()
    tenant = registry.enter(queued("a1"))
    registry.leave(tenant)
    assert names(registry) == (["a"], ["a1"])

    again = registry.enter(queued("a1"))
    assert again is not tenant
    assert again.owner is tenant.owner
    registry.leave(again)
    assert names(registry) == (["a"], ["a1"])

    registry.leave(registry.enter(queued("a2")))
    assert names(registry) == (["a"], ["a2"])
    registry.leave(registry.enter(queued("b1")))
    assert names(registry) == (["b"], ["b1"])


def test_a_credential_that_has_jobs_again_is_not_dropped() -> None:
    registry = roster_of()
    busy = registry.enter(queued("a1"))
    registry.leave(busy)
    busy = registry.enter(queued("a1"))

    registry.leave(registry.enter(queued("b1")))

    assert names(registry) == (["a", "b"], ["a1", "b1"])
    registry.leave(busy)
    assert names(registry) == (["a"], ["a1"])


def test_a_host_stays_as_long_as_one_of_its_credentials_has_jobs() -> None:
    registry = roster_of()
    registry.leave(registry.enter(queued("a1")))
    busy = registry.enter(queued("a2"))

    registry.leave(registry.enter(queued("b1")))

    assert names(registry) == (["a", "b"], ["a2", "b1"])
    assert busy.owner.host is next(iter(registry.hosts()))


def test_a_dropped_credential_starts_anew() -> None:
    registry = roster_of()
    tenant = registry.enter(queued("a1"))
    registry.leave(tenant)
    registry.leave(registry.enter(queued("b1")))

    again = registry.enter(queued("a1"))

    assert again.owner is not tenant.owner
    assert again.owner in registry.credentials()
    assert members(registry) == (1, [0, 1])


def test_a_dropped_credential_starts_anew_even_if_it_came_last() -> None:
    registry = roster_of()
    first, last = registry.enter(queued("b1")), registry.enter(queued("a1"))
    registry.leave(last)
    registry.leave(first)

    again = registry.enter(queued("a1"))

    assert again.owner is not last.owner
    assert again.owner in registry.credentials()


def test_a_known_credential_is_found_again_after_others_and_shares_the_slots() -> None:
    registry = roster_of()
    tenant = registry.enter(queued("a1"))
    registry.enter(queued("b1"))

    assert registry.enter(queued("a1")) is tenant
    assert tenant.owner.limit is tenant.owner.host.limit is registry.limit
    assert tenant.owner.host.hosts is registry.ready_hosts


def test_of_very_many_hosts_the_latest_are_known() -> None:
    registry = GroupRegistry[Any](CapacityLimit(4), None, lambda name: name)

    def breaker_of(host: int) -> object:
        queued = QueuedJob[Any](host, host, ScriptedJob(World(), host, [1.0], quota_key=host))
        tenant = registry.enter(queued)
        registry.leave(tenant)
        return tenant.owner.host.breaker

    breakers = [breaker_of(host) for host in range(5_000)]

    assert breaker_of(4_999) is breakers[4_999]
    assert breaker_of(2_000) is breakers[2_000]
    assert breaker_of(0) is not breakers[0]
