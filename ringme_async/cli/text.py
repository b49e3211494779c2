"""Text for a terminal or a pipe, whatever stands in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final

__all__ = ["meant", "print_json", "printable"]

_MOST_COMPARED: Final = 2_000


def meant(name: str, known: Sequence[str]) -> str:
    """Ask, in brackets, whether the name that comes closest was meant; empty if none does."""
    # Of very many names, to find it takes too long.
    close = get_close_matches(name, known, n=1) if len(known) <= _MOST_COMPARED else []
    return f" (did you mean {close[0]!r:.100}?)" if close else ""


def printable(text: str) -> str:
    """Replace what a terminal would take for a command, in text that others have written."""
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)


def print_json(value: Mapping[str, object]) -> None:
    """Print one JSON object; letters that stdout has no bytes for are escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    print(text)
