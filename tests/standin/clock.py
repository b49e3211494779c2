"""The clock that the stand-in's limits, tokens and delays run by: that of its loop, which can leap."""

from __future__ import annotations

import asyncio


def now() -> float:
    """Seconds by the running loop."""
    return asyncio.get_running_loop().time()
