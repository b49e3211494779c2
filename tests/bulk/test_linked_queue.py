"""A queue that keeps its links in its members."""

from __future__ import annotations

from itertools import permutations

import pytest
from attrs import define

from ringme_async.bulk.linked_queue import LinkedItem, LinkedQueue


@define(eq=False)
class Member(LinkedItem):
    name: str = ""


def members_of(queue: LinkedQueue[Member]) -> str:
    """Read a line from its start, and look whether its end tells the same."""
    forwards = names_from(queue.first, "behind")
    backwards = names_from(queue.last, "ahead")
    assert forwards == backwards[::-1]
    return forwards


def names_from(member: Member | None, link: str) -> str:
    names = ""
    while member is not None:
        names += member.name
        assert len(names) < 10, "it goes in a circle"
        member = getattr(member, link)
    return names


def line_of(names: str) -> tuple[LinkedQueue[Member], dict[str, Member]]:
    queue = LinkedQueue[Member]()
    members = {name: Member(name=name) for name in names}
    for member in members.values():
        queue.push(member)
    return queue, members


@pytest.mark.parametrize("names", ["", "a", "ab", "abc"])
def test_a_new_member_stands_at_the_end(names: str) -> None:
    queue, _ = line_of(names)

    assert members_of(queue) == names


@pytest.mark.parametrize("leavers", ["".join(order) for order in permutations("abc")])
def test_members_leave_from_any_place_and_can_come_again(leavers: str) -> None:
    queue, members = line_of("abc")
    left = "abc"
    for leaver in leavers:
        queue.remove(members[leaver])
        left = left.replace(leaver, "")
        assert members_of(queue) == left
        assert members[leaver].ahead is members[leaver].behind is None

    for leaver in leavers:
        queue.push(members[leaver])
    assert members_of(queue) == leavers


@pytest.mark.parametrize(
    ("behind", "names"), [("a", "xabc"), ("b", "axbc"), ("c", "abxc"), (None, "abcx")]
)
def test_a_member_can_be_inserted_before_another_or_at_the_end(
    behind: str | None, names: str
) -> None:
    queue, members = line_of("abc")

    queue.insert(Member(name="x"), None if behind is None else members[behind])

    assert members_of(queue) == names
