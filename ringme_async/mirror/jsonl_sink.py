"""An output of JSON lines: a file of records, and beside it a file of failures."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar

from attrs import define, field, frozen

from ringme_async import JSON, Client, Done, Failed, InvalidRequest, client_to_json
from ringme_async._internal.file_kind import FILES_OF_LINES, FileKind, foreign_file
from ringme_async.mirror.errors import OutputError, closed_by, translate_os_errors
from ringme_async.mirror.failures import describe
from ringme_async.mirror.jsonl_file import Entry, JSONLFile
from ringme_async.mirror.output_lock import locked
from ringme_async.mirror.output_path import refuse_database_url
from ringme_async.mirror.sink import Clock, new_run_id, now

__all__ = ["Journal", "JournalSession", "open_journal"]

V = TypeVar("V")

_NOTHING: Final[Mapping[str, JSON]] = {}
# By the payload of the lines: the kinds of the output and of its file of failures.
_KINDS: Final = {
    "client": (FileKind.RECORDS, FileKind.FAILURES),
    "sent": (FileKind.JOURNAL, FileKind.APPLY_FAILURES),
}


def _as_path(path: str | os.PathLike[str]) -> str:
    return os.fspath(path)


@frozen
class Journal:
    """Clients as JSON lines, one a tenant, written as they come.

    A line of ``clients.jsonl`` is ``{"run": ..., "tenant": ..., "at": ..., "client": {...}}``, the
    record as the server sent it. Failures go to ``clients.failures.jsonl``, each with the error's
    class, message, status and HTTP status, whether a change may have been made, and the attempts.

    The promise is exactly once in the output, at least once at the server. It holds however a run
    ends, ``kill -9`` included. A resumed run skips tenants with a line in the file and reads all
    others again. A line is written in one piece, without a buffer. A power cut may lose the last
    seconds, as only the end of a run flushes lines to the disk.

    A resumed run keeps its id, cuts off a half-written last line, and skips tenants in the file. It
    retries failures and removes the successful ones from the file of failures, at its start and at
    its end.

    Args:
        path: The file; created if missing.
        overwrite: Start over and discard an earlier run's output. Any other file is left alone.
        clock: Returns the time of day.
    """

    path: str = field(converter=_as_path)
    overwrite: bool = field(default=False, kw_only=True)
    clock: Clock = field(default=now, kw_only=True, repr=False)

    @asynccontextmanager
    async def open(self, *, resume: bool) -> AsyncGenerator[JournalSession[Client], None]:
        """Open the files for a run.

        Args:
            resume: Continue the run in the files; without it, they must be empty or missing.

        Raises:
            OutputInUse: Another run writes into them.
            OutputError: The files are not empty, without ``resume`` or ``overwrite``. Or a line in
                the middle is malformed; the message names it. Or they cannot be read or written.
            InvalidRequest: Both ``resume`` and ``overwrite`` are set.
        """
        line_format = LineFormat(_client_fields, "client")
        async with open_journal(
            self.path, line_format, resume=resume, overwrite=self.overwrite, clock=self.clock
        ) as session:
            yield session


@frozen
class LineFormat(Generic[V]):
    """The fields of a journal's lines beside run, tenant and time.

    Attributes:
        fields_of: Returns the fields of a tenant that is done.
        payload: The field that identifies a line of this format.
        constant: Fields with the same value in every line; other values mean another journal.
        mismatch: The message for a line of another journal.
    """

    fields_of: Callable[[str, V], Mapping[str, JSON]]
    payload: str
    constant: Mapping[str, JSON] = _NOTHING
    mismatch: str = ""


def _client_fields(_key: str, client: Client) -> Mapping[str, JSON]:
    return {"client": client_to_json(client)}


@define(eq=False)
class JournalSession(Generic[V]):
    """A journal that is open for one run."""

    run: str
    _format: LineFormat[V]
    _output: JSONLFile
    _failures: JSONLFile
    _clock: Clock
    _done: set[str] = field(factory=set[str], init=False)
    # Keys with a failure from an earlier part of the run, and those with a newer outcome since.
    _failed_before: set[str] = field(factory=set[str], init=False)
    _retried: set[str] = field(factory=set[str], init=False)
    _failure: OutputError | None = field(default=None, init=False)

    def is_done(self, key: str) -> bool:
        """True if the output has a line of this tenant from an earlier part of the run."""
        return key in self._done

    async def write(self, key: str, outcome: Done[V] | Failed) -> None:
        """Write a line for a tenant.

        Raises:
            OutputError: The line could not be written.
        """
        head = {
            "run": self.run,
            "tenant": key,
            "at": self._clock().isoformat(timespec="milliseconds"),
            **self._format.constant,
        }
        if isinstance(outcome, Done):
            self._output.append({**head, **self._format.fields_of(key, outcome.value)})
        else:
            self._failures.append({**head, **describe(outcome)})
        if key in self._failed_before:
            self._retried.add(key)
            if isinstance(outcome, Done):
                self._done.add(key)

    async def tick(self) -> None:
        """Check the files; there is nothing left to write.

        Raises:
            OutputError: Somebody else has moved or changed them.
        """
        self._refuse_changed()

    async def finish(self, *, complete: bool) -> int:
        """Return 0: a journal keeps no earlier values to compare with."""
        return 0

    async def start_over(self) -> None:
        """Empty both files."""
        self._output.open()
        self._output.truncate(0)
        self._failures.remove()

    async def resume_run(self) -> None:
        """Read the tenants that the files hold."""
        self._output.open()
        await self._output.read(self._take_done)
        await self._tidy_failures()

    async def close(self) -> None:
        """Keep one line for each open failure, and flush all lines to the disk.

        Raises:
            OutputError: Writing failed, or somebody else has moved or changed the files.
        """
        try:
            self._refuse_changed()
            if self._retried:
                await self._tidy_failures()
            self._output.sync()
            self._failures.sync()
        finally:
            self._output.close()
            self._failures.close()

    def _refuse_changed(self) -> None:
        if self._failure is None:
            try:
                self._output.refuse_changed()
                self._failures.refuse_changed()
            except OutputError as error:
                self._failure = error
        if self._failure is not None:
            raise self._failure

    def _take_done(self, number: int, entry: Entry, _line: bytes) -> None:
        key = self._key_in(self._output, number, entry)
        if not isinstance(entry.get(self._format.payload), dict):
            raise self._output.malformed_line(number)
        if key in self._done:
            raise OutputError(
                f"{self._output.path}, line {number}: {key!r:.100} is there for the second time"
            )
        self._done.add(key)

    async def _tidy_failures(self) -> None:
        """Keep the last failure of each tenant that is not done."""
        lines: dict[str, bytes] = {}
        count = 0

        def on_line(number: int, entry: Entry, line: bytes) -> None:
            nonlocal count
            count += 1
            key = self._key_in(self._failures, number, entry)
            lines.pop(key, None)
            if key not in self._done:
                lines[key] = line

        await self._failures.read(on_line)
        if len(lines) < count:
            self._failures.replace(lines.values())
        self._failed_before = set(lines)
        self._retried.clear()

    def _key_in(self, file: JSONLFile, number: int, entry: Entry) -> str:
        key, run = entry.get("tenant"), entry.get("run")
        if not (isinstance(key, str) and isinstance(run, str)):
            raise file.malformed_line(number)
        for name, value in self._format.constant.items():
            if entry.get(name) != value:
                raise OutputError(f"{file.path}, line {number}: {self._format.mismatch}")
        self.run = run
        return key


@asynccontextmanager
async def open_journal(
    path: str,
    line_format: LineFormat[V],
    *,
    resume: bool,
    overwrite: bool,
    clock: Clock,
    beside: Sequence[JSONLFile] = (),
) -> AsyncGenerator[JournalSession[V], None]:
    """Open a journal and its file of failures; see ``Journal.open``.

    ``beside`` holds further files of the same run, such as the log of open writes.
    """
    refuse_database_url(path)
    if resume and overwrite:
        raise InvalidRequest("a run either goes on with its output or overwrites it")
    output, failures = JSONLFile(path), JSONLFile(failures_beside(path))
    with locked(path):
        kinds = zip((output, failures), _KINDS[line_format.payload], strict=True)
        _refuse_foreign([*kinds, *((file, FileKind.WRITES) for file in beside)], resume=resume)
        non_empty = [file.path for file in (output, failures, *beside) if not file.is_empty]
        if non_empty and not (resume or overwrite):
            raise OutputError(
                f"{non_empty[0]} is not empty: resume the run that it is of (resume=True, --resume),"
                " or overwrite it (overwrite=True, --overwrite)"
            )
        session = JournalSession(new_run_id(), line_format, output, failures, clock)
        async with closed_by(session.close):
            if resume:
                await session.resume_run()
            else:
                await session.start_over()
                for file in beside:
                    file.remove()
            yield session


def _refuse_foreign(files: Sequence[tuple[JSONLFile, FileKind]], *, resume: bool) -> None:
    """Refuse files of other programs, before emptying or cutting them would destroy something.

    Raises:
        OutputError: A file is not the output of such a run.
    """
    # A resumed run reads every line before it cuts anything, and names a foreign line.
    also = FILES_OF_LINES if resume else {FileKind.HALF_A_LINE}
    for file, kind in files:
        if not file.is_empty:
            with translate_os_errors(file.path):
                message = foreign_file(file.path, kind, *also)
            if message is not None:
                raise OutputError(message)


def failures_beside(path: str) -> str:
    """Name the file of failures: that of ``clients.jsonl`` is ``clients.failures.jsonl``."""
    stem, suffix = os.path.splitext(path)
    return f"{stem}.failures{suffix}"
