"""A database that is open for one run; outcomes are committed in batches."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from attrs import define, field
from sqlalchemy import ColumnElement, Select, bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ringme_async import Client, Done, Failed
from ringme_async.mirror.errors import OutputError, OutputInUse, TransientOutputError, closed_by
from ringme_async.mirror.output_path import refuse_moved
from ringme_async.mirror.sink import Clock, new_run_id
from ringme_async.mirror.sql_connection import (
    ExclusiveConnection,
    connect_exclusively,
    database_url,
    run_shielded,
    shown_url,
    translate_database_errors,
)
from ringme_async.mirror.sql_rows import TimedOutcome, rows_of
from ringme_async.mirror.sql_tables import clients, history, prepare, runs

__all__ = ["DatabaseSession", "open_database"]

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_CLOSING_RETRY_FOR: Final = 10.0


class Settings(Protocol):
    """The settings of a mirror that a run needs; see ``Mirror``."""

    @property
    def url(self) -> str: ...
    @property
    def batch(self) -> int: ...
    @property
    def every(self) -> float: ...
    @property
    def retry_for(self) -> float: ...
    @property
    def clock(self) -> Clock: ...


@asynccontextmanager
async def open_database(mirror: Settings, *, resume: bool) -> AsyncGenerator[DatabaseSession, None]:
    """Open a mirror's database for a run; see ``Mirror.open``."""
    url = database_url(mirror.url)
    async with connect_exclusively(url) as database:
        session = DatabaseSession(database, mirror)
        await session.begin(resume=resume)
        async with closed_by(session.close):
            yield session


@define(eq=False)
class DatabaseSession:
    """A database that is open for one run."""

    _database: ExclusiveConnection
    _mirror: Settings
    run: str = field(factory=new_run_id, init=False)
    _done: set[str] = field(factory=set[str], init=False)
    _batch: dict[str, TimedOutcome] = field(factory=dict[str, TimedOutcome], init=False)
    _due: float = field(default=0.0, init=False)
    _changed: int = field(default=0, init=False)
    _finished: bool = field(default=False, init=False)
    _failure: OutputError | None = field(default=None, init=False)
    _has_started: bool = field(default=False, init=False)
    _is_disconnected: bool = field(default=False, init=False)
    _file: os.stat_result | None = field(default=None, init=False)

    @property
    def _connection(self) -> AsyncConnection:
        return self._database.connection

    def is_done(self, key: str) -> bool:
        """True if an earlier part of the run has read a tenant."""
        return key in self._done

    async def write(self, key: str, outcome: Done[Client] | Failed) -> None:
        """Add a tenant's outcome to the batch, and commit if it is time.

        Raises:
            OutputError: The batch could not be committed.
        """
        if not self._batch:
            self._due = asyncio.get_running_loop().time() + self._mirror.every
        self._batch[key] = TimedOutcome(self._now(), outcome)
        if len(self._batch) >= self._mirror.batch:
            await self._commit_with_retries(self._commit)
        else:
            await self.tick()

    async def tick(self) -> None:
        """Commit a batch that has waited long enough.

        Raises:
            OutputError: The batch could not be committed.
        """
        if self._batch and asyncio.get_running_loop().time() >= self._due:
            await self._commit_with_retries(self._commit)

    async def begin(self, *, resume: bool) -> None:
        """Create missing tables, and resume or start a run.

        Raises:
            OutputError: The tables are not a mirror's, or are unusable.
        """
        await self._commit_with_retries(self._resume_run if resume else self._begin_run)
        self._has_started = True

    async def finish(self, *, complete: bool) -> int:
        """Commit the last batch and the run's totals.

        Returns:
            The number of changed fields that the run has found, earlier parts included.

        Raises:
            OutputError: The batch could not be committed.
        """
        self._finished = complete
        await self._commit_with_retries(self._write_totals)
        return self._changed

    async def close(self) -> None:
        """Commit the last batch, unless a commit has failed before.

        Raises:
            OutputError: A commit failed, now or before.
        """
        if self._failure is not None:
            raise self._failure
        if self._batch or not self._finished:
            # A short wait: after a cancellation, a user waits, and lost outcomes can be read again.
            await self._commit_with_retries(
                self._write_totals, min(self._mirror.retry_for, _CLOSING_RETRY_FOR)
            )

    async def _commit_with_retries(
        self, work: Callable[[], Coroutine[Any, Any, None]], retry_for: float | None = None
    ) -> None:
        """Repeat idempotent work until it is committed.

        It must be idempotent: after a lost connection, the commit may or may not have happened.
        """
        clock = asyncio.get_running_loop().time
        retry_for = self._mirror.retry_for if retry_for is None else retry_for
        until: float | None = None
        pause = _FIRST_PAUSE
        while True:
            try:
                attempt = translate_database_errors(self._attempt(work), self._database.url)
                await run_shielded(attempt)
            except (TransientOutputError, OutputInUse) as error:
                self._is_disconnected = True
                until = clock() + retry_for if until is None else until
                left = until - clock()
                if left <= 0:
                    kind = OutputInUse if isinstance(error, OutputInUse) else OutputError
                    tried = f"; it was tried for {retry_for:g} seconds" if retry_for else ""
                    self._failure = kind(f"{error}{tried}")
                    raise self._failure from None
            except OutputError as error:
                self._failure = error
                raise
            else:
                return
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _attempt(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._refuse_moved()
        if self._is_disconnected:
            await self._database.reconnect()
            self._is_disconnected = False
            if self._has_started:
                await self._refuse_newer_run()
        await work()
        await self._connection.commit()
        self._refuse_moved()

    def _refuse_moved(self) -> None:
        """Check that a database file is still at its path."""
        path = self._database.url.database
        if path is None or self._database.url.get_backend_name() != "sqlite":
            return
        if self._file is not None:
            refuse_moved(path, self._file)
        elif os.path.exists(path):
            self._file = os.stat(path)

    async def _refuse_newer_run(self) -> None:
        """Check that no other run began while the lost connection held no lock."""
        if await self._latest_run() != self.run:
            raise OutputError(
                f"{shown_url(self._database.url)}: another run began while the connection was lost"
            )

    async def _latest_run(self) -> str | None:
        latest = select(runs.c.id).order_by(runs.c.number.desc()).limit(1)
        found: str | None = await self._connection.scalar(latest)
        return found

    async def _begin_run(self) -> None:
        await prepare(self._connection)
        if await self._latest_run() == self.run:
            # An earlier attempt was committed before its connection was lost.
            return
        row = {"id": self.run, "started": self._now(), "read": 0, "failed": 0, "changed": 0}
        await self._connection.execute(insert(runs), row)

    async def _resume_run(self) -> None:
        await prepare(self._connection)
        run = await self._latest_run()
        if run is None:
            await self._begin_run()
            return
        self.run = run
        await self._connection.execute(update(runs).where(runs.c.id == run), {"finished": None})
        read = select(clients.c.tenant).where(clients.c.run == run)
        self._done.update(await self._connection.scalars(read))

    async def _commit(self) -> None:
        """Write the batch, and drop it once all of it is committed."""
        known = select(clients.c.tenant, clients.c.record).where(clients.c.tenant.in_(self._batch))
        records: dict[str, str | None] = {
            row.tenant: row.record for row in await self._connection.execute(known)
        }
        rows = rows_of(self.run, self._batch.items(), records)
        of_tenant = update(clients).where(clients.c.tenant == bindparam("key"))
        for statement, parameters in (
            (insert(clients), rows.unknown),
            (of_tenant, rows.read),
            (of_tenant, rows.failed),
            (insert(history), rows.history),
        ):
            if parameters:
                await self._connection.execute(statement, parameters)
        await self._connection.commit()
        self._batch.clear()

    async def _write_totals(self) -> None:
        if self._batch:
            await self._commit()
        count = self._connection.scalar
        self._changed = await count(_count(history.c.run == self.run)) or 0
        totals = {
            "read": await count(_count(clients.c.run == self.run)),
            "failed": await count(_count(clients.c.error_run == self.run)),
            "changed": self._changed,
            "finished": self._now() if self._finished else None,
        }
        await self._connection.execute(update(runs).where(runs.c.id == self.run), totals)

    def _now(self) -> datetime:
        return self._mirror.clock().astimezone(UTC)


def _count(condition: ColumnElement[bool]) -> Select[int]:
    return select(func.count()).where(condition)
