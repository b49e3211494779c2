"""How many jobs a host, a credential and a tenant may have in flight, answer by answer."""

from __future__ import annotations

from typing import Any

import pytest

from ringme_async.bulk.adaptive_limit import CapacityLimit
from ringme_async.bulk.feedback import Feedback
from ringme_async.bulk.groups import (
    CredentialGroup,
    HostGroup,
    HostQueue,
    QueuedJob,
    TenantGroup,
    requeue,
)
from tests.bulk.scripted_job import ScriptedJob, World


def hosts(slots: int = 64) -> tuple[HostGroup[Any], CredentialGroup[Any], TenantGroup[Any]]:
    limit = CapacityLimit(slots)
    all_of_them = HostQueue[Any]()
    all_of_them.members = 1
    host = HostGroup[Any]("host", limit, all_of_them)
    host.members = 1
    key = CredentialGroup[Any]("dealer", limit, host)
    return host, key, TenantGroup[Any]("tenant", key, 4)


def queued(index: int) -> QueuedJob[Any]:
    return QueuedJob(index, index, ScriptedJob(World(), index, [1.0]))


class TestATenant:
    @pytest.mark.parametrize(
        ("feedback", "slow", "allowance"),
        [
            (Feedback.SUCCESS, False, 4),
            (Feedback.SUCCESS, True, 1),
            (Feedback.NEUTRAL, False, 3),
            (Feedback.NEUTRAL, True, 1),
            (Feedback.OVERLOAD, False, 1),
            (Feedback.OVERLOAD, True, 1),
        ],
    )
    def test_earns_a_slot_with_an_answer_and_loses_half_without(
        self, feedback: Feedback, slow: bool, allowance: int
    ) -> None:
        tenant = hosts()[2]
        tenant.allowance = 3

        tenant.learn(feedback, slow=slow)

        assert tenant.allowance == allowance

    def test_earns_no_more_than_per_tenant(self) -> None:
        tenant = hosts()[2]
        for _ in range(10):
            tenant.learn(Feedback.SUCCESS, slow=False)

        assert tenant.allowance == 4

    def test_loses_half_and_no_more(self) -> None:
        tenant = hosts()[2]
        tenant.allowance = 4
        tenant.learn(Feedback.OVERLOAD, slow=False)

        assert tenant.allowance == 2

    def test_keeps_one_slot_whatever_happens(self) -> None:
        tenant = hosts()[2]
        tenant.learn(Feedback.OVERLOAD, slow=True)

        assert tenant.allowance == 1

    def test_can_start_while_a_job_waits_and_its_allowance_is_not_used_up(self) -> None:
        tenant = hosts()[2]
        assert not tenant.can_start()
        tenant.push(queued(0))
        assert tenant.can_start()
        tenant.in_flight = 1
        assert not tenant.can_start()

    def test_queues_jobs_again_at_their_old_places(self) -> None:
        tenant = hosts()[2]
        tenant.push(queued(7))
        for index in (5, 3, 6, 4):
            tenant.reinsert(queued(index))

        order: list[int] = []
        while (first := tenant.first) is not None:
            order.append(first.index)
            tenant.remove(first)

        assert order == [3, 4, 5, 6, 7]


class TestACredential:
    @pytest.mark.parametrize(
        ("feedback", "slow", "allowance"),
        [
            (Feedback.SUCCESS, False, 9),
            (Feedback.SUCCESS, True, 8),
            (Feedback.NEUTRAL, False, 8),
            (Feedback.OVERLOAD, False, 8),
        ],
    )
    def test_earns_a_slot_with_a_quick_answer(
        self, feedback: Feedback, slow: bool, allowance: int
    ) -> None:
        host, key, _ = hosts()
        host.members = 2
        key.allowance = 8

        key.learn(feedback, "one", slow=slow)

        assert key.allowance == allowance

    def test_gets_all_slots_with_its_first_answer_if_it_has_no_neighbour(self) -> None:
        key = hosts()[1]

        key.learn(Feedback.SUCCESS, "one", slow=False)

        assert key.allowance == 64

    @pytest.mark.parametrize(
        ("feedback", "slow"),
        [(Feedback.SUCCESS, True), (Feedback.NEUTRAL, False), (Feedback.OVERLOAD, False)],
    )
    def test_earns_slots_one_by_one_if_its_first_job_got_no_answer(
        self, feedback: Feedback, slow: bool
    ) -> None:
        key = hosts()[1]

        key.learn(feedback, "one", slow=slow)
        key.learn(Feedback.SUCCESS, "one", slow=False)

        assert key.allowance == 3

    def test_keeps_its_allowance_if_slots_are_removed(self) -> None:
        key = hosts(slots=1)[1]

        key.learn(Feedback.SUCCESS, "one", slow=False)

        assert key.allowance == 2

    def test_earns_no_more_than_all_slots(self) -> None:
        host, key, _ = hosts(slots=8)
        host.members = 2
        for _ in range(10):
            key.learn(Feedback.SUCCESS, "one", slow=False)

        assert key.allowance == 8

    @pytest.mark.parametrize(
        ("failed", "allowance"),
        [
            (["one", "one", "one"], 9),
            (["one", "two"], 4),
            (["one", "two", "two"], 4),
            (["one", "two", "one"], 2),
            (["one", "two", "one", "two", "one"], 1),
        ],
    )
    def test_is_blamed_only_if_two_of_its_members_fail_in_a_row(
        self, failed: list[str], allowance: int
    ) -> None:
        key = hosts()[1]
        key.allowance = 9
        for member in failed:
            key.learn(Feedback.OVERLOAD, member, slow=False)

        assert key.allowance == allowance

    def test_is_not_blamed_if_an_answer_came_in_between(self) -> None:
        key = hosts()[1]
        key.allowance = 8
        key.learn(Feedback.OVERLOAD, "one", slow=False)
        key.learn(Feedback.SUCCESS, "two", slow=False)
        key.learn(Feedback.OVERLOAD, "three", slow=False)

        assert key.allowance == 9

    def test_is_still_blamed_after_a_slow_answer(self) -> None:
        key = hosts()[1]
        key.allowance = 8
        key.learn(Feedback.OVERLOAD, "one", slow=False)
        key.learn(Feedback.SUCCESS, "two", slow=True)
        key.learn(Feedback.OVERLOAD, "three", slow=False)

        assert key.allowance == 4

    def test_starts_one_more_at_checks_one_two_four_and_eight_of_a_silence(self) -> None:
        key = hosts()[1]
        key.push(hosts()[2])
        key.in_flight = 100
        earned = []
        for _ in range(8):
            before = key.allowance
            key.extend_if_silent()
            earned.append(key.allowance - before)

        assert earned == [1, 1, 0, 1, 0, 0, 0, 1]

    def test_counts_a_silence_from_the_last_answer(self) -> None:
        key = hosts()[1]
        key.push(hosts()[2])
        key.in_flight = 100
        for _ in range(3):
            key.extend_if_silent()
        key.learn(Feedback.NEUTRAL, "one", slow=False)
        before = key.allowance
        key.extend_if_silent()
        key.extend_if_silent()

        assert key.allowance == before + 2

    @pytest.mark.parametrize(("waits", "in_flight"), [(False, 100), (True, 0)])
    def test_starts_one_more_in_a_silence_only_if_it_waits_for_room(
        self, waits: bool, in_flight: int
    ) -> None:
        key = hosts()[1]
        if waits:
            key.push(hosts()[2])
        key.in_flight = in_flight
        key.extend_if_silent()

        assert key.allowance == 2

    def test_can_start_nothing_while_it_is_parked_or_has_no_tenant_or_no_room(self) -> None:
        key = hosts()[1]
        assert not key.can_start()
        key.push(hosts()[2])
        assert key.can_start()
        key.parked_until = 5.0
        assert not key.can_start()
        key.parked_until = None
        key.in_flight = 2
        assert not key.can_start()


class TestRoom:
    @pytest.mark.parametrize(
        ("slots", "neighbours", "most"),
        [(64, 1, 64), (64, 2, 56), (8, 2, 7), (3, 2, 2), (1, 2, 1)],
    )
    def test_is_kept_free_for_neighbours(self, slots: int, neighbours: int, most: int) -> None:
        host, key, _ = hosts(slots)
        host.members = host.hosts.members = neighbours
        for share in (host, key):
            share.allowance = 1_000
            share.in_flight = most - 1
            assert share.has_room()
            share.in_flight = most
            assert not share.has_room()

    def test_is_bounded_by_the_allowance(self) -> None:
        key = hosts()[1]
        key.in_flight = 1
        assert key.has_room()
        key.in_flight = 2
        assert not key.has_room()


class TestAHost:
    def test_can_start_nothing_while_it_is_down_or_has_no_credential(self) -> None:
        host, key, _ = hosts()
        assert not host.can_start()
        host.push(key)
        assert host.can_start()
        host.breaker.open(0.0)
        assert not host.can_start()


def test_a_group_joins_its_queue_once_stays_in_it_and_leaves_it() -> None:
    _, key, tenant = hosts()
    requeue(key, tenant)
    assert key.first is None
    tenant.push(queued(0))
    requeue(key, tenant)
    requeue(key, tenant)
    assert key.first is tenant
    assert tenant.is_queued
    tenant.in_flight = 5
    requeue(key, tenant)
    assert key.first is None
    assert not tenant.is_queued
