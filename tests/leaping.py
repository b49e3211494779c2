"""Time that leaps where sockets are real: what takes too long does so when a test says so.

A short time-out is over too early on a machine that is busy, and what was to come before it has not
come yet. A long one is over at the moment of a leap, and never before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["HOUR", "MINUTE", "leap", "leap_as_soon_as", "stand_still"]

MINUTE = 60.0
HOUR = 3600.0


def leap(seconds: float = MINUTE) -> None:
    """Let time pass at once on the running loop; what is due by then is due now."""
    loop = asyncio.get_running_loop()
    before = loop.time
    # asyncio asks its loop, not the class of its loop, what time it is.
    loop.time = lambda: before() + seconds  # type: ignore[method-assign]


def stand_still() -> None:
    """Let no more time pass on the running loop, but by leaps."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    loop.time = lambda: now  # type: ignore[method-assign]


async def leap_as_soon_as(has_come: Callable[[], object], seconds: float = MINUTE) -> None:
    """Wait until something is so, and let time pass then."""
    while not has_come():
        await asyncio.sleep(0)
    leap(seconds)
