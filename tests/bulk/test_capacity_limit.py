"""The number of slots, which may change in mid-run."""

from __future__ import annotations

import pytest

from ringme_async.bulk import CapacityLimit


@pytest.mark.parametrize(("slots", "woken"), [(3, 0), (4, 0), (5, 1)])
def test_only_more_slots_wake_a_run(slots: int, woken: int) -> None:
    limit = CapacityLimit(4)
    wakes: list[int] = []
    limit.call_on_rise(lambda: wakes.append(limit.value))

    limit.change(slots)

    assert limit.value == slots
    assert wakes == [slots] * woken


def test_at_least_one_slot_is_left() -> None:
    limit = CapacityLimit(4)

    limit.change(0)

    assert limit.value == 1


@pytest.mark.parametrize(("slots", "for_one"), [(1, 1), (7, 1), (8, 1), (15, 1), (16, 2), (64, 8)])
def test_a_tenant_may_have_an_eighth_of_the_slots_there_are_now(slots: int, for_one: int) -> None:
    changed = CapacityLimit(100)
    changed.change(slots)

    assert CapacityLimit(slots).for_one_tenant == for_one
    assert changed.for_one_tenant == for_one


@pytest.mark.parametrize(
    ("slots", "for_one"), [(1, 1), (2, 1), (7, 6), (8, 7), (9, 7), (50, 43), (64, 56)]
)
def test_a_group_with_neighbours_leaves_an_eighth_of_the_slots_free(
    slots: int, for_one: int
) -> None:
    changed = CapacityLimit(4)
    changed.change(slots)

    assert CapacityLimit(slots).for_one_of_many == for_one
    assert changed.for_one_of_many == for_one
