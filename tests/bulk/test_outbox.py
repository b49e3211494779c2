"""What is finished and not read yet, as it came or in order."""

from __future__ import annotations

from typing import Any

from ringme_async.bulk import NotAttempted
from ringme_async.bulk.result_queue import Outbox


def outbox_of(*places: int, ordered: bool) -> Outbox[Any]:
    outbox = Outbox[Any](ordered)
    for place in places:
        outbox.put(NotAttempted(12, place))
    return outbox


def readable(outbox: Outbox[Any]) -> list[int]:
    return [outcome.index for outcome in outbox.readable]


def test_what_is_not_ordered_can_be_read_as_it_came() -> None:
    assert readable(outbox_of(2, 0, 1, ordered=False)) == [2, 0, 1]


def test_what_is_ordered_can_be_read_once_all_before_it_have_come() -> None:
    outbox = outbox_of(2, 1, 4, ordered=True)
    assert readable(outbox) == []
    assert outbox.head == 0

    outbox.put(NotAttempted(12, 0))

    assert readable(outbox) == [0, 1, 2]
    assert outbox.head == 3


def test_all_that_was_not_taken_is_unread_whether_it_can_be_read_or_not() -> None:
    outbox = outbox_of(0, 1, 3, 4, ordered=True)
    assert outbox.unread == 4

    taken = [outbox.take().index, outbox.take().index]

    assert taken == [0, 1]
    assert outbox.unread == 2


def test_all_that_can_be_read_is_taken_at_once_and_the_rest_stays_unread() -> None:
    outbox = outbox_of(0, 1, 3, ordered=True)

    assert [outcome.index for outcome in outbox.take_all()] == [0, 1]
    assert outbox.take_all() == []
    assert outbox.unread == 1
