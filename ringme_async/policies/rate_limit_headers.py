"""The headers ``X-RateLimit-Limit``, ``-Remaining`` and ``-Reset`` (API page, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

__all__ = [
    "LONGEST_RESET",
    "RESET_UNSTATED",
    "limit_in",
    "remaining_in",
    "reset_after",
    "reset_in",
]

RESET_UNSTATED: Final = 60.0
LONGEST_RESET: Final = 86_400.0
# A longer number is no request count, and int() refuses very long ones.
_MOST_DIGITS: Final = 15


def limit_in(headers: Mapping[str, str]) -> int | None:
    """Read the Limit; None if it is missing or no whole number from 0."""
    return _repeated_number(headers.get("x-ratelimit-limit"))


def remaining_in(headers: Mapping[str, str]) -> int | None:
    """Read the Remaining; None if it is missing or no whole number from 0."""
    return _whole_number(headers.get("x-ratelimit-remaining"))


def reset_in(headers: Mapping[str, str]) -> int | None:
    """Read the Reset; None if it is missing or no whole number from 0 to a day."""
    reset = _repeated_number(headers.get("x-ratelimit-reset"))
    return None if reset is None or reset > LONGEST_RESET else reset


def reset_after(headers: Mapping[str, str]) -> float:
    """Read the seconds until the reset that a refusal states.

    Returns:
        The header's value; 60 if it is missing or no whole number from 0 to a day.
    """
    text = headers.get("x-ratelimit-reset", "").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        return RESET_UNSTATED
    seconds = float(text)
    return seconds if seconds <= LONGEST_RESET else RESET_UNSTATED


def _whole_number(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text.strip(" \t")
    if len(digits) <= _MOST_DIGITS and digits.isascii() and digits.isdigit():
        return int(digits)
    return None


# Answers of one second repeat the same limit and reset.
_repeated_number = lru_cache(maxsize=64)(_whole_number)
