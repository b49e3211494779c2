"""A lock that keeps two runs off one output; the system lets go of it when its process dies."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress

from ringme_async._internal.os_lock import grab, let_go
from ringme_async._internal.text import told_of_file
from ringme_async.mirror.errors import OutputError, OutputInUse, told_of

__all__ = ["locked"]


@contextmanager
def locked(target: str) -> Generator[None, None, None]:
    """Hold the lock on an output, which is a file beside it; never wait for it.

    However the holder ends, ``kill -9`` included, the lock is free then. The file is removed at
    the end; if it is left behind, it does no harm.

    Args:
        target: The output's path. All names that lead to one file by links share one lock.

    Raises:
        OutputInUse: Another run holds it.
        OutputError: The file beside the output cannot be made, or is a file of somebody else.
    """
    # A database may be a path's end or a link to it; what counts is the file itself.
    path = os.path.realpath(target) + ".lock"
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        # Else it would be the lock, of which nobody has heard, that is not there.
        raise OutputError(f"{target}: there is no folder {folder}")
    with told_of(target):
        fd = _take(path, target)
    try:
        yield
    finally:
        # Removed while it is held: who has opened it meanwhile finds that it is no longer there.
        with suppress(OSError):
            os.unlink(path)
        let_go(fd)
        os.close(fd)


def _take(path: str, target: str) -> int:
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except PermissionError as error:
            folder = told_of_file(os.path.dirname(path), error)
            raise OutputError(f"{target}: a run needs a lock file beside it; {folder}") from error
        held = False
        try:
            if os.fstat(fd).st_size:
                # A lock is always empty; the end of the run would remove this file.
                raise OutputError(f"{path} is not empty, so it is no lock; it is left alone")
            if not grab(fd):
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
