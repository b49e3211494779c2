"""The operating system's lock on an open file, which it lets go of when the process dies."""

from __future__ import annotations

import os
import sys

__all__ = ["grab", "let_go"]

if sys.platform == "win32":  # pragma: no cover - no Windows among the machines that run the tests
    import msvcrt

    def grab(fd: int) -> bool:
        """Take the lock if it is free; say whether it was."""
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def let_go(fd: int) -> None:
        """Give the lock back."""
        os.lseek(fd, 0, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def grab(fd: int) -> bool:
        """Take the lock if it is free; say whether it was."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def let_go(fd: int) -> None:
        """Give the lock back."""
        # Closing would not do: a process that was forked meanwhile still has it open.
        fcntl.flock(fd, fcntl.LOCK_UN)
