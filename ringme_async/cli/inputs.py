"""Reads a command's input: a file, or standard input as ``-``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from ringme_async.cli.errors import CouldNotStart, WrongUsage
from ringme_async.mirror.errors import describe_file_error

__all__ = ["input_name", "is_stdin", "read_input", "refuse_shared_stdin", "refuse_stream"]

_DASH: Final = "-"
_STDIN: Final = (_DASH, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


def is_stdin(path: str | None) -> bool:
    """Return True if a name means standard input."""
    return path in _STDIN


def input_name(path: str) -> str:
    """Name an input in messages."""
    return "standard input" if path == _DASH else path


def read_input(path: str) -> bytes:
    """Read an input completely.

    Raises:
        CouldNotStart: The input cannot be read.
        WrongUsage: Its name is empty.
    """
    if not path:
        raise WrongUsage("the name of a list is empty: name a file, or - for standard input")
    try:
        if path == _DASH:
            return sys.stdin.buffer.read()
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise CouldNotStart(describe_file_error(input_name(path), error)) from None
    except AttributeError:
        # Python has no sys.stdin if the caller has closed it.
        raise CouldNotStart("standard input is closed: name a file") from None


def refuse_shared_stdin(paths: Sequence[str | None]) -> None:
    """Check that at most one input is standard input, which can be read only once.

    Raises:
        WrongUsage: Two inputs are.
    """
    if sum(map(is_stdin, paths)) > 1:
        raise WrongUsage("standard input can be only one of the inputs: name a file for the other")


def refuse_stream(option: str, path: str | None, why: str) -> None:
    """Refuse ``-`` and other names of standard streams where only a file will do.

    Raises:
        WrongUsage: The path names a stream.
    """
    streams = (*_STDIN, "/dev/stdout", "/dev/stderr", "/dev/fd/1", "/dev/fd/2")
    if path in streams:
        raise WrongUsage(f"{option} {path}: {why}")
