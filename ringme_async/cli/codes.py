"""The exit codes of the command line: they are a promise to scripts."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended."""

    ALL_WELL = 0
    SOME_FAILED = 1
    WRONG_USAGE = 2
    COULD_NOT_START = 3
    INTERRUPTED = 130
