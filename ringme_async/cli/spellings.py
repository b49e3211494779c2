"""Turns advice for Python into advice for the command line."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["for_shell"]

# Patterns of Python advice, and the command line's replacements, applied in this order.
_REPLACEMENTS: Final = (
    (r', or pass on_quota="wait"', ""),
    (r', or pass on_quota="park"', ", or give --on-quota park"),
    (r"raise timeout= if", "try again later if"),
    (r"raise the deadline= of the run", "raise --deadline"),
    (r"\(timeout=([^()]+)\)", r"(time-out \1)"),
    (r"any_host=True takes it nevertheless", "--any-host takes it nevertheless"),
    (r"\(resume=True, --resume\)", "(--resume)"),
    (r"\(overwrite=True, --overwrite\)", "(--overwrite)"),
    (
        r"is a field of ClientUpdate: name it itself, not in extra",
        "is named by itself, not in extra",
    ),
    (r"or None to clear it", "or null to clear it"),
    (r"pass them as auth=", "leave them to the environment or a profile"),
    (r"give the tenant auth= too", "give the tenant an app_id in the list of tenants"),
    (
        r"no credentials: give auth= to RingMe, or to the tenant",
        "no credentials: set RINGME_APP_ID and RINGME_APP_SECRET, or name a profile",
    ),
    (r"give the transport that CA \(ssl=\)", "name that CA with --ca"),
    (r"\bssl= or --ca\b|\bssl=(?:[\w.()]*)", "--ca"),
)


def for_shell(text: str) -> str:
    """Replace advice for Python by advice for the command line."""
    for pattern, spelling in _REPLACEMENTS:
        text = re.sub(pattern, spelling, text)
    return text
