"""Deaf to what asyncio's debug mode says of a slow machine, which is nothing of what is tested."""

from __future__ import annotations

import asyncio
import math
import re

__all__ = ["unhurried_loop", "without_slowness"]

_TOLD = re.compile(r"^Executing .* took \d+\.\d+ seconds\n", re.MULTILINE)


def unhurried_loop() -> asyncio.AbstractEventLoop:
    """Make an event loop that warns of no step, however long it takes."""
    loop = asyncio.new_event_loop()
    loop.slow_callback_duration = math.inf
    return loop


def without_slowness(told: str) -> str:
    """Leave such warnings out of what a program wrote to its stderr."""
    return _TOLD.sub("", told)
