"""Write a file whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat

__all__ = ["write_atomically"]


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Put content in the place of a file in one step, with the mode that the file has.

    A crash, a full disk or Ctrl-C leaves the old file. A symbolic link stays one. A device or a
    pipe is written directly.

    Raises:
        OSError: It cannot be written; the old file is as it was.
    """
    # The file behind a link is replaced, and not the link.
    target = os.path.realpath(path)
    mode: int | None = None
    if os.path.exists(target):
        mode = os.stat(target).st_mode
        if not stat.S_ISREG(mode):
            with open(target, "wb") as file:
                file.write(content)
            return
    # A fixed name might be that of a file of the user's.
    beside = f"{target}.{secrets.token_hex(4)}.new"
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with open(fd, "wb") as file:
            if mode is not None:
                os.chmod(beside, stat.S_IMODE(mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except BaseException:
        os.unlink(beside)
        raise
