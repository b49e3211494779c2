"""The files of a command: what it writes is never what it reads."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from itertools import combinations
from typing import Final

from ringme_async.cli.errors import WrongUsage
from ringme_async.mirror.jsonl_sink import failures_beside

__all__ = ["Named", "files_of_output", "keep_apart"]

Named = Mapping[str, str]
"""Paths by what the person calls them."""

_SQLITE: Final = re.compile(r"sqlite(?:\+\w+)?:///([^?]*)")
_STDIN: Final = "/dev/stdin"
_STDOUT: Final = {"stdout": "/dev/stdout"}


def files_of_output(option: str, output: str) -> Named:
    """Name all files that a run with an output writes or removes: those beside it as well."""
    database = _SQLITE.match(output)
    if database is not None:
        # SQLite's own files; it removes a journal that it takes for one that a crash has left.
        endings = ("-journal", "-wal", "-shm", ".lock")
        path = database[1]
        return {option: path} | {f"the {path}{one} of {option}": path + one for one in endings}
    if "://" in output:
        return {}
    return {
        option: output,
        f"the failures of {option}": failures_beside(output),
        f"the lock of {option}": os.path.realpath(output) + ".lock",
    }


def keep_apart(inputs: Named, outputs: Named) -> None:
    """See to it that no file is written that is read or written for something else.

    One file may have several names: by links of both kinds, by other spellings, and as
    ``/dev/stdin`` when the shell has opened it.

    Raises:
        WrongUsage: There is such a file.
    """
    pairs = [(output, read) for output in outputs.items() for read in inputs.items()]
    pairs += combinations({**outputs, **_STDOUT}.items(), 2)
    for (output, path), (other, other_path) in pairs:
        if _is_same(path, _STDIN if other_path == "-" else other_path):
            raise WrongUsage(f"{output} and {other} are one file, {path}; choose another for one")


def _is_same(one: str, other: str) -> bool:
    try:
        found, other_found = os.stat(one), os.stat(other)
    except OSError:
        # A file that is not there yet has no identity but its path.
        return _spelt_out(one) == _spelt_out(other)
    return stat.S_ISREG(found.st_mode) and os.path.samestat(found, other_found)


def _spelt_out(path: str) -> str:
    return os.path.normcase(os.path.realpath(path))
