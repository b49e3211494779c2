"""A lost connection or a locked database delays a run, and changes nothing in its result."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from ringme_async import Client, Done, InvalidRequest, RingMe
from ringme_async.mirror import Mirror, OutputError, OutputInUse, Session, refresh
from ringme_async.mirror import sql_connection as connection
from ringme_async.mirror.errors import TransientOutputError
from ringme_async.mirror.sql_connection import translate_database_errors
from ringme_async.resources.clients.codec import client_from_json
from tests.mirror.databases import ask, clients_in, history_in, runs_in
from tests.mirror.world import World, record_of

OTHERS = "pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
HOLDER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print(flush=True)
sys.stdin.read()
"""


def done(number: int, **fields: object) -> Done[Client]:
    return Done(number, 0, 1, client_from_json(record_of(number, **fields)))


async def end_backends(url: str) -> None:
    """End every connection to a database but this one, and wait until they are gone."""
    await ask(url, f"SELECT pg_terminate_backend(pid) FROM {OTHERS}")
    while await ask(url, f"SELECT pid FROM {OTHERS}"):
        await asyncio.sleep(0.01)


@contextmanager
def locked_by_a_process(path: Path) -> Iterator[Callable[[], None]]:
    """Let another process lock the database until the block ends or it is told to unlock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        yield process.stdin.close


class StateError(Exception):
    """An error of a PostgreSQL server, with its code."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


async def until_tried(attempts: list[str], count: int) -> None:
    while len(attempts) < count:
        await asyncio.sleep(0.01)


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every failure of a database, in order."""
    messages: list[str] = []
    original = connection._is_transient

    def noted(error: Exception) -> bool:
        messages.append(str(error))
        return original(error)

    monkeypatch.setattr(connection, "_is_transient", noted)
    return messages


async def test_a_run_continues_after_repeated_loss_of_its_backend(
    ringme: RingMe, world: World, postgres_url: str
) -> None:
    await refresh(ringme, range(1, 21), Mirror(postgres_url))
    for number in range(1, 21):
        world.records[number]["timezone"] = "Asia/Omsk"
    async with Mirror(postgres_url, batch=2).open(resume=False) as session:
        for number in range(1, 21):
            if number % 3 == 0:
                await end_backends(postgres_url)
            await session.write(str(number), done(number, timezone="Asia/Omsk"))
        assert await session.finish(complete=True) == 20
    rows = await clients_in(postgres_url)
    assert {row["record"]["timezone"] for row in rows.values()} == {"Asia/Omsk"}
    assert {row["run"] for row in rows.values()} == {session.run}
    changes = [(row["tenant"], row["field"]) for row in await history_in(postgres_url)]
    assert sorted(changes) == sorted((str(number), "timezone") for number in range(1, 21))
    totals = [(row["read"], row["changed"]) for row in await runs_in(postgres_url)]
    assert totals == [(20, 0), (20, 20)]


@pytest.mark.parametrize("lost", range(1, 8))
async def test_a_commit_is_made_once_whether_or_not_it_was_lost(
    lost: int, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is lost after each commit in turn, the first of the run included."""
    async with Mirror(url, batch=1).open(resume=False) as session:
        await session.write("1", done(1))
    commit = AsyncConnection.commit
    # The first commit on PostgreSQL is of the lock: nothing is tried again before there is a run.
    count = -1 if "postgres" in url else 0

    async def committed_and_lost(self: AsyncConnection) -> None:
        nonlocal count
        count += 1
        await commit(self)
        if count == lost:
            raise ConnectionResetError("the answer to the commit was lost")

    monkeypatch.setattr(AsyncConnection, "commit", committed_and_lost)
    async with Mirror(url, batch=1).open(resume=False) as session:
        await session.write("1", done(1, timezone="Asia/Omsk"))
        await session.write("2", done(2))
        assert await session.finish(complete=True) == 1
    monkeypatch.undo()
    assert count > lost
    assert [row["tenant"] for row in await history_in(url)] == ["1"]
    assert [(row["id"], row["read"]) for row in await runs_in(url)][1:] == [(session.run, 2)]


async def test_a_run_waits_for_a_file_that_another_process_has_locked(
    sqlite_url: str, tmp_path: Path, attempts: list[str]
) -> None:
    async with Mirror(sqlite_url, batch=1).open(resume=False) as session:
        with locked_by_a_process(tmp_path / "clients.db") as let_go:
            writing = asyncio.create_task(as_coroutine(session.write("1", done(1))))
            await until_tried(attempts, 2)
            assert not writing.done()
            let_go()
            await writing
    assert list(await clients_in(sqlite_url)) == ["1"]
    assert {"database is locked"} <= {
        messages.split(") ")[-1].splitlines()[0] for messages in attempts
    }


async def as_coroutine(work: Awaitable[None]) -> None:
    await work


async def test_a_run_starts_once_the_file_is_unlocked(
    sqlite_url: str, tmp_path: Path, attempts: list[str]
) -> None:
    async with Mirror(sqlite_url).open(resume=False):
        pass

    async def resume() -> Session[Client]:
        async with Mirror(sqlite_url).open(resume=True) as session:
            return session

    with locked_by_a_process(tmp_path / "clients.db") as let_go:
        resuming = asyncio.create_task(resume())
        await until_tried(attempts, 1)
        let_go()
        await resuming
    assert len(await runs_in(sqlite_url)) == 1


@pytest.mark.parametrize(
    ("seconds", "message"),
    [(0, r"is locked$"), (0.5, r"is locked; it was tried for 0\.5 seconds$")],
)
async def test_the_wait_is_bounded(
    seconds: float, message: str, sqlite_url: str, tmp_path: Path
) -> None:
    async with Mirror(sqlite_url).open(resume=False):
        pass
    with locked_by_a_process(tmp_path / "clients.db"), pytest.raises(OutputError, match=message):
        async with Mirror(sqlite_url, retry_for=seconds).open(resume=True):
            pytest.fail("it did not wait for the lock")


async def test_a_cancelled_run_does_not_wait_out_the_bound(
    sqlite_url: str, tmp_path: Path, attempts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ringme_async.mirror.sql_session._CLOSING_RETRY_FOR", 0.0)

    async def write() -> None:
        async with Mirror(sqlite_url, batch=1, retry_for=1e9).open(resume=False) as session:
            started.set()
            await held.wait()
            await session.write("1", done(1))

    started, held = asyncio.Event(), asyncio.Event()
    writing = asyncio.create_task(write())
    await started.wait()
    with locked_by_a_process(tmp_path / "clients.db"):
        held.set()
        await until_tried(attempts, 1)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await writing
    assert caught.value.__notes__[0].endswith("database is locked")


async def test_a_run_ends_if_another_began_while_its_connection_was_lost(postgres_url: str) -> None:
    with pytest.raises(OutputError, match="another run began while the connection was lost"):
        async with Mirror(postgres_url, batch=1).open(resume=False) as session:
            await end_backends(postgres_url)
            async with Mirror(postgres_url).open(resume=False):
                pass
            await session.write("1", done(1))
    assert await clients_in(postgres_url) == {}


async def test_after_a_lost_connection_a_run_waits_for_another_no_longer_than_the_bound(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_LOCK_ATTEMPTS", 1)
    with pytest.raises(OutputInUse, match="is being written by another run"):
        async with Mirror(postgres_url, batch=1, retry_for=0.01).open(resume=False) as session:
            await end_backends(postgres_url)
            async with Mirror(postgres_url).open(resume=True):
                await session.write("1", done(1))


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (ConnectionRefusedError("refused"), True),
        (TimeoutError(), True),
        (KeyError("a flaw of ours"), False),
        (StateError("57P03"), True),
        (StateError("28P01"), False),
        (OperationalError("SELECT", {}, StateError("40001")), True),
        (OperationalError("SELECT", {}, StateError("42P01")), False),
        (OperationalError("SELECT", {}, sqlite3.OperationalError("not of a database")), False),
    ],
)
async def test_only_transient_failures_are_retried(error: Exception, transient: bool) -> None:
    async def fail() -> None:
        raise error

    url = connection.database_url("sqlite:///a.db")
    with pytest.raises(OutputError) as caught:
        await translate_database_errors(fail(), url)
    assert isinstance(caught.value, TransientOutputError) == transient


def test_a_negative_bound_is_refused() -> None:
    for seconds in (-1, float("nan")):
        with pytest.raises(InvalidRequest, match="retry_for is a number of seconds from 0 up"):
            Mirror("sqlite:///clients.db", retry_for=seconds)
