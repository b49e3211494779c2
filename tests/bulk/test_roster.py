"""Whose jobs are in hand, and who is forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from ringme_async.bulk.adaptive_limit import Limit
from ringme_async.bulk.groups import Roster, Ticket
from tests.bulk.scripted_job import ScriptedJob, World


def roster_of(slots: int = 64, per_tenant: int | None = None) -> Roster[Any]:
    """Make a roster where the first letter of a credential is its host."""
    return Roster(Limit(slots), per_tenant, lambda name: str(name)[0])


def ticket(key: str, tenant: str = "one") -> Ticket[Any]:
    return Ticket(0, 12, ScriptedJob(World(), 12, [1.0], quota_key=key, tenant_key=tenant))


def names(roster: Roster[Any]) -> tuple[list[Any], list[Any]]:
    """Give the hosts and the credentials that are known."""
    return [host.key for host in roster.hosts()], [key.key for key in roster.credentials()]


def members(roster: Roster[Any]) -> tuple[int, list[int]]:
    return roster.line.members, [host.members for host in roster.hosts()]


@pytest.mark.parametrize(
    ("slots", "per_tenant", "most"),
    [(64, None, 8), (15, None, 1), (16, None, 2), (3, None, 1), (64, 3, 3), (1, 1, 1)],
)
def test_a_tenant_may_have_an_eighth_of_the_slots_unless_it_is_told(
    slots: int, per_tenant: int | None, most: int
) -> None:
    assert roster_of(slots, per_tenant).enter(ticket("a1")).most == most


def test_a_job_is_counted_with_its_tenant_which_leaves_with_the_last() -> None:
    roster = roster_of()
    first, second = ticket("a1"), ticket("a1")
    tenant = roster.enter(first)
    assert roster.enter(second) is tenant
    other = roster.enter(ticket("a1", "two"))
    neighbour = roster.enter(ticket("a2"))

    assert first.tenant is second.tenant is tenant
    assert roster.tenants() == [tenant, other, neighbour]
    assert (tenant.key, tenant.owner.key, tenant.owner.host.key) == ("one", "a1", "a")
    assert neighbour.owner.host is tenant.owner.host
    assert [share.in_hand for share in (tenant, other, neighbour)] == [2, 1, 1]

    for leaver in (tenant, tenant, other):
        roster.leave(leaver)

    assert roster.tenants() == [neighbour]
    assert [share.in_hand for share in (tenant, other, neighbour)] == [0, 0, 1]


def test_neighbours_are_those_that_have_jobs_in_hand() -> None:
    roster = roster_of()
    one = roster.enter(ticket("a1"))
    roster.enter(ticket("a1"))
    assert members(roster) == (1, [1])

    two, three = roster.enter(ticket("a2")), roster.enter(ticket("b1"))
    assert members(roster) == (2, [2, 1])

    roster.leave(one)
    assert members(roster) == (2, [2, 1])
    roster.leave(one)
    assert members(roster) == (2, [1, 1])
    roster.leave(three)
    assert members(roster)[0] == 1
    roster.leave(two)
    assert roster.line.members == 0


def test_the_last_credential_is_kept_with_what_it_has_earned_until_another_is_idle() -> None:
    roster = roster_of()
    tenant = roster.enter(ticket("a1"))
    roster.leave(tenant)
    assert names(roster) == (["a"], ["a1"])

    again = roster.enter(ticket("a1"))
    assert again is not tenant
    assert again.owner is tenant.owner
    roster.leave(again)
    assert names(roster) == (["a"], ["a1"])

    roster.leave(roster.enter(ticket("a2")))
    assert names(roster) == (["a"], ["a2"])
    roster.leave(roster.enter(ticket("b1")))
    assert names(roster) == (["b"], ["b1"])


def test_a_credential_that_has_jobs_again_is_not_forgotten() -> None:
    roster = roster_of()
    busy = roster.enter(ticket("a1"))
    roster.leave(busy)
    busy = roster.enter(ticket("a1"))

    roster.leave(roster.enter(ticket("b1")))

    assert names(roster) == (["a", "b"], ["a1", "b1"])
    roster.leave(busy)
    assert names(roster) == (["a"], ["a1"])


def test_a_host_stays_as_long_as_one_of_its_credentials_has_jobs() -> None:
    roster = roster_of()
    roster.leave(roster.enter(ticket("a1")))
    busy = roster.enter(ticket("a2"))

    roster.leave(roster.enter(ticket("b1")))

    assert names(roster) == (["a", "b"], ["a2", "b1"])
    assert busy.owner.host is next(iter(roster.hosts()))


def test_one_that_was_forgotten_starts_anew() -> None:
    roster = roster_of()
    tenant = roster.enter(ticket("a1"))
    roster.leave(tenant)
    roster.leave(roster.enter(ticket("b1")))

    again = roster.enter(ticket("a1"))

    assert again.owner is not tenant.owner
    assert again.owner in roster.credentials()
    assert members(roster) == (1, [0, 1])


def test_one_that_was_forgotten_although_it_came_last_starts_anew_too() -> None:
    roster = roster_of()
    first, last = roster.enter(ticket("b1")), roster.enter(ticket("a1"))
    roster.leave(last)
    roster.leave(first)

    again = roster.enter(ticket("a1"))

    assert again.owner is not last.owner
    assert again.owner in roster.credentials()


def test_one_that_is_known_is_found_again_after_others_and_shares_the_slots() -> None:
    roster = roster_of()
    tenant = roster.enter(ticket("a1"))
    roster.enter(ticket("b1"))

    assert roster.enter(ticket("a1")) is tenant
    assert tenant.owner.limit is tenant.owner.host.limit is roster.limit
    assert tenant.owner.host.hosts is roster.line


def test_of_very_many_hosts_those_that_came_last_are_known() -> None:
    roster = Roster[Any](Limit(4), None, lambda name: name)

    def visit(host: int) -> object:
        ticket = Ticket[Any](host, host, ScriptedJob(World(), host, [1.0], quota_key=host))
        tenant = roster.enter(ticket)
        roster.leave(tenant)
        return tenant.owner.host.breaker

    breakers = [visit(host) for host in range(5_000)]

    assert visit(4_999) is breakers[4_999]
    assert visit(2_000) is breakers[2_000]
    assert visit(0) is not breakers[0]
