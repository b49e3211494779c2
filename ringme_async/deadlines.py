"""Many deadlines for the price of one timer of the loop."""

from __future__ import annotations

import asyncio
import math

from attrs import define, field

__all__ = ["Deadlines"]


@define(eq=False)
class Deadlines:
    """Ends what is under way at its deadline; all that is under way shares one timer.

    A timer each costs more than anything else that a call does of its own, and nearly all of
    them are cancelled unused. Here the earliest deadline has the timer; only when that comes is
    looked who is overdue, and which deadline is next. What is under way by one ``Deadlines``
    belongs to one event loop.
    """

    _under_way: dict[asyncio.Timeout, float] = field(
        factory=dict[asyncio.Timeout, float], init=False, repr=False
    )
    _alarm: asyncio.TimerHandle | None = field(default=None, init=False, repr=False)
    _alarm_at: float = field(default=math.inf, init=False)

    def start(self, when: float) -> asyncio.Timeout:
        """Give what is to be entered at once, with ``async with``, and handed to ``stop``.

        Args:
            when: The deadline, in seconds of the running loop's ``time()``.

        Returns:
            An ``asyncio.Timeout``, which ends its block with a TimeoutError at the deadline.
        """
        timer = asyncio.timeout(None)
        self._under_way[timer] = when
        if when < self._alarm_at:
            self._set_alarm(when)
        return timer

    def stop(self, timer: asyncio.Timeout) -> None:
        """Forget what has been started; its block has been left."""
        del self._under_way[timer]

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._under_way

    def end_all(self) -> None:
        """End at once what is under way."""
        now = asyncio.get_running_loop().time()
        for timer in self._under_way:
            self._expire(timer, now)

    def close(self) -> None:
        """Take the loop's timer back, when nothing is under way any more."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None
        self._alarm_at = math.inf

    def _set_alarm(self, when: float) -> None:
        self.close()
        self._alarm = asyncio.get_running_loop().call_at(when, self._look)
        self._alarm_at = when

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        next_one = math.inf
        for timer, when in self._under_way.items():
            if when > now:
                next_one = min(next_one, when)
            else:
                self._expire(timer, now)
        self.close()
        if next_one < math.inf:
            self._set_alarm(next_one)

    @staticmethod
    def _expire(timer: asyncio.Timeout, now: float) -> None:
        # Once only: it may take its time to clean up.
        if timer.when() is None:
            timer.reschedule(now)
