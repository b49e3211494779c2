"""Tokens in a file that several processes use at once.

The file is a journal: a header, then a line for each token that came. Of one key's tokens the one
with the highest number counts, which is its last line; clocks have no say in that. So a login costs one short write, and a process killed in the middle of it
leaves half a line, which is cut off. Writers hold a lock beside the file and first read what others
have added; readers need none. When most lines are out of date the file is written anew under
another name and put in place in one step, with a new header by which the others notice.
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
_KEY_IN_A_NAME = 16

_log = logging.getLogger("ringme_async.auth")


@frozen
class _Line:
    spent_at: float
    text: bytes = field(repr=False)


class TokenFile:
    """The file as this process knows it, and what it has not yet written there.

    Args:
        path: Where it is or shall be.
        capacity: How many tokens are kept in it; the oldest go first, but refresh tokens stay.
        wall_clock: Gives the time since the epoch in seconds.

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
        self._complained = False
        self._records: dict[str, _Line] = {}
        self._header = b""
        self._ours = False
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
        """Give the lock under which one key's refresh token is traded in.

        Each key has its own, so that a token request that stalls holds up no other tenant.

        Args:
            name: The key's name in the file.
        """
        return FileLock(f"{self._path}.{name[:_KEY_IN_A_NAME]}.lock")

    def newest(self, name: str) -> StoredToken | None:
        """Give the token that came last for a key, from whichever process.

        Args:
            name: The key's name in the file.
        """
        try:
            self.catch_up()
        except (OSError, InvalidRequest) as error:
            self._complain(error)
        found = self._known(name)
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
        """Note a token that has just come, to be written with the next ``write``.

        Args:
            name: The key's name in the file.
            value: The token.
            remaining: Seconds for which it is good; None if nobody knows.
            refresh_token: What gets the next one, if only that does.
            after: The number of the key's token before this one, as far as the caller knows.

        Returns:
            The token's number.
        """
        now = self._wall_clock()
        expires = None if remaining is None else now + remaining
        known = self._known(name)
        number = 1 + max(after, 0 if known is None else known.number)
        self._unsaved.pop(name, None)
        self._unsaved[name] = StoredToken(value, now, expires, remaining, refresh_token, number)
        if len(self._unsaved) > self._capacity:
            self._forget_one()
        return number

    def is_unsaved(self, name: str) -> bool:
        """Tell whether a key's newest token is not in the file yet."""
        return name in self._unsaved

    def remaining(self, token: StoredToken) -> float | None:
        """How many seconds a token has yet; None if nobody knows."""
        return token.remaining(self._wall_clock())

    def write(self) -> bool:
        """Write what is unsaved.

        What fails is logged, stays unsaved and is tried again with the next token.

        Returns:
            False if another process holds the lock just now.
        """
        if not self._unsaved:
            return True
        try:
            with try_lock(self._lock_path) as held:
                if not held:
                    return False
                self.catch_up()
                self._put()
        except (OSError, InvalidRequest) as error:
            self._complain(error)
        else:
            self._complained = False
        return True

    def _put(self) -> None:
        lines: dict[str, _Line] = {}
        for name, token in self._unsaved.items():
            theirs = self._on_file(name)
            if theirs is None or theirs.number < token.number:
                lines[name] = _Line(token.spent_at, to_line(name, token))
        longest = 2 * min(len(self._records), self._capacity) + _SPARE_LINES
        if self._ours and not self._damaged and self._count + len(lines) <= longest:
            self._append(lines)
        else:
            self._rewrite(lines)
        self._unsaved.clear()

    def _append(self, lines: dict[str, _Line]) -> None:
        # A view, as a traceback that shows this frame's locals would show the tokens.
        text = memoryview(b"".join(line.text for line in lines.values()))
        fd = open_private(self._path, os.O_WRONLY)
        try:
            # The half line of somebody who was killed; nobody writes now, as the lock is ours.
            os.ftruncate(fd, self._offset)
            os.lseek(fd, 0, os.SEEK_END)
            _write_all(fd, text)
            if any(line.spent_at == math.inf for line in lines.values()):
                # A login replaces a token that is lost with the power, but no refresh token.
                os.fsync(fd)
        finally:
            os.close(fd)
        self._learn(lines)
        self._offset += len(text)
        self._count += len(lines)

    def _rewrite(self, lines: dict[str, _Line]) -> None:
        self._learn(lines)
        self._prune()
        header = _new_header()
        text = memoryview(header + b"".join(line.text for line in self._records.values()))
        draft = self._path + ".new"
        with suppress(FileNotFoundError):
            # Left by somebody who was killed; nobody writes now, as the lock is ours.
            os.unlink(draft)
        fd = open_private(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            _write_all(fd, text)
            os.fsync(fd)
        finally:
            os.close(fd)
        if self._header and not self._ours:
            os.replace(self._path, self._path + ".corrupt")
        os.replace(draft, self._path)
        sync_directory(os.path.dirname(self._path))
        self._header = header
        self._ours, self._damaged = True, False
        self._offset = len(text)
        self._count = len(self._records)

    def _learn(self, lines: dict[str, _Line]) -> None:
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

    def _forget_one(self) -> None:
        # A login replaces a token that is lost, but no refresh token.
        replaceable = (name for name, token in self._unsaved.items() if token.refresh_token is None)
        name = next(replaceable, None)
        if name is not None:
            del self._unsaved[name]

    def _known(self, name: str) -> StoredToken | None:
        # The file's first: of two logins at once it counts, as everybody can see it.
        known = (self._on_file(name), self._unsaved.get(name))
        return max((token for token in known if token), key=_number_of, default=None)

    def _on_file(self, name: str) -> StoredToken | None:
        line = self._records.get(name)
        found = None if line is None else from_line(line.text)
        return None if found is None else found[1]

    def catch_up(self) -> None:
        """Read what other processes have written.

        Raises:
            InvalidRequest: The file is one that somebody else could have put there.
            OSError: It cannot be read.
        """
        try:
            fd = open_private(self._path, os.O_RDONLY)
        except FileNotFoundError:
            self._start_over(b"")
            return
        with os.fdopen(fd, "rb") as file:
            header = file.readline(_LONGEST_HEADER)
            if header != self._header or os.fstat(fd).st_size < self._offset:
                self._start_over(header)
            if self._ours:
                self._read_on(file)

    def _start_over(self, header: bytes) -> None:
        self._header = header
        self._ours = _is_header(header)
        self._damaged = False
        self._offset = len(header)
        self._count = 0
        self._records = {}
        if header and not self._ours:
            _log.warning("%s is broken or no token file; ignored", self._path)

    def _read_on(self, file: BinaryIO) -> None:
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
                self._learn({found[0]: _Line(found[1].spent_at, line)})
        self._count += len(lines)
        self._offset += end
        if unreadable:
            self._damaged = True
            _log.warning("%s: %d unreadable lines ignored", self._path, unreadable)

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
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
