"""Timers with names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from attrs import define, field

__all__ = ["Alarms"]


@define(eq=False)
class Alarms:
    """At most one timer for each name."""

    _timers: dict[str, asyncio.TimerHandle] = field(
        factory=dict[str, asyncio.TimerHandle], init=False
    )

    def set(self, name: str, when: float, action: Callable[[], None]) -> None:
        """Have an action done by then, in the loop's time; of two moments, the earlier counts."""
        timer = self._timers.get(name)
        if timer is not None:
            if timer.when() <= when:
                return
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._timers[name] = loop.call_at(when, self._ring, name, action)

    def cancel(self) -> None:
        """Have nothing done any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _ring(self, name: str, action: Callable[[], None]) -> None:
        del self._timers[name]
        action()
