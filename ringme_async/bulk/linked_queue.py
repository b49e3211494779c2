"""Waiting lines whose members can leave them from any place at once."""

from __future__ import annotations

from typing import Generic, Self, TypeVar

from attrs import define, field

__all__ = ["LinkedItem", "LinkedQueue"]


@define(eq=False)
class LinkedItem:
    """Something that can stand in one line at a time."""

    ahead: Self | None = field(default=None, init=False, repr=False)
    behind: Self | None = field(default=None, init=False, repr=False)


L = TypeVar("L", bound=LinkedItem)


@define(eq=False)
class LinkedQueue(LinkedItem, Generic[L]):
    """First come, first served; and a line can stand in another one.

    The links are in the members, so that an empty line costs next to nothing: there are as many
    as there are tenants in hand, and an empty deque alone takes 600 bytes.
    """

    first: L | None = field(default=None, init=False, repr=False)
    last: L | None = field(default=None, init=False, repr=False)

    def push(self, member: L) -> None:
        """Let it stand at the end."""
        last = self.last
        member.ahead = last
        if last is None:
            self.first = member
        else:
            last.behind = member
        self.last = member

    def insert(self, member: L, behind: L | None) -> None:
        """Let it stand right in front of ``behind``; None: at the end."""
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
        """Let one of its members leave."""
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
