"""The clock of the stand-in's limits, tokens and delays: its loop's clock, which can leap."""

from __future__ import annotations

import asyncio


def now() -> float:
    """Seconds by the running loop."""
    return asyncio.get_running_loop().time()
