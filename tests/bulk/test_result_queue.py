"""Finished and unread outcomes, as they came or in input order."""

from __future__ import annotations

from typing import Any

from ringme_async.bulk import NotAttempted
from ringme_async.bulk.result_queue import ResultQueue


def results_of(*places: int, ordered: bool) -> ResultQueue[Any]:
    results = ResultQueue[Any](ordered)
    for place in places:
        results.put(NotAttempted(12, place))
    return results


def readable(results: ResultQueue[Any]) -> list[int]:
    return [outcome.index for outcome in results.readable]


def test_outcomes_of_an_unordered_run_are_readable_as_they_come() -> None:
    assert readable(results_of(2, 0, 1, ordered=False)) == [2, 0, 1]


def test_an_ordered_outcome_is_readable_once_all_before_it_have_come() -> None:
    results = results_of(2, 1, 4, ordered=True)
    assert readable(results) == []
    assert results.next_index == 0

    results.put(NotAttempted(12, 0))

    assert readable(results) == [0, 1, 2]
    assert results.next_index == 3


def test_an_outcome_is_unread_until_it_is_taken_whether_readable_or_not() -> None:
    results = results_of(0, 1, 3, 4, ordered=True)
    assert results.unread == 4

    taken = [results.take().index, results.take().index]

    assert taken == [0, 1]
    assert results.unread == 2


def test_all_readable_outcomes_are_taken_at_once_and_the_rest_stays_unread() -> None:
    results = results_of(0, 1, 3, ordered=True)

    assert [outcome.index for outcome in results.take_all()] == [0, 1]
    assert results.take_all() == []
    assert results.unread == 1
