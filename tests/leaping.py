"""Time that leaps where sockets are real: what takes too long does so when a test says so.

A short time-out is over too early on a machine that is busy, and what was to come before it has not
come yet. A long one is over at the moment of a leap, and never before.
"""

from __future__ import annotations

import asyncio

__all__ = ["MINUTE", "leap"]

MINUTE = 60.0


def leap(seconds: float = MINUTE) -> None:
    """Let time pass at once on the running loop; what is due by then is due now."""
    loop = asyncio.get_running_loop()
    before = loop.time
    # asyncio asks its loop, not the class of its loop, what time it is.
    loop.time = lambda: before() + seconds  # type: ignore[method-assign]
