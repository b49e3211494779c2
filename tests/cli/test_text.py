"""Texts for people: names that they have misspelt."""

from __future__ import annotations

from ringme_async.cli.text import did_you_mean


def test_the_name_that_comes_closest_is_asked_for() -> None:
    assert did_you_mean("timezon", ["geo_list", "timezone"]) == " (did you mean 'timezone'?)"


def test_a_name_that_nothing_comes_close_to_is_not_asked_for() -> None:
    assert did_you_mean("colour", ["geo_list", "timezone"]) == ""


def test_very_many_names_are_not_compared() -> None:
    assert did_you_mean("tenant1", [f"tenant{number}" for number in range(2_001)]) == ""
