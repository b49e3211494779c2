"""Private files, and locks between processes."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress

from ringme_async._internal.os_lock import grab, let_go
from ringme_async.errors import InvalidRequest

__all__ = ["FileLock", "disown_all", "open_private", "sync_directory", "try_lock"]

# Do not follow a link to another place, and do not wait for a pipe without a reader.
# Windows has neither these flags nor the modes that protect a file.
_SAFE_FLAGS = (
    getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
)
_GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO

if sys.platform == "win32":  # pragma: no cover - no Windows among the machines that run the tests

    def _flaw(_found: os.stat_result) -> str | None:
        return None

    def sync_directory(_path: str) -> None:
        """Do nothing: Windows cannot open a directory."""

else:

    def _flaw(found: os.stat_result) -> str | None:
        if found.st_uid != os.geteuid():
            return "belongs to another user"
        if found.st_mode & _GROUP_AND_OTHERS:
            return f"is open to others (mode {stat.S_IMODE(found.st_mode):04o}); make it 0600"
        return None

    def sync_directory(path: str) -> None:
        """Flush a file's new name to disk, or a power loss restores the old file."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def open_private(path: str, flags: int) -> int:
    """Open a file that only its owner may use; a new file gets mode 0600 at once.

    Returns:
        A file descriptor.

    Raises:
        InvalidRequest: It is a link or no regular file, belongs to another user, or other users
            may read or write it.
        OSError: It cannot be opened; FileNotFoundError if it is missing.
    """
    if os.path.islink(path):
        raise InvalidRequest(f"{path} is a symbolic link; name the file itself")
    fd = os.open(path, flags | _SAFE_FLAGS, 0o600)
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
    """Hold a lock file if it is free; never wait for it.

    Args:
        path: The lock file; created if it is missing, and not removed.

    Returns:
        Whether the lock is held.

    Raises:
        InvalidRequest: Another user could have put the file there.
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


class FileLock:
    """A lock that may be held across awaits; its file exists only while it is held.

    The operating system frees it when the process dies. Two locks on one path exclude each other
    within one process, too.

    Args:
        path: The lock file.
    """

    __slots__ = ("_fd", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self) -> bool:
        """Take the lock if it is free; never wait for it.

        Returns:
            Whether this object holds the lock now.

        Raises:
            InvalidRequest: Another user could have put the file there.
            OSError: It cannot be opened or locked.
        """
        while self._fd is None:
            fd = open_private(self._path, os.O_RDWR | os.O_CREAT)
            acquired = False
            try:
                if not grab(fd):
                    return False
                # The last holder may have removed the file after this process opened it.
                acquired = _is_same_file(self._path, fd)
            finally:
                if not acquired:
                    os.close(fd)
            if acquired:
                self._fd = fd
                _held.add(self)
        return True

    def release(self) -> None:
        """Release the lock and remove its file; do nothing if it is not held."""
        fd, self._fd = self._fd, None
        _held.discard(self)
        if fd is None:
            return
        try:
            # Before the release, or this would remove the next holder's file.
            with suppress(OSError):
                os.unlink(self._path)
            with suppress(OSError):
                let_go(fd)
        finally:
            os.close(fd)

    def disown(self) -> None:
        """Close the lock in a child process that has inherited it."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


_held: set[FileLock] = set()


def disown_all() -> None:
    """Close the locks that a fork copied, or a child would keep those of a dead parent."""
    while _held:
        _held.pop().disown()


def _is_same_file(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(after_in_child=disown_all)
