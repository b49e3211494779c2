"""Makes any text safe to print on a terminal or into a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final

__all__ = ["did_you_mean", "print_json", "printable"]

_MOST_COMPARED: Final = 2_000


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return a hint, in brackets, with the closest known name; empty if none is close."""
    # Comparing with very many names takes too long.
    close = get_close_matches(name, known, n=1) if len(known) <= _MOST_COMPARED else []
    return f" (did you mean {close[0]!r:.100}?)" if close else ""


def printable(text: str) -> str:
    """Replace control characters, which a terminal would obey, in foreign text."""
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)


def print_json(value: Mapping[str, object]) -> None:
    """Print one JSON object; escape letters that stdout cannot encode."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    print(text)
