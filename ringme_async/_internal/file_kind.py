"""Detect the kind of a file by its first bytes, so that no run overwrites a foreign file."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from enum import Enum
from typing import Final, cast

__all__ = ["FILES_OF_LINES", "FileKind", "file_kind", "foreign_file"]

_DATABASE: Final = b"SQLite format 3\0"
_PLAN: Final = re.compile(rb'\s*\{\s*"ringme-plan"\s*:')
_TOKENS: Final = re.compile(rb'\s*\{\s*"ringme_tokens"\s*:')
# Bounds the read of a file without line ends; no record is longer.
_LONGEST_LINE: Final = 64 * 2**20
_LINE_START: Final = b'{"run": "'


class FileKind(Enum):
    """The kind of a file; the value is its name in messages."""

    EMPTY = "an empty file"
    DATABASE = "a SQLite database"
    PLAN = "a plan"
    TOKENS = "a file of tokens"
    RECORDS = "the output of a refresh"
    JOURNAL = "the journal of an apply"
    WRITES = "the open writes of an apply"
    FAILURES = "the failures of a refresh"
    APPLY_FAILURES = "the failures of an apply"
    HALF_A_LINE = "the first line of a run that was killed"
    OTHER_LINES = "a file of JSON lines that ringme has not written"
    FOREIGN = "a file that ringme has not written"


FILES_OF_LINES: Final = frozenset(
    {
        FileKind.RECORDS,
        FileKind.JOURNAL,
        FileKind.WRITES,
        FileKind.FAILURES,
        FileKind.APPLY_FAILURES,
        FileKind.HALF_A_LINE,
        FileKind.OTHER_LINES,
    }
)
_PAYLOADS: Final = {"client": FileKind.RECORDS, "sent": FileKind.JOURNAL}


def file_kind(path: str | os.PathLike[str]) -> FileKind:
    """Detect the kind of a file; a missing file, a pipe and a device count as empty.

    Raises:
        OSError: The file cannot be read.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return FileKind.EMPTY
        with open(path, "rb") as file:
            line = file.readline(_LONGEST_LINE)
    except FileNotFoundError:
        return FileKind.EMPTY
    if not line:
        return FileKind.EMPTY
    if line.startswith(_DATABASE):
        return FileKind.DATABASE
    if _TOKENS.match(line):
        return FileKind.TOKENS
    if line.endswith(b"\n"):
        return _kind_of_line(line) or (FileKind.PLAN if _is_plan(path) else FileKind.FOREIGN)
    if line[: len(_LINE_START)] == _LINE_START[: len(line)]:
        return FileKind.HALF_A_LINE
    return FileKind.PLAN if _is_plan(path) else FileKind.FOREIGN


def foreign_file(path: str | os.PathLike[str], *own: FileKind) -> str | None:
    """Explain why an output must not overwrite a file; None if it may.

    Args:
        path: The file.
        own: The kinds that may be overwritten, besides an empty file.

    Raises:
        OSError: The file cannot be read.
    """
    kind = file_kind(path)
    if kind is FileKind.EMPTY or kind in own:
        return None
    name = os.fspath(path)
    if kind is FileKind.DATABASE:
        return f"{name} is {kind.value} and is left alone; a mirror in it is sqlite:///{name}"
    return f"{name} is {kind.value} and is left alone; choose another file"


def _kind_of_line(line: bytes) -> FileKind | None:
    """Detect the kind by the first line; None if this is no file of JSON lines."""
    try:
        value: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or _PLAN.match(line):
        return None
    entry = cast("Mapping[str, object]", value)
    if _is_text(entry, "run") and _is_text(entry, "tenant"):
        if _is_text(entry, "error"):
            return FileKind.APPLY_FAILURES if "plan" in entry else FileKind.FAILURES
        if isinstance(entry.get("answered"), dict):
            return FileKind.WRITES
        for payload, kind in _PAYLOADS.items():
            if isinstance(entry.get(payload), dict):
                return kind
    return FileKind.OTHER_LINES


def _is_text(entry: Mapping[str, object], name: str) -> bool:
    return isinstance(entry.get(name), str)


def _is_plan(path: str | os.PathLike[str]) -> bool:
    with open(path, "rb") as file:
        return _PLAN.match(file.read(200)) is not None
