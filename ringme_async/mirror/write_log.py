"""The log of an applied plan's writes without a known result, each recorded before it is sent."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, cast

from attrs import define, evolve, field

from ringme_async import JSON, Applied, PlannedChange, Written
from ringme_async.mirror.errors import OutputError, closed_by
from ringme_async.mirror.jsonl_file import Entry, JSONLFile, json_text
from ringme_async.mirror.jsonl_sink import JournalSession
from ringme_async.mirror.sink import Clock

__all__ = ["WriteLog", "open_writes", "writes_beside"]

_NOTHING: Final = Written({}, {})


@define(eq=False)
class WriteLog:
    """Records the fields sent for each tenant, so that a resumed run knows its own writes.

    A line is ``{"run": ..., "tenant": ..., "at": ..., "plan": ..., "client_id": ..., "sent":
    {...}, "answered": {...}}``; a tenant's last line counts. ``answered`` holds the fields with a
    known answer. A tenant in the plan's journal needs no line here. The end of a run removes such
    lines, and a file without lines.
    """

    run: str
    _file: JSONLFile
    _head: Mapping[str, JSON]
    _mismatch: str
    _key: Callable[[PlannedChange], str]
    _clock: Clock
    _open: dict[str, Entry] = field(factory=dict[str, Entry], init=False)

    def record(self, change: PlannedChange) -> None:
        """Write a line with the fields sent for a tenant, or about to be sent.

        Raises:
            OutputError: The line could not be written.
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

    def with_earlier_writes(self, change: PlannedChange) -> PlannedChange:
        """Return a change with the fields that an earlier part of the run has sent for it."""
        entry = self._open.get(self._key(change))
        if entry is None:
            return change
        sent = cast("Mapping[str, JSON]", entry["sent"])
        answered = cast("Mapping[str, JSON]", entry["answered"])
        return evolve(change, written=Written(sent, answered))

    def forget(self, change: PlannedChange) -> None:
        """Drop the writes of a tenant that is in the journal."""
        self._open.pop(self._key(change), None)

    async def read(self, is_done: Callable[[str], bool]) -> None:
        """Read the open writes of earlier parts of the run.

        Raises:
            OutputError: A line is malformed, or of another plan.
        """

        def on_line(number: int, entry: Entry, _line: bytes) -> None:
            key = self._key_in(number, entry)
            if not is_done(key):
                self._keep(key, entry)

        await self._file.read(on_line)

    async def close(self) -> None:
        """Keep the lines without a known result, and flush them to the disk."""
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
            raise self._file.malformed_line(number)
        if any(entry.get(name) != value for name, value in self._head.items()):
            raise OutputError(f"{self._file.path}, line {number}: {self._mismatch}")
        self.run = run
        return key


@asynccontextmanager
async def open_writes(
    file: JSONLFile,
    session: JournalSession[Applied],
    head: Mapping[str, JSON],
    mismatch: str,
    key: Callable[[PlannedChange], str],
    clock: Clock,
) -> AsyncGenerator[WriteLog, None]:
    """Open the log of writes of a journal's run.

    Args:
        file: The log, see ``writes_beside``.
        session: The open journal. If only writes are left of its run, it gets that run's id.
        head: Fields with the same value in every line; other values mean another plan.
        mismatch: The message for a line of another plan.
        key: Returns the key of a change's tenant.
        clock: Returns the time of day.
    """
    log = WriteLog(session.run, file, head, mismatch, key, clock)
    await log.read(session.is_done)
    session.run = log.run
    async with closed_by(log.close):
        yield log


def writes_beside(path: str) -> str:
    """Return the log's path: ``plan.journal.writes.jsonl`` for ``plan.journal.jsonl``."""
    stem, suffix = os.path.splitext(path)
    return f"{stem}.writes{suffix}"
