"""The mirror in a database, in SQLite and in PostgreSQL alike."""

from __future__ import annotations

import asyncio
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from ringme_async import (
    Client,
    Done,
    Failed,
    InvalidRequest,
    Progress,
    ResponseLost,
    RingMe,
    Tenant,
)
from ringme_async.mirror import Journal, Mirror, OutputError, OutputInUse, Sink, refresh, sink_for
from ringme_async.mirror import sql_connection as connection
from ringme_async.mirror import sql_tables as schema
from ringme_async.mirror.sql_connection import run_shielded
from ringme_async.mirror.sql_session import DatabaseSession
from ringme_async.resources.clients.codec import client_from_json
from tests.auth.exposure import assert_keeps, told_by
from tests.leaping import MINUTE, leap
from tests.mirror.databases import ask, clients_in, history_in, runs_in
from tests.mirror.world import World, record_of


def same_moment(stored: Any, other: datetime) -> bool:
    # SQLite has no zones, and returns text without SQLAlchemy.
    moment = datetime.fromisoformat(stored) if isinstance(stored, str) else stored
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) == other


def done(number: int, **fields: Any) -> Done[Client]:
    return Done(number, 0, 1, client_from_json(record_of(number, **fields)))


async def test_the_mirror_holds_the_records_and_the_errors(
    ringme: RingMe, world: World, url: str
) -> None:
    world.broken = {3: 403}
    at = datetime(2026, 11, 23, 10, 42, 5, 123_456, UTC)
    away = at.astimezone(tz=None)
    report = await refresh(ringme, range(1, 22), Mirror(url, clock=lambda: away))
    assert (report.read, report.failed, report.changed) == (19, 2, 0)
    rows = await clients_in(url)
    for number in range(1, 22):
        row = rows.pop(str(number))
        assert row["tenant"] == str(number)
        if number in {3, 21}:
            assert (row["client_id"], row["record"], row["read_at"], row["run"]) == (None,) * 4
            kind = "AccessDenied: client 3" if number == 3 else "ClientNotFound: client 21"
            assert row["last_error"].startswith(kind)
            assert same_moment(row["last_error_at"], at)
            assert row["error_run"] == report.run
        else:
            assert (row["client_id"], row["record"]) == (number, world.records[number])
            assert same_moment(row["read_at"], at)
            assert row["run"] == report.run
            assert (row["last_error"], row["last_error_at"], row["error_run"]) == (None,) * 3
    assert rows == {}
    assert await history_in(url) == []


async def test_a_new_run_reads_all_tenants_and_records_changes(
    ringme: RingMe, world: World, url: str
) -> None:
    first = await refresh(ringme, range(1, 6), Mirror(url))
    world.records[1].update(timezone="Asia/Omsk", hold_music=5)
    del world.records[2]["email"]
    world.records[3].update(later={"a": [1, True, None]}, jur_address=None)
    world.records[4]["name"] = None
    second = await refresh(ringme, range(1, 6), Mirror(url))
    world.records[3]["later"] = {"a": [1.0, True, None]}
    third = await refresh(ringme, range(1, 6), Mirror(url))
    fourth = await refresh(ringme, range(1, 6), Mirror(url))
    assert [run.changed for run in (first, second, third, fourth)] == [0, 5, 1, 0]
    changes = [
        (row["run"], row["tenant"], row["field"], row["before"], row["after"])
        for row in await history_in(url)
    ]
    assert sorted(changes[:5], key=lambda change: change[1:3]) == [
        (second.run, "1", "hold_music", None, 5),
        (second.run, "1", "timezone", "Europe/Moscow", "Asia/Omsk"),
        (second.run, "2", "email", "admin@domain.com", None),
        (second.run, "3", "later", None, {"a": [1, True, None]}),
        (second.run, "4", "name", "tenant_4", None),
    ]
    assert changes[5][:3] == (third.run, "3", "later")
    assert len(changes) == 6
    assert (await clients_in(url))["3"]["record"] == world.records[3]


async def test_a_failure_keeps_the_record_and_the_next_read_clears_it(
    ringme: RingMe, world: World, url: str
) -> None:
    first = await refresh(ringme, [1, 2], Mirror(url))
    world.broken = {1: 403}
    second = await refresh(ringme, [1, 2], Mirror(url))
    row = (await clients_in(url))["1"]
    assert (row["record"], row["run"]) == (world.records[1], first.run)
    assert (row["last_error"][:12], row["error_run"]) == ("AccessDenied", second.run)
    world.broken.clear()
    third = await refresh(ringme, [1, 2], Mirror(url))
    row = (await clients_in(url))["1"]
    assert (row["run"], row["last_error"], row["error_run"]) == (third.run, None, None)


async def test_the_table_of_runs_holds_totals(ringme: RingMe, world: World, url: str) -> None:
    world.broken = {1: 403}
    first = await refresh(ringme, range(1, 21), Mirror(url))
    world.records[2]["name"] = "other"
    world.held = {20}
    second = await refresh(
        ringme,
        range(1, 21),
        Mirror(url),
        deadline=MINUTE,
        concurrency=20,
        on_progress=lambda progress: leap() if progress.done == 18 else None,
    )
    assert second.not_attempted == 0
    third = await refresh(ringme, range(1, 41), Mirror(url), deadline=1e-9, concurrency=1)
    assert third.not_attempted
    totals = [
        (row["number"], row["id"], row["read"], row["failed"], row["changed"])
        for row in await runs_in(url)
    ]
    assert totals == [
        (1, first.run, 19, 1, 0),
        (2, second.run, 18, 2, 1),
        (3, third.run, third.read, third.failed, 0),
    ]
    finished = [row["finished"] is not None for row in await runs_in(url)]
    assert finished == [True, True, False]


async def test_resuming_continues_an_unfinished_run(ringme: RingMe, world: World, url: str) -> None:
    async with Mirror(url).open(resume=True) as session:
        await session.write("1", done(1))
        await session.write("2", Failed(2, 1, 1, ResponseLost("it broke")))
        await session.finish(complete=False)
    report = await refresh(ringme, range(1, 21), Mirror(url), resume=True)
    assert report.run == session.run
    assert (report.read, report.skipped) == (19, 1)
    assert sorted(world.asked) == list(range(2, 21))
    assert (await clients_in(url))["2"]["last_error"] is None
    [totals] = await runs_in(url)
    assert (totals["read"], totals["failed"]) == (20, 0)


@pytest.fixture(params=["sqlite", "postgres", "journal"])
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Sink:
    """An output of each kind, which is there again for the next run."""
    if request.param == "journal":
        return Journal(tmp_path / "clients.jsonl")
    found = request.getfixturevalue(f"{request.param}_url")
    return Mirror(found)


async def test_resuming_a_finished_run_retries_its_failures(
    ringme: RingMe, world: World, sink: Sink
) -> None:
    world.broken = {3: 403}
    first = await refresh(ringme, range(1, 6), sink)
    again = await refresh(ringme, range(1, 6), sink, resume=True)
    world.broken.clear()
    last = await refresh(ringme, range(1, 7), sink, resume=True)
    assert again.run == last.run == first.run
    assert (again.read, again.failed, again.skipped) == (0, 1, 4)
    assert (last.read, last.failed, last.skipped) == (2, 0, 4)
    assert world.asked == {1: 1, 2: 1, 3: 3, 4: 1, 5: 1, 6: 1}


async def test_resuming_a_complete_run_reads_nothing(
    ringme: RingMe, world: World, sink: Sink
) -> None:
    first = await refresh(ringme, range(1, 6), sink, resume=True)
    second = await refresh(ringme, range(1, 6), sink, resume=True)
    assert second.run == first.run
    assert (second.read, second.failed, second.skipped) == (0, 0, 5)
    assert world.asked.total() == 5


async def test_a_resumed_run_is_finished_again_at_its_end(
    ringme: RingMe, world: World, url: str
) -> None:
    world.broken = {3: 403}
    await refresh(ringme, range(1, 6), Mirror(url))
    async with Mirror(url).open(resume=True):
        [totals] = await runs_in(url)
        assert totals["finished"] is None
    world.broken.clear()
    await refresh(ringme, range(1, 6), Mirror(url), resume=True)
    [totals] = await runs_in(url)
    assert totals["finished"] is not None
    assert (totals["read"], totals["failed"]) == (5, 0)
    row = (await clients_in(url))["3"]
    assert (row["last_error"], row["error_run"]) == (None, None)


async def test_resuming_continues_the_latest_of_several_runs(
    ringme: RingMe, world: World, url: str
) -> None:
    first = await refresh(ringme, range(1, 6), Mirror(url))
    world.broken = {5: 403}
    second = await refresh(ringme, range(1, 6), Mirror(url))
    third = await refresh(ringme, range(1, 6), Mirror(url), resume=True)
    assert first.run != second.run == third.run
    assert (third.skipped, third.failed) == (4, 1)


async def test_a_cancelled_run_has_committed_its_outcomes(
    ringme: RingMe, world: World, url: str
) -> None:
    world.held = {5}
    come = asyncio.Event()

    def on_progress(progress: Progress) -> None:
        if progress.done == 9:
            come.set()

    task = asyncio.create_task(refresh(ringme, range(1, 11), Mirror(url), on_progress=on_progress))
    await come.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    rows = await clients_in(url)
    assert rows
    assert (await runs_in(url))[0]["finished"] is None
    assert (await runs_in(url))[0]["read"] == len(rows)
    world.held.clear()
    report = await refresh(ringme, range(1, 11), Mirror(url), resume=True)
    assert report.read == 10 - len(rows)
    assert (await runs_in(url))[0]["read"] == 10


async def test_outcomes_are_committed_when_the_batch_is_full(sqlite_url: str) -> None:
    async with Mirror(sqlite_url, batch=2, every=1e9).open(resume=False) as session:
        seen = []
        for number in range(1, 6):
            await session.write(str(number), done(number))
            seen.append(len(await clients_in(sqlite_url)))
        assert await session.finish(complete=True) == 0
    assert seen == [0, 2, 2, 4, 4]
    assert len(await clients_in(sqlite_url)) == 5


async def test_outcomes_are_committed_when_the_first_has_waited_long_enough(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    async with Mirror(sqlite_url, every=5).open(resume=False) as session:
        await session.write("1", done(1))
        now = 104.0
        await session.write("2", done(2))
        await session.tick()
        assert await clients_in(sqlite_url) == {}
        now = 105.0
        await session.tick()
        assert len(await clients_in(sqlite_url)) == 2
        await session.write("3", done(3))
        now = 110.0
        await session.write("4", done(4))
        assert len(await clients_in(sqlite_url)) == 4
        monkeypatch.undo()


async def test_unstorable_characters_are_escaped_and_records_stay_whole(url: str) -> None:
    odd = {"a\0b": 1, "\ud800": 2, "big": 10**30, "text": "\0 \ud83d \u044f"}
    async with Mirror(url).open(resume=False) as session:
        await session.write("1", done(10**25, **odd))
    async with Mirror(url).open(resume=False) as session:
        await session.write("1", done(1, big=10**30 + 1, text="\0"))
        error = ResponseLost("what\0 is \udfff")
        await session.write("2", Failed(2, 1, 1, error))
    rows = await clients_in(url)
    assert rows["1"]["client_id"] == 1
    assert rows["1"]["record"]["text"] == "\0"
    assert rows["2"]["last_error"] == "ResponseLost: what\\u0000 is \\udfff"
    changes = {row["field"]: (row["before"], row["after"]) for row in await history_in(url)}
    assert changes == {
        "id": (10**25, 1),
        "name": (f"tenant_{10**25}", "tenant_1"),
        "a\\u0000b": (1, None),
        "\\ud800": (2, None),
        "big": (10**30, 10**30 + 1),
        "text": ("\0 \ud83d \u044f", "\0"),
    }


async def test_an_id_too_large_for_the_column_is_only_in_the_record(url: str) -> None:
    async with Mirror(url).open(resume=False) as session:
        await session.write("1", done(10**25))
    row = (await clients_in(url))["1"]
    assert (row["client_id"], row["record"]["id"]) == (None, 10**25)


async def test_two_runs_on_one_database_exclude_each_other(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_LOCK_ATTEMPTS", 2)
    async with Mirror(url).open(resume=True):
        with pytest.raises(OutputInUse, match="is being written by another run"):
            async with Mirror(url).open(resume=True):
                pass
    async with Mirror(url).open(resume=True):
        pass


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(url: str) -> None:
    async with Mirror(url).open(resume=False):
        pass
    await ask(url, "UPDATE mirror_version SET version = 2")
    with pytest.raises(OutputError, match="tables are of version 2, and this package knows 1"):
        async with Mirror(url).open(resume=False):
            pass
    assert len(await runs_in(url)) == 1


async def test_foreign_tables_are_refused(url: str) -> None:
    await ask(url, "CREATE TABLE clients (id INTEGER)")
    with pytest.raises(OutputError, match="there is a table clients already"):
        async with Mirror(url).open(resume=False):
            pass
    assert await ask(url, "SELECT * FROM clients") == []


async def test_an_interrupted_creation_of_tables_is_continued(url: str) -> None:
    await ask(url, "CREATE TABLE mirror_version (version INTEGER NOT NULL)")
    async with Mirror(url).open(resume=True) as session:
        await session.write("1", done(1))
    assert await ask(url, "SELECT version FROM mirror_version") == [{"version": schema.VERSION}]
    assert list(await clients_in(url)) == ["1"]


async def test_a_broken_database_ends_the_run_with_its_message(
    ringme: RingMe, sqlite_url: str
) -> None:
    with pytest.raises(OutputError, match=r"clients\.db: no such table: clients") as caught:
        async with Mirror(sqlite_url, batch=1).open(resume=False) as session:
            await ask(sqlite_url, "DROP TABLE clients")
            await session.write("1", done(1))
    assert caught.value.__cause__ is None
    assert not hasattr(caught.value, "__notes__")


async def test_a_cancellation_is_raised_even_if_the_database_breaks_after_it(
    sqlite_url: str,
) -> None:
    async def cancelled_run() -> None:
        async with Mirror(sqlite_url).open(resume=False) as session:
            await session.write("1", done(1))
            await ask(sqlite_url, "DROP TABLE clients")
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError) as caught:
        await cancelled_run()
    assert caught.value.__notes__[0].endswith("no such table: clients")


async def test_a_cancellation_during_a_commit_waits_for_its_end(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = DatabaseSession._commit
    started = asyncio.Event()

    async def slow_commit(self: DatabaseSession) -> None:
        started.set()
        await asyncio.sleep(0.01)
        await commit(self)

    monkeypatch.setattr(DatabaseSession, "_commit", slow_commit)

    async def write() -> None:
        async with Mirror(sqlite_url, batch=1).open(resume=False) as session:
            await session.write("1", done(1))
            pytest.fail("the cancellation got lost")

    task = asyncio.create_task(write())
    await started.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(await clients_in(sqlite_url)) == ["1"]


async def test_shielded_work_keeps_its_own_result() -> None:
    async def break_down() -> None:
        await asyncio.sleep(0.01)
        raise KeyError

    async def be_cancelled() -> None:
        await asyncio.sleep(0.01)
        raise asyncio.CancelledError

    with pytest.raises(KeyError):
        await run_shielded(break_down())
    for work in (break_down, be_cancelled):
        task = asyncio.create_task(run_shielded(work()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("sqlite:///a.db", "sqlite+aiosqlite"),
        ("postgresql://host/name", "postgresql+asyncpg"),
        ("postgres://host/name", "postgresql+asyncpg"),
        ("postgresql+psycopg://host/name", "postgresql+psycopg"),
    ],
)
def test_a_url_without_a_driver_gets_one(given: str, driver: str) -> None:
    url = connection.database_url(given)
    assert connection.with_driver(url).drivername == driver
    assert connection.shown_url(url) == given


@pytest.mark.parametrize(
    "given",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:a?uri=true",
        "mysql+aiomysql://user:hush-hush@host/name",
        "nosuch://user:hush-hush@host/name",
        "postgresql://user:hush-hush@host:hush-hush/name",
        "postgresql://user@host:port/name?password=hush-hush",
        "sqlite://?password=hush-hush",
        "mysql+aiomysql://host/name?password=hush-hush",
        "postgresql+pysqlite+x://user:hush-hush@host",
        "://user:hush-hush@host",
    ],
)
async def test_an_unusable_url_is_refused_without_its_password(given: str) -> None:
    mirror = Mirror(given)
    # What frames hold is looked through too, and must not be this test's own.
    del given
    with pytest.raises(InvalidRequest) as caught:
        async with mirror.open(resume=False):
            pass
    assert_keeps(told_by(caught.value) + repr(mirror), "hush-hush")


async def test_a_drivers_message_is_shown_without_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(self: AsyncConnection) -> None:
        url = self.engine.url
        raise ValueError(f"no way to log in as {url.username} with {url.password}")

    monkeypatch.setattr(AsyncConnection, "start", fail)
    mirrors = [
        Mirror("postgresql://user:hush-hush@127.0.0.1:1/name"),
        Mirror("postgresql://user@127.0.0.1:1/name?password=other&password=hush-hush"),
    ]
    for mirror in mirrors:
        with pytest.raises(OutputError, match=r"no way to log in as user with \*\*\*") as caught:
            async with mirror.open(resume=False):
                pass
        assert_keeps(told_by(caught.value), "hush-hush", "other")


def test_the_password_may_be_a_setting_of_the_url() -> None:
    url = connection.database_url("postgresql://user@host/name?password=a%40b&ssl=require")
    assert (url.password, dict(url.query)) == ("a@b", {"ssl": "require"})
    assert connection.shown_url(url) == "postgresql://user:***@host/name"


@pytest.mark.parametrize("given", ["sqlite:///", "sqlite+aiosqlite:///"])
async def test_messages_show_a_database_as_given(given: str, tmp_path: Path) -> None:
    path = tmp_path / "clients.db"
    path.write_bytes(b"no database, but a text of some length" * 50)
    with pytest.raises(OutputError) as caught:
        async with Mirror(f"{given}{path}").open(resume=False):
            pass
    assert str(caught.value).startswith(f"{given}{path}: ")


def test_an_unusable_output_is_refused_without_its_password() -> None:
    parts = ("postgresql://user", "hush-hush@host/name")
    for make in (
        lambda: Mirror(":".join(parts), batch=0),
        lambda: sink_for(":".join(parts), overwrite=True),
    ):
        with pytest.raises(InvalidRequest) as caught:
            make()
        _, *others = traceback.walk_tb(caught.value.__traceback__)
        assert_keeps(repr([frame.f_locals for frame, _ in others[1:]]), "hush-hush")
        assert_keeps(str(caught.value), "hush-hush")


async def test_a_synchronous_driver_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="async"):
        async with Mirror(f"sqlite+pysqlite:///{tmp_path / 'a.db'}").open(resume=False):
            pass


async def test_a_missing_driver_is_named() -> None:
    with pytest.raises(OutputError, match="needs psycopg: pip install 'psycopg'"):
        async with Mirror("postgresql+psycopg://host/name").open(resume=False):
            pass


async def test_an_unreachable_server_is_reported_without_the_password() -> None:
    mirror = Mirror("postgresql://user:hush-hush@127.0.0.1:1/name")
    with pytest.raises(OutputError, match=r"user:\*\*\*@127\.0\.0\.1:1/name: .*failed") as caught:
        async with mirror.open(resume=False):
            pass
    assert_keeps(told_by(caught.value), "hush-hush")


async def test_a_wrong_password_is_not_shown(postgres_url: str) -> None:
    mirror = Mirror(postgres_url.replace("p%40ss", "hush-hush"))
    with pytest.raises(OutputError, match="password authentication failed") as caught:
        async with mirror.open(resume=False):
            pass
    assert_keeps(told_by(caught.value), "hush-hush")


async def test_without_retries_a_lost_postgres_connection_ends_the_run(
    postgres_url: str,
) -> None:
    with pytest.raises(OutputError, match=r"clos|terminat"):
        async with Mirror(postgres_url, batch=1, retry_for=0).open(resume=False) as session:
            others = "pg_stat_activity WHERE datname = current_database()"
            others += " AND pid <> pg_backend_pid()"
            await ask(postgres_url, f"SELECT pg_terminate_backend(pid) FROM {others}")
            while await ask(postgres_url, f"SELECT pid FROM {others}"):
                await asyncio.sleep(0)
            await session.write("1", done(1))
    async with Mirror(postgres_url).open(resume=True):
        pass


async def test_mirrors_in_other_schemas_of_one_database_do_not_exclude_each_other(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        connection._SETTINGS, "asyncpg", {"server_settings": {"search_path": "other"}}
    )
    await ask(postgres_url, "CREATE SCHEMA other")
    async with Mirror(postgres_url).open(resume=False) as session:
        monkeypatch.undo()
        async with Mirror(postgres_url).open(resume=False):
            await session.write("1", done(1))
    assert await clients_in(postgres_url) == {}
    assert [row["tenant"] for row in await ask(postgres_url, "SELECT * FROM other.clients")] == [
        "1"
    ]


def test_a_path_or_a_url_stands_for_its_kind_of_output(tmp_path: Path) -> None:
    assert sink_for("clients.jsonl") == Journal("clients.jsonl")
    assert sink_for(tmp_path / "a", overwrite=True) == Journal(tmp_path / "a", overwrite=True)
    assert sink_for("sqlite:///clients.db") == Mirror("sqlite:///clients.db")
    with pytest.raises(InvalidRequest, match="a database is not overwritten"):
        sink_for("sqlite:///clients.db", overwrite=True)


def test_a_batch_size_below_one_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="batch is a number of tenants from 1 up, not 0"):
        Mirror("sqlite:///clients.db", batch=0)


async def test_a_tenant_keeps_its_row_by_its_name(ringme: RingMe, url: str) -> None:
    await refresh(ringme, [Tenant(1, name="\u0410\u043b\u044c\u0444\u0430"), 2], Mirror(url))
    await refresh(ringme, [Tenant(2, name="\u0410\u043b\u044c\u0444\u0430"), 1], Mirror(url))
    rows = await clients_in(url)
    assert {key: row["client_id"] for key, row in rows.items()} == {
        "\u0410\u043b\u044c\u0444\u0430": 2,
        "2": 2,
        "1": 1,
    }


def test_a_drivers_error_is_one_bounded_line() -> None:
    url = connection.database_url("sqlite:///a.db")
    assert connection._message_of(ValueError("a\nb  c"), url) == "a b c"
    assert connection._message_of(TimeoutError(), url) == "TimeoutError"
    assert len(connection._message_of(SQLAlchemyError("x" * 1_000), url)) == 300
