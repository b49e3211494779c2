"""A lock against two runs on one output; the system releases it when the process dies."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress

from ringme_async._internal.os_lock import grab, let_go
from ringme_async._internal.text import describe_file_error
from ringme_async.mirror.errors import OutputError, OutputInUse, translate_os_errors

__all__ = ["locked"]


@contextmanager
def locked(target: str) -> Generator[None, None, None]:
    """Hold the lock file beside an output, without waiting for it.

    The lock is free once its holder has ended, even by ``kill -9``. The block removes the file at
    its end; a file that is left behind does no harm.

    Args:
        target: The output's path. All links to one file share one lock.

    Raises:
        OutputInUse: Another run holds the lock.
        OutputError: The lock file cannot be created, or belongs to somebody else.
    """
    # Resolved, as two links to one database would have two locks.
    path = os.path.realpath(target) + ".lock"
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        # Checked here, as an error of the lock file would name a path that the user never gave.
        raise OutputError(f"{target}: there is no folder {folder}")
    with translate_os_errors(target):
        fd = _acquire(path, target)
    try:
        yield
    finally:
        # Removed while held: a run that has opened it meanwhile finds it gone and opens a new one.
        with suppress(OSError):
            os.unlink(path)
        let_go(fd)
        os.close(fd)


def _acquire(path: str, target: str) -> int:
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except PermissionError as error:
            folder = describe_file_error(os.path.dirname(path), error)
            raise OutputError(f"{target}: a run needs a lock file beside it; {folder}") from error
        held = False
        try:
            if os.fstat(fd).st_size:
                # A lock is always empty. The end of the run would delete somebody's file.
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
