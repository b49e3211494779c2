"""Hints for misspelt names."""

from __future__ import annotations

from ringme_async.cli.text import did_you_mean


def test_the_closest_name_is_suggested() -> None:
    assert did_you_mean("timezon", ["geo_list", "timezone"]) == " (did you mean 'timezone'?)"


def test_no_name_is_suggested_if_none_is_close() -> None:
    assert did_you_mean("colour", ["geo_list", "timezone"]) == ""


def test_very_many_names_are_not_compared() -> None:
    assert did_you_mean("tenant1", [f"tenant{number}" for number in range(2_001)]) == ""
