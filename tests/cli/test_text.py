"""Texts for people: names that they have misspelt, and what programs are told to write."""

from __future__ import annotations

import pytest

from ringme_async import ClientUpdate, DeadlineExceeded, InvalidRequest, RateLimited
from ringme_async.cli.text import for_shell, meant


def test_the_name_that_comes_closest_is_asked_for() -> None:
    assert meant("timezon", ["geo_list", "timezone"]) == " (did you mean 'timezone'?)"


def test_a_name_that_nothing_comes_close_to_is_not_asked_for() -> None:
    assert meant("colour", ["geo_list", "timezone"]) == ""


def test_very_many_names_are_not_compared() -> None:
    assert meant("tenant1", [f"tenant{number}" for number in range(2_001)]) == ""


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (str(RateLimited("no")), "no; wait for the next hour"),
        (
            str(DeadlineExceeded("no")),
            "no; try again later, or raise --deadline, if the server is merely slow",
        ),
        ("timezone is wrong", "timezone is wrong"),
    ],
)
def test_programs_and_people_are_told_the_same_in_their_own_words(told: str, shown: str) -> None:
    assert for_shell(told) == shown


def test_a_known_field_is_not_looked_for_among_the_others() -> None:
    with pytest.raises(InvalidRequest) as caught:
        ClientUpdate(extra={"timezone": "Asia/Omsk"})
    assert for_shell(caught.value.reason) == "timezone is named by itself, not in extra"
