"""The mutation report counts what mutmut says, file by file."""

from __future__ import annotations

import pytest

from tests.mutation import scores_in, table_of, too_low

RETRY = "ringme_async.policies.retry"
RESULTS = f"""\
    {RETRY}.x__jitter__mutmut_1: killed
    {RETRY}.xǁRetryPolicyǁdelay__mutmut_1: killed
    {RETRY}.xǁRetryPolicyǁdelay__mutmut_2: survived
    {RETRY}.xǁRetryPolicyǁdelay__mutmut_12: timeout
    {RETRY}.xǁRetryPolicyǁdelay__mutmut_13: not checked
    ringme_async.bulk.job_source.x_checked__mutmut_1: no tests
    ringme_async.auth.token.x_flaw_in_text__mutmut_1: not checked
""".splitlines()
FILE = "ringme_async/policies/retry.py"


def test_the_mutants_of_a_file_that_were_tried_are_counted() -> None:
    assert scores_in(RESULTS) == {"ringme_async/bulk/job_source.py": (1, 0), FILE: (4, 3)}


@pytest.mark.parametrize(
    ("status", "noticed"),
    [
        ("killed", 1),
        ("timeout", 1),
        ("segfault", 1),
        ("caught by type check", 1),
        ("survived", 0),
        ("no tests", 0),
        ("suspicious", 0),
    ],
)
def test_a_mutant_counts_as_noticed_when_the_tests_end_otherwise(status: str, noticed: int) -> None:
    assert scores_in([f"    {RETRY}.x_a__mutmut_1: {status}"]) == {FILE: (1, noticed)}


def test_the_table_has_a_line_for_each_file() -> None:
    assert table_of({FILE: (20, 19)}) == [
        "file                            mutants  noticed  percent",
        "ringme_async/policies/retry.py       20       19     95.0",
    ]


@pytest.mark.parametrize(("noticed", "low"), [(9, []), (8, [FILE])])
def test_a_file_below_nine_in_ten_fails(noticed: int, low: list[str]) -> None:
    scores = {FILE: (10, noticed)}
    assert too_low(scores) == low
    assert table_of(scores)[1].endswith("under 90 %") is bool(low)
