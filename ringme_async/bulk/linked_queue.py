"""First-in, first-out queues whose members can leave from any position in constant time."""

from __future__ import annotations

from typing import Generic, Self, TypeVar

from attrs import define, field

__all__ = ["LinkedItem", "LinkedQueue"]


@define(eq=False)
class LinkedItem:
    """A member of at most one queue."""

    ahead: Self | None = field(default=None, init=False, repr=False)
    behind: Self | None = field(default=None, init=False, repr=False)


L = TypeVar("L", bound=LinkedItem)


@define(eq=False)
class LinkedQueue(LinkedItem, Generic[L]):
    """A first-in, first-out queue, which can be a member of another queue.

    The links are in the members, so that an empty queue costs almost nothing. A run has one for
    each tenant, and an empty deque alone takes 600 bytes.
    """

    first: L | None = field(default=None, init=False, repr=False)
    last: L | None = field(default=None, init=False, repr=False)

    def push(self, member: L) -> None:
        """Add a member at the end."""
        last = self.last
        member.ahead = last
        if last is None:
            self.first = member
        else:
            last.behind = member
        self.last = member

    def insert(self, member: L, behind: L | None) -> None:
        """Add a member right before ``behind``; None: at the end."""
        if behind is None:
            self.push(member)
            return
        ahead = behind.ahead
        member.ahead, member.behind = ahead, behind
        behind.ahead = member
        if ahead is None:
            self.first = member
        else:
            ahead.behind = member

    def remove(self, member: L) -> None:
        """Remove a member."""
        ahead, behind = member.ahead, member.behind
        member.ahead = member.behind = None
        if ahead is None:
            self.first = behind
        else:
            ahead.behind = behind
        if behind is None:
            self.last = ahead
        else:
            behind.ahead = ahead
