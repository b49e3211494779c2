"""Warnings of the command line for misspelt time zones."""

from __future__ import annotations

import sys
from collections import Counter
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringme_async.cli.codes import ExitCode
from ringme_async.cli.zones import zone_warnings
from tests.cli.conftest import Here
from tests.cli.shell import Shell

ZONES = frozenset(
    {"Asia/Omsk", "Europe/Moscow", "Asia/Kolkata", "UTC"} | {f"Etc/Zone{n}" for n in range(300)}
)
needs_zones = pytest.mark.skipif(not available_timezones(), reason="there is no tz database")


def warning(zone: str) -> str:
    (said,) = zone_warnings(Counter([zone]), ZONES)
    return said


@pytest.mark.parametrize(
    ("zone", "meant"),
    [
        ("Asia/Omks", "Asia/Omsk"),
        ("asia/omsk", "Asia/Omsk"),
        ("Europe/Omsk", "Asia/Omsk"),
        ("Omsk", "Asia/Omsk"),
        ("Europa/Moscow", "Europe/Moscow"),
        ("Asia/Calcuta", "Asia/Kolkata"),
    ],
)
def test_a_misspelt_zone_is_told_with_the_one_that_may_be_meant(zone: str, meant: str) -> None:
    assert warning(zone) == (
        f"this machine knows no time zone '{zone}' (did you mean '{meant}'?); one change names it"
    )


def test_a_zone_like_no_other_is_told_alone() -> None:
    said = zone_warnings(Counter({"Mars/Olympus_Mons": 2_000}), ZONES)
    assert said == ["this machine knows no time zone 'Mars/Olympus_Mons'; 2,000 changes name it"]


def test_a_few_of_many_zones_are_told() -> None:
    said = zone_warnings(Counter(f"Nowhere/Z{number}" for number in range(12)), ZONES)
    assert len(said) == 11
    assert said[-1] == "this machine does not know 2 more time zones"


@given(st.sampled_from(sorted(ZONES)))
def test_a_known_zone_is_not_warned_of(zone: str) -> None:
    assert zone_warnings(Counter([zone]), ZONES) == []


@pytest.mark.parametrize("known", [frozenset[str](), frozenset({"UTC"})])
def test_without_a_database_there_is_nothing_to_say(known: frozenset[str]) -> None:
    assert zone_warnings(Counter(["Asia/Omks"]), known) == []


@needs_zones
async def test_plan_and_set_warn_and_go_on(here: Here, shell: Shell) -> None:
    shell.write("changes.csv", "client_id,timezone\n12,Asia/Omks\n13,Asia/Omsk\n14,null\n")
    message = (
        "ringme: warning: this machine knows no time zone 'Asia/Omks' (did you mean 'Asia/Omsk'?)"
    )
    ended = await here("plan", "changes.csv", "--json")
    assert (ended.code, len(ended.json["changes"])) == (ExitCode.ALL_WELL, 3)
    assert ended.err == f"{message}; one change names it\n"
    ended = await here("set", "12", "--timezone", "Asia/Omks")
    assert ended.err.startswith(message)
    ended = await here("set", "12", "--timezone", "Asia/Omsk")
    assert (ended.code, ended.err) == (ExitCode.ALL_WELL, "")


async def test_a_machine_without_a_database_says_nothing(
    here: Here, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["ringme_async.cli.zones"], "available_timezones", frozenset)
    ended = await here("set", "12", "--timezone", "Asia/Omsk_")
    assert "warning" not in ended.err
