"""The rows of a run's table."""

from __future__ import annotations

import pytest

from ringme_async.cli.results import applied, refreshed
from ringme_async.cli.show import Count
from ringme_async.mirror import ApplyReport, FailureKind, RefreshReport

USED_UP = FailureKind(
    error="RateLimited",
    status_code=429,
    count=40,
    example="429 Too Many Requests",
    next_step='try again in 12 min 5 s, or pass on_quota="park"',
)
DOWN = FailureKind(
    error="ServerError", status_code=502, count=2, example="502 Bad Gateway", next_step=""
)
CONFLICTS = FailureKind(
    error="Conflict",
    status_code=None,
    count=3,
    example="timezone is as nobody planned",
    next_step="",
)


def refresh(failed: int, *kinds: FailureKind) -> list[Count]:
    report = RefreshReport(
        run="r", read=1, failed=failed, skipped=0, not_attempted=0, changed=0, kinds=kinds
    )
    return list(refreshed(report, "clients.jsonl", "clients.failures.jsonl"))


def test_failures_are_reported_by_kind_with_an_example_and_a_next_step() -> None:
    assert refresh(42, USED_UP, DOWN)[1:] == [
        ("failed", 42, "see clients.failures.jsonl"),
        (
            "  RateLimited",
            40,
            "429 Too Many Requests; try again in 12 min 5 s, or give --on-quota park",
        ),
        ("  ServerError", 2, "502 Bad Gateway"),
    ]


def test_rarer_kinds_are_counted_together() -> None:
    assert refresh(50, USED_UP, DOWN)[-1] == ("  other errors", 8, "")


def test_without_failures_there_are_no_kinds() -> None:
    assert refresh(0) == [("read", 1, "into clients.jsonl"), ("failed", 0, "")]


@pytest.mark.parametrize("kinds", [(DOWN, CONFLICTS), (CONFLICTS, DOWN)])
def test_conflicts_have_a_row_of_their_own(kinds: tuple[FailureKind, ...]) -> None:
    report = ApplyReport(
        run="r",
        applied=1,
        as_wished=0,
        failed=5,
        conflicts=3,
        skipped=0,
        not_attempted=0,
        kinds=kinds,
    )
    assert list(applied(report, "journal.jsonl", "failures.jsonl"))[2:] == [
        ("failed", 5, "see failures.jsonl"),
        ("of these conflicts", 3, "somebody else has changed them; left alone"),
        ("  ServerError", 2, "502 Bad Gateway"),
    ]
