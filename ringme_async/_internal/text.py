"""Show foreign values in one bounded line, for a message or a ``repr``."""

from __future__ import annotations

import errno
import os
import reprlib
from collections.abc import Mapping
from typing import Final

from ringme_async.errors import one_line

_LONGEST = 100
_MOST_BITS = 1024
_AGAINST: Final[Mapping[int, str]] = {
    errno.EACCES: "check who may use it",
    errno.EPERM: "check who may use it",
    errno.EISDIR: "name a file in it",
    errno.ENOTDIR: "a part of its path is a file",
    errno.EROFS: "choose a place that can be written",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EIO: "check that disk",
}


class _Short(reprlib.Repr):
    """Shortens long and deep values; unlike its base class, accepts huge integers."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = 60
        self.maxother = 80
        self.maxlevel = 3

    def repr_int(self, x: int, level: int) -> str:
        if x.bit_length() > _MOST_BITS:
            return f"an integer of {x.bit_length()} bits"
        return super().repr_int(x, level)


_SHORT = _Short()


def shown(value: object) -> str:
    """Show any value in one line of at most 100 characters."""
    return one_line(_SHORT.repr(value), _LONGEST)


def describe_os_error(error: OSError) -> str:
    """Say what the operating system says, without its number, and what to do."""
    # A library's own OSError may have no number, or one of its own.
    number = error.errno if error.errno in errno.errorcode else None
    words = one_line(os.strerror(number) if number else error.strerror or str(error))
    advice = _AGAINST.get(number or 0)
    return f"{words}; {advice}" if advice else words


def describe_file_error(path: str | os.PathLike[str], error: OSError) -> str:
    """Say which file, what the operating system says of it, and what to do."""
    return f"{os.fspath(path)}: {describe_os_error(error)}"
