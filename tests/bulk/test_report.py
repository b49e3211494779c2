"""The report of a run as a whole."""

from __future__ import annotations

import pytest

from ringme_async.bulk import Done, Failed, NotAttempted
from ringme_async.bulk.report import OutcomeCounter
from ringme_async.errors import (
    ConnectError,
    InvalidRequest,
    NotFound,
    ResponseLost,
    RingMeError,
    ServerError,
)


def counter_of(*errors: RingMeError | None, retries: int = 0) -> OutcomeCounter:
    """Count a failure for each error and one that was done for each None."""
    counts = OutcomeCounter()
    for index, error in enumerate(errors):
        if error is None:
            counts.add(Done(index, index, 1, "value", retries=retries))
        else:
            counts.add(Failed(index, index, 1, error, retries=retries))
    return counts


def test_the_most_frequent_failures_come_first_and_equals_by_name() -> None:
    lost, missing, down = ResponseLost("cut off"), NotFound("404"), ServerError("503")
    refused, odd = ConnectError("refused"), InvalidRequest("no")
    counts = counter_of(missing, lost, refused, down, down, odd, odd, odd, None)

    assert counts.summary(complete=True).summary() == (
        "1 of 9 done, 8 failed"
        " (InvalidRequest 3, ServerError 2, ConnectError 1, NotFound 1, ResponseLost 1)"
    )


@pytest.mark.parametrize(
    ("retries", "expected"), [(0, ""), (1, ", 1 retry"), (2, ", 2 retries")], ids=str
)
def test_one_retry_and_several_have_their_own_words(retries: int, expected: str) -> None:
    counts = counter_of(None, retries=retries)

    assert counts.summary(complete=True).summary() == "1 of 1 done, 0 failed" + expected


def test_the_summary_ends_with_an_input_that_was_left() -> None:
    counts = counter_of(None)
    counts.add(NotAttempted(2, 1))

    summary = counts.summary(complete=False)

    assert summary.summary() == (
        "1 of 2 done, 0 failed, 1 not attempted, the input was not read to its end"
    )


def test_the_raised_errors_end_with_elements_not_attempted_and_not_read() -> None:
    lost = ResponseLost("cut off")
    counts = counter_of(lost)
    counts.add(NotAttempted(2, 1))
    summary = counts.summary(complete=False)

    with pytest.raises(ExceptionGroup) as caught:
        summary.raise_for_errors()

    first, *others = caught.value.exceptions
    assert first is lost
    assert caught.value.message == summary.summary()
    assert list(map(str, others)) == [
        "1 was not attempted: the run had ended",
        "the run ended before its input did",
    ]


def test_the_counts_of_a_run_that_is_streamed_hold_its_failures_and_retries() -> None:
    lost = ResponseLost("cut off")
    counts = counter_of(lost, None, retries=2)

    summary = counts.summary(complete=True)

    assert [failure.error for failure in summary.failures] == [lost]
    assert (summary.failed, summary.retried, summary.complete) == (1, 4, True)
    assert not summary.ok


@pytest.mark.parametrize("complete", [True, False])
def test_a_run_went_well_only_if_its_input_was_read_to_the_end(complete: bool) -> None:
    summary = counter_of(None).summary(complete=complete)

    assert summary.complete is complete
    assert summary.ok is complete
