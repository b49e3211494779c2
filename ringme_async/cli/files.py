"""The files of a command: it never writes a file that it reads."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from itertools import combinations
from typing import Final

from ringme_async.cli.errors import WrongUsage
from ringme_async.mirror.jsonl_sink import failures_beside

__all__ = ["NamedPaths", "files_of_output", "refuse_shared_files"]

NamedPaths = Mapping[str, str]
"""Paths, by the names that messages use."""

_SQLITE: Final = re.compile(r"sqlite(?:\+\w+)?:///([^?]*)")
_STDIN: Final = "/dev/stdin"
_STDOUT: Final = {"stdout": "/dev/stdout"}


def files_of_output(option: str, output: str) -> NamedPaths:
    """Return all files that a run writes or removes for an output."""
    database = _SQLITE.match(output)
    if database is not None:
        # SQLite's own files; it removes a user's "-journal" file as the leftover of a crash.
        endings = ("-journal", "-wal", "-shm", ".lock")
        path = database[1]
        return {option: path} | {
            f"the {path}{ending} of {option}": path + ending for ending in endings
        }
    if "://" in output:
        return {}
    return {
        option: output,
        f"the failures of {option}": failures_beside(output),
        f"the lock of {option}": os.path.realpath(output) + ".lock",
    }


def refuse_shared_files(inputs: NamedPaths, outputs: NamedPaths) -> None:
    """Check that no output is also an input or another output.

    One file may have several names: by links of both kinds, by other spellings, and as
    ``/dev/stdin`` when the shell has opened it.

    Raises:
        WrongUsage: One file has two uses.
    """
    pairs = [(output, read) for output in outputs.items() for read in inputs.items()]
    pairs += combinations({**outputs, **_STDOUT}.items(), 2)
    for (output, path), (other, other_path) in pairs:
        if _is_same_file(path, _STDIN if other_path == "-" else other_path):
            raise WrongUsage(f"{output} and {other} are one file, {path}; choose another for one")


def _is_same_file(path: str, other: str) -> bool:
    try:
        found, other_found = os.stat(path), os.stat(other)
    except OSError:
        # A missing file has no identity but its path.
        return _canonical_path(path) == _canonical_path(other)
    return stat.S_ISREG(found.st_mode) and os.path.samestat(found, other_found)


def _canonical_path(path: str) -> str:
    return os.path.normcase(os.path.realpath(path))
