"""A lock on an open file; the operating system releases it when the process dies."""

from __future__ import annotations

import os
import sys

__all__ = ["grab", "let_go"]

if sys.platform == "win32":  # pragma: no cover - the tests do not run on Windows
    import msvcrt

    def grab(fd: int) -> bool:
        """Take the lock if it is free; False if it is not."""
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def let_go(fd: int) -> None:
        """Release the lock."""
        os.lseek(fd, 0, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def grab(fd: int) -> bool:
        """Take the lock if it is free; False if it is not."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def let_go(fd: int) -> None:
        """Release the lock."""
        # Closing is not enough: a forked process may still hold the file open.
        fcntl.flock(fd, fcntl.LOCK_UN)
