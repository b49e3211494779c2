"""A file of JSON lines with one system write a line, so that a killed writer loses none."""

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
from ringme_async.mirror.errors import OutputError, translate_os_errors
from ringme_async.mirror.output_path import refuse_moved

__all__ = ["Entry", "JSONLFile", "json_text"]

Entry = Mapping[str, JSON]

# Yield to the event loop after this many lines: a long file would block it.
_LINES_BETWEEN_YIELDS: Final = 500
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)


def json_text(value: JSON | Entry) -> str:
    """Write JSON as one readable line that can be encoded as UTF-8."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair has no UTF-8 form; the escaped form has.
        return json.dumps(value)
    return text


@define(eq=False)
class JSONLFile:
    """JSON objects, one a line; the first write creates the file.

    ``append`` hands each line to the system in one write, without a buffer. A line is in the file
    once ``append`` returns, however the process ends. A power cut may lose lines written since the
    last ``sync``.
    """

    path: str
    _fd: int | None = field(default=None, init=False)
    _size: int = field(default=0, init=False)

    @property
    def is_empty(self) -> bool:
        """True if the file has no lines or does not exist.

        Raises:
            OutputError: The path is not a regular file.
        """
        with translate_os_errors(self.path):
            try:
                found = os.stat(self.path)
            except FileNotFoundError:
                return True
        if not stat.S_ISREG(found.st_mode):
            raise OutputError(f"{self.path} is no ordinary file")
        return found.st_size == 0

    async def read(self, on_line: Callable[[int, Entry, bytes], None]) -> None:
        """Pass every line and its number to ``on_line``; cut off a half-written last line.

        Raises:
            OutputError: A line is malformed, or ``on_line`` refused it; nothing was cut off.
        """
        if self.is_empty:
            return
        whole = 0
        with translate_os_errors(self.path), open(self.path, "rb") as file:  # noqa: ASYNC230 - no pipe: no wait
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                on_line(number, self._parse(number, line), line)
                whole += len(line)
                if number % _LINES_BETWEEN_YIELDS == 0:
                    await asyncio.sleep(0)
        self.truncate(whole)

    def append(self, entry: Entry) -> None:
        """Write one line.

        Raises:
            OutputError: The line could not be written whole; a written part was removed.
        """
        line = memoryview(f"{json_text(entry)}\n".encode())
        fd = self.open()
        with translate_os_errors(self.path):
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
        """Open the file for writing; create it if missing.

        Raises:
            OutputError: The file cannot be opened.
        """
        if self._fd is None:
            with translate_os_errors(self.path):
                self._fd = os.open(self.path, _FLAGS, 0o666)
                self._size = os.fstat(self._fd).st_size
        return self._fd

    def truncate(self, size: int) -> None:
        """Keep the first ``size`` bytes."""
        with translate_os_errors(self.path):
            if os.path.getsize(self.path) > size:
                os.truncate(self.path, size)
                self._size = size

    def remove(self) -> None:
        """Remove the file if it exists."""
        self.close()
        with translate_os_errors(self.path), suppress(FileNotFoundError):
            os.unlink(self.path)

    def replace(self, lines: Iterable[bytes]) -> None:
        """Replace all lines atomically; without lines, remove the file."""
        kept = b"".join(lines)
        if not kept:
            self.remove()
            return
        self.close()
        with translate_os_errors(self.path):
            write_atomically(self.path, kept)

    def refuse_changed(self) -> None:
        """Check that an open file is still at its path and holds exactly what was written.

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
        """Flush written lines to the disk."""
        if self._fd is not None:
            with translate_os_errors(self.path):
                os.fsync(self._fd)

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _parse(self, number: int, line: bytes) -> Entry:
        try:
            entry: object = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            raise self.malformed_line(number)
        return cast("Entry", entry)

    def malformed_line(self, number: int) -> OutputError:
        """Return the error for a line that no run has written."""
        return OutputError(
            f"{self.path}, line {number}: this is no line of such a run; mend it or remove it"
        )
