"""Write a file atomically."""

from __future__ import annotations

import os
import secrets
import stat

__all__ = ["write_atomically"]


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Replace a file's content in one step, keeping its mode.

    A crash, a full disk or Ctrl-C leaves the old file. A symbolic link stays a link. A device or a
    pipe is written directly.

    Raises:
        OSError: The file cannot be written; the old content stays.
    """
    # Replacing the path itself would turn a symbolic link into a file.
    target = os.path.realpath(path)
    mode: int | None = None
    if os.path.exists(target):
        mode = os.stat(target).st_mode
        if not stat.S_ISREG(mode):
            with open(target, "wb") as file:
                file.write(content)
            return
    # A fixed name could overwrite a file of the user.
    new_file = f"{target}.{secrets.token_hex(4)}.new"
    fd = os.open(new_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with open(fd, "wb") as file:
            if mode is not None:
                os.chmod(new_file, stat.S_IMODE(mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new_file, target)
    except BaseException:
        os.unlink(new_file)
        raise
