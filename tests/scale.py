"""How large the tests of large runs are: ``nox -s scale`` asks for all of it."""

from __future__ import annotations

import os

FULL = "RINGME_ASYNC_FULL_SCALE"


def is_full_scale() -> bool:
    """Tell whether the environment asks for all of it."""
    return bool(os.environ.get(FULL))


def full_scale(full: int, *, scaled: int) -> int:
    """Give the full number if it is asked for, else one that takes seconds."""
    return full if is_full_scale() else scaled
