"""An output of JSON lines: one file for what was done, one beside it for what failed."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar

from attrs import define, field, frozen

from ringme_async import JSON, Client, Done, Failed, InvalidRequest, client_to_json
from ringme_async._internal.file_kind import FILES_OF_LINES, FileKind, foreign_file
from ringme_async.mirror.errors import OutputError, closed_by, told_of
from ringme_async.mirror.failures import describe
from ringme_async.mirror.jsonl_file import Entry, LineFile
from ringme_async.mirror.output_lock import locked
from ringme_async.mirror.output_path import refuse_database_url
from ringme_async.mirror.sink import Clock, new_run_id, now

__all__ = ["Journal", "JournalSession", "open_journal"]

V = TypeVar("V")

_NOTHING: Final[Mapping[str, JSON]] = {}
# Of an output by what its lines hold: its own kind, and that of the failures beside it.
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

    The promise is exactly once in the output, at least once at the server: however a run ends,
    ``kill -9`` included, a tenant whose line is in the file is not read again when the run is
    resumed, and one that was read without leaving a line is read again. A line is written in one
    piece, without a buffer; a power cut may lose those of the last seconds, as only the end of a
    run puts them onto the disk.

    A run that is resumed keeps its id. It cuts off a half-written last line and skips whom the
    file has; failures are tried again, and leave the failures when they succeed: the file of
    failures is tidied up at the start and at the end of such a run.

    Args:
        path: The file; it is made if it is missing.
        overwrite: Begin anew although an earlier run's output is in the file, which is lost. A file
            that no such run has written is left alone.
        clock: Tells the time of day.
    """

    path: str = field(converter=_as_path)
    overwrite: bool = field(default=False, kw_only=True)
    clock: Clock = field(default=now, kw_only=True, repr=False)

    @asynccontextmanager
    async def open(self, *, resume: bool) -> AsyncGenerator[JournalSession[Client], None]:
        """Take hold of the files for a run.

        Args:
            resume: Go on with what is in the files; without it, they must be empty or missing.

        Raises:
            OutputInUse: Another run writes into them.
            OutputError: There is something in them, and neither ``resume`` nor ``overwrite`` is
                asked for; a line in the middle is garbled, which the message names; or they cannot
                be read or written.
            InvalidRequest: Both ``resume`` and ``overwrite`` are asked for.
        """
        form = Form(_in_line, "client")
        async with open_journal(
            self.path, form, resume=resume, overwrite=self.overwrite, clock=self.clock
        ) as session:
            yield session


@frozen
class Form(Generic[V]):
    """What the lines of a journal hold beside run, tenant and time.

    Attributes:
        told: Gives what there is to tell of a tenant that is done.
        payload: The name by which a line is known to be of this form.
        constant: What every line holds; lines that hold something else are of another journal.
        foreign: What to say of those.
    """

    told: Callable[[str, V], Mapping[str, JSON]]
    payload: str
    constant: Mapping[str, JSON] = _NOTHING
    foreign: str = ""


def _in_line(_key: str, client: Client) -> Mapping[str, JSON]:
    return {"client": client_to_json(client)}


@define(eq=False)
class JournalSession(Generic[V]):
    """One run's hold on a journal."""

    run: str
    _form: Form[V]
    _output: LineFile
    _failures: LineFile
    _clock: Clock
    _done: set[str] = field(factory=set[str], init=False)
    # Whom an earlier part of the run has failed for, and who has a newer outcome since.
    _failed_before: set[str] = field(factory=set[str], init=False)
    _overtaken: set[str] = field(factory=set[str], init=False)
    _flaw: OutputError | None = field(default=None, init=False)

    def is_done(self, key: str) -> bool:
        """Whether the output had a line of this tenant at the start."""
        return key in self._done

    async def write(self, key: str, outcome: Done[V] | Failed) -> None:
        """Write a line for a tenant.

        Raises:
            OutputError: It could not be written.
        """
        head = {
            "run": self.run,
            "tenant": key,
            "at": self._clock().isoformat(timespec="milliseconds"),
            **self._form.constant,
        }
        if isinstance(outcome, Done):
            self._output.append({**head, **self._form.told(key, outcome.value)})
        else:
            self._failures.append({**head, **describe(outcome)})
        if key in self._failed_before:
            self._overtaken.add(key)
            if isinstance(outcome, Done):
                self._done.add(key)

    async def tick(self) -> None:
        """Look after the files: all is written.

        Raises:
            OutputError: Somebody else has moved or changed them.
        """
        self._refuse_changed()

    async def finish(self, *, complete: bool) -> int:
        """Do nothing more than the end of the block does; nobody knows what has changed."""
        return 0

    async def begin_anew(self) -> None:
        """Empty both files."""
        self._output.open()
        self._output.cut(0)
        self._failures.remove()

    async def go_on(self) -> None:
        """Take in what the files hold."""
        self._output.open()
        await self._output.read(self._take_done)
        await self._tidy_failures()

    async def close(self) -> None:
        """Leave one line for each failure that still is one, and put all onto the disk.

        Raises:
            OutputError: It could not be done, or somebody else has moved or changed the files.
        """
        try:
            self._refuse_changed()
            if self._overtaken:
                await self._tidy_failures()
            self._output.sync()
            self._failures.sync()
        finally:
            self._output.close()
            self._failures.close()

    def _refuse_changed(self) -> None:
        if self._flaw is None:
            try:
                self._output.refuse_changed()
                self._failures.refuse_changed()
            except OutputError as flaw:
                self._flaw = flaw
        if self._flaw is not None:
            raise self._flaw

    def _take_done(self, number: int, entry: Entry, _line: bytes) -> None:
        key = self._key_in(self._output, number, entry)
        if not isinstance(entry.get(self._form.payload), dict):
            raise self._output.garbled(number)
        if key in self._done:
            raise OutputError(
                f"{self._output.path}, line {number}: {key!r:.100} is there for the second time"
            )
        self._done.add(key)

    async def _tidy_failures(self) -> None:
        """Keep of each tenant that is not done the last failure."""
        lines: dict[str, bytes] = {}
        count = 0

        def take(number: int, entry: Entry, line: bytes) -> None:
            nonlocal count
            count += 1
            key = self._key_in(self._failures, number, entry)
            lines.pop(key, None)
            if key not in self._done:
                lines[key] = line

        await self._failures.read(take)
        if len(lines) < count:
            self._failures.replace(lines.values())
        self._failed_before = set(lines)
        self._overtaken.clear()

    def _key_in(self, file: LineFile, number: int, entry: Entry) -> str:
        key, run = entry.get("tenant"), entry.get("run")
        if not (isinstance(key, str) and isinstance(run, str)):
            raise file.garbled(number)
        for name, value in self._form.constant.items():
            if entry.get(name) != value:
                raise OutputError(f"{file.path}, line {number}: {self._form.foreign}")
        self.run = run
        return key


@asynccontextmanager
async def open_journal(
    path: str,
    form: Form[V],
    *,
    resume: bool,
    overwrite: bool,
    clock: Clock,
    beside: Sequence[LineFile] = (),
) -> AsyncGenerator[JournalSession[V], None]:
    """Take hold of a journal and of the file of failures beside it; see ``Journal.open``.

    The log of open writes of the same run is the file ``beside`` it.
    """
    refuse_database_url(path)
    if resume and overwrite:
        raise InvalidRequest("a run either goes on with its output or overwrites it")
    output, failures = LineFile(path), LineFile(failures_beside(path))
    with locked(path):
        kinds = zip((output, failures), _KINDS[form.payload], strict=True)
        _refuse_foreign([*kinds, *((file, FileKind.WRITES) for file in beside)], resume=resume)
        full = [file.path for file in (output, failures, *beside) if not file.is_empty]
        if full and not (resume or overwrite):
            raise OutputError(
                f"{full[0]} is not empty: resume the run that it is of (resume=True, --resume),"
                " or overwrite it (overwrite=True, --overwrite)"
            )
        session = JournalSession(new_run_id(), form, output, failures, clock)
        async with closed_by(session.close):
            if resume:
                await session.go_on()
            else:
                await session.begin_anew()
                for file in beside:
                    file.remove()
            yield session


def _refuse_foreign(files: Sequence[tuple[LineFile, FileKind]], *, resume: bool) -> None:
    """See to it that neither emptying the files nor cutting off half a line destroys anything.

    Raises:
        OutputError: One of them is no output of such a run.
    """
    # Resuming reads every line before it cuts anything, and names a line that is not of the run.
    also = FILES_OF_LINES if resume else {FileKind.HALF_A_LINE}
    for file, kind in files:
        if not file.is_empty:
            with told_of(file.path):
                flaw = foreign_file(file.path, kind, *also)
            if flaw is not None:
                raise OutputError(flaw)


def failures_beside(path: str) -> str:
    """Name the file of failures: that of ``clients.jsonl`` is ``clients.failures.jsonl``."""
    stem, suffix = os.path.splitext(path)
    return f"{stem}.failures{suffix}"
