"""Text for a terminal or a pipe, whatever stands in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Final

__all__ = ["for_shell", "print_json", "printable"]

# What programs are told to write, as the command line has it.
_SPELLINGS: Final = {
    ', or pass on_quota="wait"': "",
    "raise timeout=, or the deadline= of the run,": "try again later, or raise --deadline,",
    "any_host=True": "--any-host",
}


def for_shell(text: str) -> str:
    """Put advice to programmers into the words of the command line."""
    for written, spelling in _SPELLINGS.items():
        text = text.replace(written, spelling)
    return text


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
