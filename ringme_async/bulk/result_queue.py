"""The outcomes that are finished and were not read yet."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from attrs import define, field

from ringme_async.bulk.outcome import Outcome

__all__ = ["ResultQueue"]

V = TypeVar("V")


@define(eq=False)
class ResultQueue(Generic[V]):
    """Returns outcomes as they came or, ``ordered``, in input order.

    Attributes:
        next_index: In an ordered run, the place in the input of the next outcome to become
            readable.
        readable: The outcomes that can be taken now.
        unread: How many outcomes it holds.
    """

    ordered: bool
    next_index: int = field(default=0, init=False)
    readable: deque[Outcome[V]] = field(factory=deque[Outcome[V]], init=False)
    unread: int = field(default=0, init=False)
    _early: dict[int, Outcome[V]] = field(factory=dict[int, Outcome[V]], init=False)

    def put(self, outcome: Outcome[V]) -> None:
        """Add an outcome."""
        self.unread += 1
        if not self.ordered:
            self.readable.append(outcome)
            return
        self._early[outcome.index] = outcome
        while (following := self._early.pop(self.next_index, None)) is not None:
            self.readable.append(following)
            self.next_index += 1

    def take(self) -> Outcome[V]:
        """Remove and return the next outcome."""
        self.unread -= 1
        return self.readable.popleft()

    def take_all(self) -> list[Outcome[V]]:
        """Remove and return all readable outcomes."""
        taken = list(self.readable)
        self.readable.clear()
        self.unread -= len(taken)
        return taken
