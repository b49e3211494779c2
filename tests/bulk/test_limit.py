"""The number of slots, which may change in mid-run."""

from __future__ import annotations

import pytest

from ringme_async.bulk import Limit


@pytest.mark.parametrize(("slots", "woken"), [(3, 0), (4, 0), (5, 1)])
def test_a_run_is_woken_by_more_slots_alone(slots: int, woken: int) -> None:
    limit = Limit(4)
    wakes: list[int] = []
    limit.call_on_rise(lambda: wakes.append(limit.value))

    limit.change(slots)

    assert limit.value == slots
    assert wakes == [slots] * woken


def test_one_slot_is_left_whatever_is_asked_for() -> None:
    limit = Limit(4)

    limit.change(0)

    assert limit.value == 1
