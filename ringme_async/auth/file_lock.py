"""A lock between processes, held for a moment."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Generator
from contextlib import contextmanager

from ringme_async.errors import InvalidRequest
from ringme_async.system_lock import grab, let_go

__all__ = ["open_private", "try_lock"]

# Neither a link that points elsewhere nor a pipe that never answers is followed or waited for.
# Windows has none of these flags, nor modes that would say who may read.
_CAREFULLY = (
    getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
)
_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO

if sys.platform == "win32":  # pragma: no cover - no Windows among the machines that run the tests

    def _flaw(_found: os.stat_result) -> str | None:
        return None

else:

    def _flaw(found: os.stat_result) -> str | None:
        if found.st_uid != os.geteuid():
            return "belongs to another user"
        if found.st_mode & _FOR_OTHERS:
            return f"is open to others (mode {stat.S_IMODE(found.st_mode):04o}); make it 0600"
        return None


def open_private(path: str, flags: int) -> int:
    """Open a file that only its owner may use; one that is created gets mode 0600 at once.

    Returns:
        A file descriptor.

    Raises:
        InvalidRequest: It is a link or no ordinary file, belongs to somebody else, or others may
            read or write it.
        OSError: It cannot be opened; FileNotFoundError if it is not there.
    """
    if os.path.islink(path):
        raise InvalidRequest(f"{path} is a symbolic link; name the file itself")
    fd = os.open(path, flags | _CAREFULLY, 0o600)
    try:
        found = os.fstat(fd)
        flaw = _flaw(found) if stat.S_ISREG(found.st_mode) else "is no ordinary file"
        if flaw is not None:
            raise InvalidRequest(f"{path} {flaw}")
    except BaseException:
        os.close(fd)
        raise
    return fd


@contextmanager
def try_lock(path: str) -> Generator[bool, None, None]:
    """Hold the lock that a file stands for, if nobody else does; never wait for it.

    Args:
        path: The file; created if it is missing, and left where it is.

    Returns:
        Whether the lock is held.

    Raises:
        InvalidRequest: The file is one that somebody else could have put there.
        OSError: It cannot be opened or locked.
    """
    fd = open_private(path, os.O_RDWR | os.O_CREAT)
    try:
        held = grab(fd)
        try:
            yield held
        finally:
            if held:
                let_go(fd)
    finally:
        os.close(fd)
