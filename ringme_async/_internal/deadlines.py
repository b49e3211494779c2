"""Many deadlines for the price of one timer of the loop."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Self

from attrs import define, field

__all__ = ["Deadline", "Deadlines"]


class Deadline:
    """Ends its ``with`` block at its time: what comes after the block is what to do then.

    A block that ends in any other way, be it by somebody else's cancellation, does so as if the
    deadline were not there.

    Args:
        when: The time.
        among: Those that share its timer.
        loop: The running loop, if the caller knows it already.

    Attributes:
        when: The time, in seconds of the running loop's ``time()``.
        ended_at: When the block was ended, at its time or before it; None if it was not.
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
        is_its_own = task.uncancel() <= self._cancelled_before
        return is_its_own and isinstance(error, asyncio.CancelledError)

    def reschedule(self, when: float) -> None:
        """Move the deadline of the block that is under way."""
        self.when = when
        self._among.begin(self)

    def expire(self, now: float) -> None:
        """End the block; once only, as it may take its time to clean up."""
        if self._task is not None and self.ended_at is None:
            self.ended_at = now
            self._task.cancel()


@define(eq=False)
class Deadlines:
    """Ends what is under way at its deadline; all that is under way shares one timer.

    A timer each costs more than anything else that a call does of its own, and nearly all of
    them are cancelled unused. Here the earliest deadline has the timer; only when that comes is
    looked who is overdue, and which deadline is next. What is under way by one ``Deadlines``
    belongs to one event loop.
    """

    _under_way: set[Deadline] = field(factory=set[Deadline], init=False, repr=False)
    _alarm: asyncio.TimerHandle | None = field(default=None, init=False, repr=False)
    _alarm_at: float = field(default=math.inf, init=False)
    _all_ended: asyncio.Event | None = field(default=None, init=False, repr=False)

    def until(self, when: float, loop: asyncio.AbstractEventLoop | None = None) -> Deadline:
        """Give what ends a ``with`` block at a moment of the running loop's time.

        Args:
            when: That moment.
            loop: That loop, if the caller knows it already.
        """
        return Deadline(when, self, loop)

    @property
    def count(self) -> int:
        """How many are under way."""
        return len(self._under_way)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._under_way

    def end_all(self) -> None:
        """End at once what is under way."""
        now = asyncio.get_running_loop().time()
        for deadline in self._under_way:
            deadline.expire(now)

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        if not self.is_idle:
            if self._all_ended is None:
                self._all_ended = asyncio.Event()
            await self._all_ended.wait()

    def close(self) -> None:
        """Take the loop's timer back, when nothing is under way any more."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None
        self._alarm_at = math.inf

    # What a deadline reports.

    def begin(self, deadline: Deadline) -> None:
        """Take note of a block that has been entered."""
        self._under_way.add(deadline)
        if deadline.when < self._alarm_at:
            self._set_alarm(deadline.when)

    def end(self, deadline: Deadline) -> None:
        """Forget a block that has been left."""
        self._under_way.discard(deadline)
        if self._all_ended is not None and not self._under_way:
            self._all_ended.set()
            self._all_ended = None

    def _set_alarm(self, when: float) -> None:
        self.close()
        self._alarm = asyncio.get_running_loop().call_at(when, self._look)
        self._alarm_at = when

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        next_one = math.inf
        for deadline in self._under_way:
            if deadline.when > now:
                next_one = min(next_one, deadline.when)
            else:
                deadline.expire(now)
        self.close()
        if next_one < math.inf:
            self._set_alarm(next_one)
