"""A file of JSON lines that grows by one write a line, so that killing the writer loses none."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final, cast

from attrs import define, field

from ringme_async import JSON
from ringme_async._internal.atomic_write import write_atomically
from ringme_async.mirror.errors import OutputError, told_of
from ringme_async.mirror.output_path import refuse_moved

__all__ = ["Entry", "LineFile", "json_text"]

Entry = Mapping[str, JSON]

# Reading a long file must let others have their turn.
_LINES_IN_A_ROW: Final = 500
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)


def json_text(value: JSON | Entry) -> str:
    """Write JSON in one line, readable, and such that it has a UTF-8 form."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair has no UTF-8; escaped, it comes through.
        return json.dumps(value)
    return text


@define(eq=False)
class LineFile:
    """JSON objects, one a line; nothing is there until the first one is written.

    Each line is handed to the system in one write, past any buffer of the process: what ``append``
    has returned from is in the file however the process ends. A power cut may lose the last
    seconds, up to ``sync``.
    """

    path: str
    _fd: int | None = field(default=None, init=False)
    _size: int = field(default=0, init=False)

    @property
    def is_empty(self) -> bool:
        """Whether it has no lines, or is not there.

        Raises:
            OutputError: It is something else than a file.
        """
        with told_of(self.path):
            try:
                found = os.stat(self.path)
            except FileNotFoundError:
                return True
        if not stat.S_ISREG(found.st_mode):
            raise OutputError(f"{self.path} is no ordinary file")
        return found.st_size == 0

    async def read(self, take: Callable[[int, Entry, bytes], None]) -> None:
        """Give every line to ``take``, with its number, and cut off a half-written last one.

        Raises:
            OutputError: A line is garbled, or ``take`` does not like it; nothing was cut off.
        """
        if self.is_empty:
            return
        whole = 0
        with told_of(self.path), open(self.path, "rb") as file:  # noqa: ASYNC230 - no pipe: no wait
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                take(number, self._entry(number, line), line)
                whole += len(line)
                if number % _LINES_IN_A_ROW == 0:
                    await asyncio.sleep(0)
        self.cut(whole)

    def append(self, entry: Entry) -> None:
        """Write one line.

        Raises:
            OutputError: It could not be written whole; what was written of it is taken back.
        """
        line = memoryview(f"{json_text(entry)}\n".encode())
        fd = self.open()
        with told_of(self.path):
            try:
                written = 0
                while written < len(line):
                    written += os.write(fd, line[written:])
            except OSError:
                with suppress(OSError):
                    os.ftruncate(fd, self._size)
                raise
        self._size += len(line)

    def open(self) -> int:
        """Make the file if it is missing, and open it for writing.

        Raises:
            OutputError: That cannot be done.
        """
        if self._fd is None:
            with told_of(self.path):
                self._fd = os.open(self.path, _FLAGS, 0o666)
                self._size = os.fstat(self._fd).st_size
        return self._fd

    def cut(self, size: int) -> None:
        """Leave the first ``size`` bytes."""
        with told_of(self.path):
            if os.path.getsize(self.path) > size:
                os.truncate(self.path, size)
                self._size = size

    def remove(self) -> None:
        """Remove the file, if it is there."""
        self.close()
        with told_of(self.path), suppress(FileNotFoundError):
            os.unlink(self.path)

    def replace(self, lines: Iterable[bytes]) -> None:
        """Put other lines in the place of all, at one blow; no lines: remove the file."""
        kept = b"".join(lines)
        if not kept:
            self.remove()
            return
        self.close()
        with told_of(self.path):
            write_atomically(self.path, kept)

    def refuse_changed(self) -> None:
        """See to it that the file, if it is open, is where it was, with all that was written.

        Raises:
            OutputError: Somebody else has moved or changed it; the message says what is lost.
        """
        if self._fd is None:
            return
        ours = os.fstat(self._fd)
        refuse_moved(self.path, ours)
        if ours.st_size < self._size:
            raise OutputError(
                f"{self.path} was cut during the run: {self._size} bytes were written, and"
                f" {ours.st_size} are left; begin the run anew"
            )
        if ours.st_size > self._size:
            raise OutputError(
                f"{self.path} was written to by another program during the run; look through it"
            )

    def sync(self) -> None:
        """Have the system put what was written onto the disk."""
        if self._fd is not None:
            with told_of(self.path):
                os.fsync(self._fd)

    def close(self) -> None:
        """Close the file; writing opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _entry(self, number: int, line: bytes) -> Entry:
        try:
            entry: object = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            raise self.garbled(number)
        return cast("Entry", entry)

    def garbled(self, number: int) -> OutputError:
        """Say that a line is none that a run has written."""
        return OutputError(
            f"{self.path}, line {number}: this is no line of such a run; mend it or remove it"
        )
