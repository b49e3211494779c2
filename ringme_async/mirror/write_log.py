"""The writes of an applied plan whose end is open: noted before they leave."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, cast

from attrs import define, evolve, field

from ringme_async import JSON, Applied, PlannedChange, Written
from ringme_async.mirror.errors import OutputError, closed_by
from ringme_async.mirror.jsonl_file import Entry, LineFile, json_text
from ringme_async.mirror.jsonl_sink import JournalSession
from ringme_async.mirror.sink import Clock

__all__ = ["WriteLog", "open_writes", "writes_beside"]

_NOTHING: Final = Written({}, {})


@define(eq=False)
class WriteLog:
    """Notes what is sent for a tenant, so that its own writes are known when a run is resumed.

    A line is ``{"run": ..., "tenant": ..., "at": ..., "plan": ..., "client_id": ..., "sent":
    {...}, "answered": {...}}``; the last one of a tenant counts. ``answered`` holds the fields
    whose answer is known. A tenant with a line in the journal of the plan needs none here: at the
    end of a run only those lines are left whose end is open, and mostly no file.
    """

    run: str
    _file: LineFile
    _head: Mapping[str, JSON]
    _foreign: str
    _key: Callable[[PlannedChange], str]
    _clock: Clock
    _open: dict[str, Entry] = field(factory=dict[str, Entry], init=False)

    def note(self, change: PlannedChange) -> None:
        """Write down what has been sent for a tenant, or is about to be.

        Raises:
            OutputError: It could not be written.
        """
        written = change.written or _NOTHING
        key = self._key(change)
        entry: Entry = {
            "run": self.run,
            "tenant": key,
            "at": self._clock().isoformat(timespec="milliseconds"),
            **self._head,
            "client_id": change.client_id,
            "sent": dict(written.sent),
            "answered": dict(written.answered),
        }
        self._file.append(entry)
        self._keep(key, entry)

    def recall(self, change: PlannedChange) -> PlannedChange:
        """Give a change with what an earlier part of the run has sent for it."""
        entry = self._open.get(self._key(change))
        if entry is None:
            return change
        sent = cast("Mapping[str, JSON]", entry["sent"])
        answered = cast("Mapping[str, JSON]", entry["answered"])
        return evolve(change, written=Written(sent, answered))

    def settle(self, change: PlannedChange) -> None:
        """Forget the writes for a tenant that is in the journal."""
        self._open.pop(self._key(change), None)

    async def read(self, is_done: Callable[[str], bool]) -> None:
        """Take in what earlier parts of the run have left open.

        Raises:
            OutputError: A line is garbled, or of another plan.
        """

        def take(number: int, entry: Entry, _line: bytes) -> None:
            key = self._key_in(number, entry)
            if not is_done(key):
                self._keep(key, entry)

        await self._file.read(take)

    async def close(self) -> None:
        """Leave the lines whose end is open, and put them onto the disk."""
        try:
            self._file.replace(f"{json_text(entry)}\n".encode() for entry in self._open.values())
        finally:
            self._file.close()

    def _keep(self, key: str, entry: Entry) -> None:
        if entry["sent"]:
            self._open[key] = entry
        else:
            self._open.pop(key, None)

    def _key_in(self, number: int, entry: Entry) -> str:
        key, run = entry.get("tenant"), entry.get("run")
        parts = entry.get("sent"), entry.get("answered")
        if not (isinstance(key, str) and isinstance(run, str)) or not all(
            isinstance(part, dict) for part in parts
        ):
            raise self._file.garbled(number)
        if any(entry.get(name) != value for name, value in self._head.items()):
            raise OutputError(f"{self._file.path}, line {number}: {self._foreign}")
        self.run = run
        return key


@asynccontextmanager
async def open_writes(
    file: LineFile,
    session: JournalSession[Applied],
    head: Mapping[str, JSON],
    foreign: str,
    key: Callable[[PlannedChange], str],
    clock: Clock,
) -> AsyncGenerator[WriteLog, None]:
    """Take hold of the writes of the run that a journal is of.

    Args:
        file: The file, see ``writes_beside``.
        session: The hold on the journal; a run of which only writes are left gets its id back.
        head: What every line holds; lines that hold something else are of another plan.
        foreign: What to say of those.
        key: Gives the key of a change's tenant.
        clock: Tells the time of day.
    """
    log = WriteLog(session.run, file, head, foreign, key, clock)
    await log.read(session.is_done)
    session.run = log.run
    async with closed_by(log.close):
        yield log


def writes_beside(path: str) -> str:
    """Name the file of writes: that of ``plan.journal.jsonl`` is ``plan.journal.writes.jsonl``."""
    stem, suffix = os.path.splitext(path)
    return f"{stem}.writes{suffix}"
