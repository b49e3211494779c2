"""Tokens in a file that several processes share.

The file is an append-only log: a header, then a line for each new token. For each key the token
with the highest number is valid, which is the key's last line. Clocks do not decide. A login costs
one short write. A process that is killed in a write leaves half a line, which the next writer cuts
off. Writers hold a lock file and first read the lines of other processes. Readers need no lock.
When most lines are out of date, a writer replaces the file atomically. The new file has a new
header, so that other processes notice.
"""

from __future__ import annotations

import json
import logging
import math
import os
import secrets
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

from attrs import field, frozen

from ringme_async._internal.text import describe_file_error
from ringme_async._internal.validation import kind_of
from ringme_async.auth.private_file import FileLock, open_private, sync_directory, try_lock
from ringme_async.auth.token_record import StoredToken, from_line, to_line
from ringme_async.errors import InvalidRequest

__all__ = ["TokenFile"]

_FORMAT = 1
_LONGEST_HEADER = 200
_SPARE_LINES = 1_000
_KEY_CHARS_IN_NAME = 16

_log = logging.getLogger("ringme_async.auth")


@frozen
class _Line:
    spent_at: float
    text: bytes = field(repr=False)


class TokenFile:
    """A file of tokens: this process's copy of it, and the tokens not written yet.

    Args:
        path: The file's path; the file is created on the first write.
        capacity: The largest number of tokens. The oldest are evicted first, refresh tokens never.
        wall_clock: Returns the time since the epoch in seconds.

    Raises:
        InvalidRequest: The directory is missing, or the file or its lock cannot be used safely.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, capacity: int, wall_clock: Callable[[], float]
    ) -> None:
        if not isinstance(path, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidRequest(f"path must be that of a file, not {kind_of(path)}")
        self._path = os.path.abspath(path)
        self._capacity = capacity
        self._wall_clock = wall_clock
        self._unsaved: OrderedDict[str, StoredToken] = OrderedDict()
        self._warned = False
        self._records: dict[str, _Line] = {}
        self._header = b""
        self._header_valid = False
        self._damaged = False
        self._offset = 0
        self._count = 0
        directory = os.path.dirname(self._path)
        if not os.path.isdir(directory):
            raise InvalidRequest(f"no directory {directory} for the token file")
        try:
            self.catch_up()
            with try_lock(self._lock_path):
                pass
        except OSError as error:
            raise InvalidRequest(
                f"no use as a token file: {describe_file_error(self._path, error)}"
            ) from None

    def __str__(self) -> str:
        return self._path

    @property
    def _lock_path(self) -> str:
        return self._path + ".lock"

    def lock_of(self, name: str) -> FileLock:
        """Give the lock for trade-ins of one key's refresh token.

        Each key has its own lock, so that a stalled token request does not delay other tenants.

        Args:
            name: The key's name in the file.
        """
        return FileLock(f"{self._path}.{name[:_KEY_CHARS_IN_NAME]}.lock")

    def newest(self, name: str) -> StoredToken | None:
        """Give the newest token of a key, of this process or another.

        Args:
            name: The key's name in the file.
        """
        try:
            self.catch_up()
        except (OSError, InvalidRequest) as error:
            self._warn_once(error)
        found = self._newest_known(name)
        if found is None or found.spent_at <= self._wall_clock():
            return None
        return found

    def keep(
        self,
        name: str,
        value: str,
        remaining: float | None,
        refresh_token: str | None,
        *,
        after: int = 0,
    ) -> int:
        """Keep a new token in memory until the next ``write``.

        Args:
            name: The key's name in the file.
            value: The token.
            remaining: Seconds until it expires; None if unknown.
            refresh_token: The new refresh token; None if the credentials get the next token.
            after: The sequence number of the key's previous token that the caller knows.

        Returns:
            The token's sequence number.
        """
        now = self._wall_clock()
        expires = None if remaining is None else now + remaining
        known = self._newest_known(name)
        number = 1 + max(after, 0 if known is None else known.number)
        self._unsaved.pop(name, None)
        self._unsaved[name] = StoredToken(value, now, expires, remaining, refresh_token, number)
        if len(self._unsaved) > self._capacity:
            self._evict_unsaved()
        return number

    def is_unsaved(self, name: str) -> bool:
        """True if a key's newest token is not in the file yet."""
        return name in self._unsaved

    def remaining(self, token: StoredToken) -> float | None:
        """Seconds until a token expires; None if unknown."""
        return token.remaining(self._wall_clock())

    def write(self) -> bool:
        """Write unsaved tokens.

        After a failure, which is logged, the tokens stay unsaved and the next write retries.

        Returns:
            False if another process holds the lock.
        """
        if not self._unsaved:
            return True
        try:
            with try_lock(self._lock_path) as held:
                if not held:
                    return False
                self.catch_up()
                self._write_unsaved()
        except (OSError, InvalidRequest) as error:
            self._warn_once(error)
        else:
            self._warned = False
        return True

    def _write_unsaved(self) -> None:
        lines: dict[str, _Line] = {}
        for name, token in self._unsaved.items():
            theirs = self._newest_in_file(name)
            if theirs is None or theirs.number < token.number:
                lines[name] = _Line(token.spent_at, to_line(name, token))
        longest = 2 * min(len(self._records), self._capacity) + _SPARE_LINES
        if self._header_valid and not self._damaged and self._count + len(lines) <= longest:
            self._append(lines)
        else:
            self._rewrite(lines)
        self._unsaved.clear()

    def _append(self, lines: dict[str, _Line]) -> None:
        # A memoryview, because a traceback with this frame's locals would show bytes.
        text = memoryview(b"".join(line.text for line in lines.values()))
        fd = open_private(self._path, os.O_WRONLY)
        try:
            # Cut off the half line of a killed writer. The lock is held, so nobody writes now.
            os.ftruncate(fd, self._offset)
            os.lseek(fd, 0, os.SEEK_END)
            _write_all(fd, text)
            if any(line.spent_at == math.inf for line in lines.values()):
                # A power loss may take an access token, which a login replaces, but no refresh token.
                os.fsync(fd)
        finally:
            os.close(fd)
        self._index_lines(lines)
        self._offset += len(text)
        self._count += len(lines)

    def _rewrite(self, lines: dict[str, _Line]) -> None:
        self._index_lines(lines)
        self._prune()
        header = _new_header()
        text = memoryview(header + b"".join(line.text for line in self._records.values()))
        draft = self._path + ".new"
        with suppress(FileNotFoundError):
            # A killed writer may have left it. The lock is held, so nobody writes now.
            os.unlink(draft)
        fd = open_private(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            _write_all(fd, text)
            os.fsync(fd)
        finally:
            os.close(fd)
        if self._header and not self._header_valid:
            os.replace(self._path, self._path + ".corrupt")
        os.replace(draft, self._path)
        sync_directory(os.path.dirname(self._path))
        self._header = header
        self._header_valid, self._damaged = True, False
        self._offset = len(text)
        self._count = len(self._records)

    def _index_lines(self, lines: dict[str, _Line]) -> None:
        for name, line in lines.items():
            self._records.pop(name, None)
            self._records[name] = line

    def _prune(self) -> None:
        now = self._wall_clock()
        live = {name: line for name, line in self._records.items() if line.spent_at > now}
        excess = max(0, len(live) - self._capacity)
        oldest = [name for name, line in live.items() if line.spent_at < math.inf][:excess]
        for name in oldest:
            del live[name]
        self._records = live

    def _evict_unsaved(self) -> None:
        # Never a refresh token: a login could not replace it.
        replaceable = (name for name, token in self._unsaved.items() if token.refresh_token is None)
        name = next(replaceable, None)
        if name is not None:
            del self._unsaved[name]

    def _newest_known(self, name: str) -> StoredToken | None:
        # The file's token first: of two with one number it wins, as other processes see it.
        known = (self._newest_in_file(name), self._unsaved.get(name))
        return max((token for token in known if token), key=_number_of, default=None)

    def _newest_in_file(self, name: str) -> StoredToken | None:
        line = self._records.get(name)
        found = None if line is None else from_line(line.text)
        return None if found is None else found[1]

    def catch_up(self) -> None:
        """Read the lines that other processes have written.

        Raises:
            InvalidRequest: Another user could have put the file there.
            OSError: It cannot be read.
        """
        try:
            fd = open_private(self._path, os.O_RDONLY)
        except FileNotFoundError:
            self._reset(b"")
            return
        with os.fdopen(fd, "rb") as file:
            header = file.readline(_LONGEST_HEADER)
            if header != self._header or os.fstat(fd).st_size < self._offset:
                self._reset(header)
            if self._header_valid:
                self._read_appended(file)

    def _reset(self, header: bytes) -> None:
        self._header = header
        self._header_valid = _is_header(header)
        self._damaged = False
        self._offset = len(header)
        self._count = 0
        self._records = {}
        if header and not self._header_valid:
            _log.warning("%s is broken or no token file; ignored", self._path)

    def _read_appended(self, file: BinaryIO) -> None:
        file.seek(self._offset)
        text = file.read()
        end = text.rfind(b"\n") + 1
        lines = text[:end].splitlines(keepends=True)
        unreadable = 0
        for line in lines:
            found = from_line(line)
            if found is None:
                unreadable += 1
            else:
                self._index_lines({found[0]: _Line(found[1].spent_at, line)})
        self._count += len(lines)
        self._offset += end
        if unreadable:
            self._damaged = True
            _log.warning("%s: %d unreadable lines ignored", self._path, unreadable)

    def _warn_once(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            _log.warning("Tokens are not kept in %s for now: %s", self._path, error)


def _number_of(token: StoredToken) -> int:
    return token.number


def _new_header() -> bytes:
    header = {"ringme_tokens": _FORMAT, "generation": secrets.token_hex(16)}
    return json.dumps(header).encode("ascii") + b"\n"


def _is_header(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and json.loads(line)["ringme_tokens"] == _FORMAT
    except (ValueError, RecursionError, LookupError, TypeError):
        return False


def _write_all(fd: int, left: memoryview) -> None:
    while left:
        left = left[os.write(fd, left) :]
