"""When a row of failures says that a host is down, and for how long that is borne."""

from __future__ import annotations

from typing import Any

import pytest

from ringme_async.bulk.pulse import Pulse


@pytest.mark.parametrize(("is_known", "patience"), [(True, 1800.0), (False, 60.0)])
def test_a_host_is_given_up_after_half_an_hour_or_a_minute(is_known: bool, patience: float) -> None:
    pulse = Pulse[Any](1000.0, is_known)

    assert not pulse.is_given_up(1000.0)
    assert not pulse.is_given_up(999.9 + patience)
    assert pulse.is_given_up(1000.0 + patience)


@pytest.mark.parametrize(
    ("failures", "tenants", "down"), [(10, 5, True), (9, 9, False), (10, 4, False), (100, 4, False)]
)
def test_ten_failures_of_five_tenants_are_an_outage(
    failures: int, tenants: int, down: bool
) -> None:
    pulse = Pulse[Any](0.0, is_known=True)
    for number in range(failures):
        pulse.miss(number % tenants)

    assert pulse.looks_down is down
    assert pulse.is_undecided is (failures < 10)
    assert not pulse.is_down


def test_pauses_double_up_to_a_minute() -> None:
    pulse = Pulse[Any](0.0, is_known=True)

    assert [pulse.next_pause() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert pulse.is_down
