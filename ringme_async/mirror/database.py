"""A run's hold on a database: outcomes are gathered, and committed in batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from attrs import define, field
from sqlalchemy import URL, ColumnElement, Select, bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ringme_async import Client, Done, Failed
from ringme_async.mirror.connection import connected, database_url, told_of_database, undisturbed
from ringme_async.mirror.errors import OutputError, closed_by
from ringme_async.mirror.mirror import Mirror
from ringme_async.mirror.rows import Taken, rows_of
from ringme_async.mirror.schema import clients, history, prepare, runs
from ringme_async.mirror.sink import new_run_id

__all__ = ["DatabaseSession", "open_database"]


@asynccontextmanager
async def open_database(mirror: Mirror, *, resume: bool) -> AsyncGenerator[DatabaseSession, None]:
    """Take hold of a mirror's database for a run; see ``Mirror.open``."""
    url = database_url(mirror.url)
    async with connected(url) as connection:
        session = DatabaseSession(connection, url, mirror)
        await session.begin(resume=resume)
        async with closed_by(session.close):
            yield session


@define(eq=False)
class DatabaseSession:
    """One run's hold on a database."""

    _connection: AsyncConnection
    _url: URL
    _mirror: Mirror
    run: str = field(factory=new_run_id, init=False)
    _done: set[str] = field(factory=set[str], init=False)
    _batch: dict[str, Taken] = field(factory=dict[str, Taken], init=False)
    _due: float = field(default=0.0, init=False)
    _changed: int = field(default=0, init=False)
    _finished: bool = field(default=False, init=False)
    _flaw: OutputError | None = field(default=None, init=False)

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
            await self._do(self._close_books)

    async def _do(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def committed() -> None:
            await work()
            await self._connection.commit()

        async def transaction() -> None:
            try:
                await told_of_database(committed(), self._url)
            except OutputError as flaw:
                self._flaw = flaw
                raise

        await undisturbed(transaction())

    async def _begin_run(self) -> None:
        await prepare(self._connection)
        row = {"id": self.run, "started": self._now(), "read": 0, "failed": 0, "changed": 0}
        await self._connection.execute(insert(runs), row)

    async def _go_on(self) -> None:
        await prepare(self._connection)
        latest = select(runs.c.id).order_by(runs.c.number.desc()).limit(1)
        run = await self._connection.scalar(latest)
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
