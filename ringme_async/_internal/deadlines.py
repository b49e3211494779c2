"""Many deadlines that share one timer of the event loop."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Self

from attrs import define, field

__all__ = ["Deadline", "Deadlines"]


class Deadline:
    """Ends its ``with`` block at a set time; execution goes on after the block.

    A block that ends in any other way, by a cancellation from outside too, is not affected.

    Args:
        when: The time.
        among: The deadlines that share the timer.
        loop: The running loop, if the caller has it already.

    Attributes:
        when: The time, in seconds of the running loop's ``time()``.
        ended_at: When the deadline or ``end_all`` ended the block; None if neither did.
    """

    __slots__ = ("_among", "_cancelled_before", "_loop", "_task", "ended_at", "when")

    def __init__(
        self, when: float, among: Deadlines, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self.when: float = when
        self.ended_at: float | None = None
        self._among = among
        self._loop = loop
        self._task: asyncio.Task[object] | None = None
        self._cancelled_before = 0

    def __enter__(self) -> Self:
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("a deadline is for what runs in a task")
        self._task = task
        self._cancelled_before = task.cancelling()
        self._among.begin(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._among.end(self)
        task, self._task = self._task, None
        if self.ended_at is None or task is None:
            return False
        is_own = task.uncancel() <= self._cancelled_before
        return is_own and isinstance(error, asyncio.CancelledError)

    def reschedule(self, when: float) -> None:
        """Move the deadline while the block runs."""
        self.when = when
        self._among.begin(self)

    def expire(self, now: float) -> None:
        """End the block, once only: a second cancellation would interrupt its clean-up."""
        if self._task is not None and self.ended_at is None:
            self.ended_at = now
            self._task.cancel()


@define(eq=False)
class Deadlines:
    """All running deadlines of one event loop, with one timer for the earliest.

    A timer for each call would cost more than all other work of a call, and nearly every timer
    would be cancelled unused. When the shared timer fires, overdue blocks are ended and the next
    deadline gets the timer.
    """

    _running: set[Deadline] = field(factory=set[Deadline], init=False, repr=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False, repr=False)
    _timer_at: float = field(default=math.inf, init=False)
    _all_ended: asyncio.Event | None = field(default=None, init=False, repr=False)

    def until(self, when: float, loop: asyncio.AbstractEventLoop | None = None) -> Deadline:
        """Make a deadline.

        Args:
            when: The time, in the running loop's seconds.
            loop: The running loop, if the caller has it already.
        """
        return Deadline(when, self, loop)

    @property
    def count(self) -> int:
        """How many blocks are running."""
        return len(self._running)

    @property
    def is_idle(self) -> bool:
        """Whether no block is running."""
        return not self._running

    def end_all(self) -> None:
        """End all running blocks now."""
        now = asyncio.get_running_loop().time()
        for deadline in self._running:
            deadline.expire(now)

    async def idle(self) -> None:
        """Wait until no block is running."""
        if not self.is_idle:
            if self._all_ended is None:
                self._all_ended = asyncio.Event()
            await self._all_ended.wait()

    def close(self) -> None:
        """Cancel the timer, once no block is running."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._timer_at = math.inf

    # Called by deadlines.

    def begin(self, deadline: Deadline) -> None:
        """Add a block that was entered, or whose deadline moved."""
        self._running.add(deadline)
        if deadline.when < self._timer_at:
            self._set_timer(deadline.when)

    def end(self, deadline: Deadline) -> None:
        """Remove a block that was left."""
        self._running.discard(deadline)
        if self._all_ended is not None and not self._running:
            self._all_ended.set()
            self._all_ended = None

    def _set_timer(self, when: float) -> None:
        self.close()
        self._timer = asyncio.get_running_loop().call_at(when, self._end_overdue)
        self._timer_at = when

    def _end_overdue(self) -> None:
        now = asyncio.get_running_loop().time()
        next_one = math.inf
        for deadline in self._running:
            if deadline.when > now:
                next_one = min(next_one, deadline.when)
            else:
                deadline.expire(now)
        self.close()
        if next_one < math.inf:
            self._set_timer(next_one)
