"""A lock that keeps two runs off one output; the system lets go of it when its process dies."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress

from ringme_async.mirror.errors import OutputError, OutputInUse, told_of

__all__ = ["locked"]

if sys.platform == "win32":  # pragma: no cover - no Windows among the machines that run the tests
    import msvcrt

    def _grab(fd: int) -> bool:
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _let_go(fd: int) -> None:
        os.lseek(fd, 0, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _grab(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _let_go(fd: int) -> None:
        # Closing would not do: a process that was forked meanwhile still has it open.
        fcntl.flock(fd, fcntl.LOCK_UN)


@contextmanager
def locked(target: str) -> Generator[None, None, None]:
    """Hold the lock on an output, which is a file beside it; never wait for it.

    However the holder ends, ``kill -9`` included, the lock is free then. The file is removed at
    the end; if it is left behind, it does no harm.

    Args:
        target: The output's path. All names that lead to one file by links share one lock.

    Raises:
        OutputInUse: Another run holds it.
        OutputError: The file beside the output cannot be made.
    """
    # A database may be a path's end or a link to it; what counts is the file itself.
    path = os.path.realpath(target) + ".lock"
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        # Else it would be the lock, of which nobody has heard, that is not there.
        raise OutputError(f"{target}: there is no folder {folder}")
    with told_of(path):
        fd = _take(path, target)
    try:
        yield
    finally:
        # Removed while it is held: who has opened it meanwhile finds that it is no longer there.
        with suppress(OSError):
            os.unlink(path)
        _let_go(fd)
        os.close(fd)


def _take(path: str, target: str) -> int:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        held = False
        try:
            if not _grab(fd):
                raise OutputInUse(f"{target} is being written by another run; wait for its end")
            held = _is_at(path, fd)
        finally:
            if not held:
                os.close(fd)
        if held:
            return fd


def _is_at(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False
