"""A run's hold on a database: outcomes are gathered, and committed in batches."""

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
    Link,
    connected,
    database_url,
    shown_url,
    told_of_database,
    undisturbed,
)
from ringme_async.mirror.sql_rows import Taken, rows_of
from ringme_async.mirror.sql_tables import clients, history, prepare, runs

__all__ = ["DatabaseSession", "open_database"]

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_LAST_PATIENCE: Final = 10.0


class Settings(Protocol):
    """What a run has to know of its database; see ``Mirror``."""

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
    """Take hold of a mirror's database for a run; see ``Mirror.open``."""
    url = database_url(mirror.url)
    async with connected(url) as link:
        session = DatabaseSession(link, mirror)
        await session.begin(resume=resume)
        async with closed_by(session.close):
            yield session


@define(eq=False)
class DatabaseSession:
    """One run's hold on a database."""

    _link: Link
    _mirror: Settings
    run: str = field(factory=new_run_id, init=False)
    _done: set[str] = field(factory=set[str], init=False)
    _batch: dict[str, Taken] = field(factory=dict[str, Taken], init=False)
    _due: float = field(default=0.0, init=False)
    _changed: int = field(default=0, init=False)
    _finished: bool = field(default=False, init=False)
    _flaw: OutputError | None = field(default=None, init=False)
    _has_begun: bool = field(default=False, init=False)
    _is_lost: bool = field(default=False, init=False)
    _file: os.stat_result | None = field(default=None, init=False)

    @property
    def _connection(self) -> AsyncConnection:
        return self._link.connection

    def is_done(self, key: str) -> bool:
        """Whether an earlier part of the run has read a tenant."""
        return key in self._done

    async def write(self, key: str, outcome: Done[Client] | Failed) -> None:
        """Take in what became of a tenant, and commit if it is time.

        Raises:
            OutputError: It could not be committed.
        """
        if not self._batch:
            self._due = asyncio.get_running_loop().time() + self._mirror.every
        self._batch[key] = Taken(self._now(), outcome)
        if len(self._batch) >= self._mirror.batch:
            await self._do(self._commit)
        else:
            await self.tick()

    async def tick(self) -> None:
        """Commit what has waited long enough.

        Raises:
            OutputError: It could not be committed.
        """
        if self._batch and asyncio.get_running_loop().time() >= self._due:
            await self._do(self._commit)

    async def begin(self, *, resume: bool) -> None:
        """Make the tables if need be, and find the run or begin one.

        Raises:
            OutputError: The tables are no mirror's, or cannot be used.
        """
        await self._do(self._go_on if resume else self._begin_run)
        self._has_begun = True

    async def finish(self, *, complete: bool) -> int:
        """Commit what is left, and close the books of the run.

        Returns:
            How many fields the run found changed, its earlier parts included.

        Raises:
            OutputError: It could not be committed.
        """
        self._finished = complete
        await self._do(self._close_books)
        return self._changed

    async def close(self) -> None:
        """Commit what is left, unless committing has failed before.

        Raises:
            OutputError: It could not be committed, now or before.
        """
        if self._flaw is not None:
            raise self._flaw
        if self._batch or not self._finished:
            # Whoever has ended the run does not wait long for what can be read again.
            await self._do(self._close_books, min(self._mirror.retry_for, _LAST_PATIENCE))

    async def _do(
        self, work: Callable[[], Coroutine[Any, Any, None]], patience: float | None = None
    ) -> None:
        """Do work that does no harm when it is done twice, until it is committed.

        Whether a commit whose connection was lost has taken place, nobody knows.
        """
        clock = asyncio.get_running_loop().time
        patience = self._mirror.retry_for if patience is None else patience
        until: float | None = None
        pause = _FIRST_PAUSE
        while True:
            try:
                attempt = told_of_database(self._attempt(work), self._link.url)
                await undisturbed(attempt)
            except (TransientOutputError, OutputInUse) as flaw:
                self._is_lost = True
                until = clock() + patience if until is None else until
                left = until - clock()
                if left <= 0:
                    kind = OutputInUse if isinstance(flaw, OutputInUse) else OutputError
                    tried = f"; it was tried for {patience:g} seconds" if patience else ""
                    self._flaw = kind(f"{flaw}{tried}")
                    raise self._flaw from None
            except OutputError as flaw:
                self._flaw = flaw
                raise
            else:
                return
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _attempt(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._refuse_moved()
        if self._is_lost:
            await self._link.renew()
            self._is_lost = False
            if self._has_begun:
                await self._refuse_overtaken()
        await work()
        await self._connection.commit()
        self._refuse_moved()

    def _refuse_moved(self) -> None:
        """See to it that the file of the database, if it is one, is where it was."""
        path = self._link.url.database
        if path is None or self._link.url.get_backend_name() != "sqlite":
            return
        if self._file is not None:
            refuse_moved(path, self._file)
        elif os.path.exists(path):
            self._file = os.stat(path)

    async def _refuse_overtaken(self) -> None:
        """See to it that no other run has used the time in which nothing excluded it."""
        if await self._latest_run() != self.run:
            raise OutputError(
                f"{shown_url(self._link.url)}: another run began while the connection was lost"
            )

    async def _latest_run(self) -> str | None:
        latest = select(runs.c.id).order_by(runs.c.number.desc()).limit(1)
        found: str | None = await self._connection.scalar(latest)
        return found

    async def _begin_run(self) -> None:
        await prepare(self._connection)
        if await self._latest_run() == self.run:
            # An attempt before was committed, and its connection lost.
            return
        row = {"id": self.run, "started": self._now(), "read": 0, "failed": 0, "changed": 0}
        await self._connection.execute(insert(runs), row)

    async def _go_on(self) -> None:
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
        """Write the batch, which is dropped when all of it is committed."""
        there = select(clients.c.tenant, clients.c.record).where(clients.c.tenant.in_(self._batch))
        records: dict[str, str | None] = {
            row.tenant: row.record for row in await self._connection.execute(there)
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

    async def _close_books(self) -> None:
        if self._batch:
            await self._commit()
        count = self._connection.scalar
        self._changed = await count(_count(history.c.run == self.run)) or 0
        books = {
            "read": await count(_count(clients.c.run == self.run)),
            "failed": await count(_count(clients.c.error_run == self.run)),
            "changed": self._changed,
            "finished": self._now() if self._finished else None,
        }
        await self._connection.execute(update(runs).where(runs.c.id == self.run), books)

    def _now(self) -> datetime:
        return self._mirror.clock().astimezone(UTC)


def _count(condition: ColumnElement[bool]) -> Select[int]:
    return select(func.count()).where(condition)
