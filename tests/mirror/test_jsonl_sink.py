"""The journal of a run: its content, and how a stopped run resumes it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ringme_async import (
    ClientNotFound,
    Done,
    Failed,
    InvalidRequest,
    ResponseLost,
    RingMeError,
    TokenError,
)
from ringme_async.mirror import Journal, OutputError, OutputInUse
from ringme_async.mirror.jsonl_file import json_text
from ringme_async.mirror.jsonl_sink import JournalSession
from ringme_async.resources.clients.codec import client_from_json
from tests.mirror.world import by_tenant, lines_of, record_of

AT = datetime(2026, 11, 23, 10, 42, 5, 123_456, UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clients.jsonl"


@pytest.fixture
def failures(tmp_path: Path) -> Path:
    return tmp_path / "clients.failures.jsonl"


def journal_at(path: Path, **given: Any) -> Journal:
    return Journal(path, clock=lambda: AT, **given)


def done(number: int, **fields: Any) -> Done[Any]:
    return Done(number, 0, 1, client_from_json(record_of(number, **fields)))


def failed(number: int, error: RingMeError | None = None, attempts: int = 1) -> Failed:
    return Failed(number, 0, attempts, error or ResponseLost("it broke", client_id=str(number)))


async def run(journal: Journal, *outcomes: Done[Any] | Failed, resume: bool = False) -> str:
    async with journal.open(resume=resume) as session:
        for outcome in outcomes:
            await session.write(str(outcome.who), outcome)
        assert await session.finish(complete=True) == 0
    return session.run


@asynccontextmanager
async def resumed(path: Path) -> AsyncIterator[JournalSession[Any]]:
    async with journal_at(path).open(resume=True) as session:
        yield session


async def test_a_line_holds_run_tenant_time_and_the_record_as_the_server_sent_it(
    path: Path,
) -> None:
    record = record_of(12, later={"nested": [1, 2.5, "\ud83d"]}, geo_list="RU  BY", type="Z")
    del record["email"]
    run_id = await run(journal_at(path), Done(12, 0, 1, client_from_json(record)))
    assert lines_of(path) == [
        {
            "run": run_id,
            "tenant": "12",
            "at": "2026-11-23T10:42:05.123+00:00",
            "client": record,
        }
    ]


async def test_a_line_is_in_the_file_as_soon_as_it_is_written(path: Path) -> None:
    async with journal_at(path).open(resume=False) as session:
        await session.write("12", done(12))
        await session.tick()
        assert [line["tenant"] for line in lines_of(path)] == ["12"]


async def test_a_failure_goes_to_a_file_of_its_own_with_its_details(
    path: Path, failures: Path
) -> None:
    gone = ClientNotFound(
        "404 Not Found", status_code=404, status="client_not_found", client_id="1", attempts=2
    )
    refused = TokenError("refused", error="invalid_client", status_code=401)
    lost = ResponseLost("it broke", maybe_applied=True)
    outcomes = [failed(1, gone, 2), failed(2, refused), failed(3, lost, 4)]
    run_id = await run(journal_at(path), *outcomes)
    head = {"run": run_id, "at": "2026-11-23T10:42:05.123+00:00"}
    assert lines_of(path) == []
    assert lines_of(failures) == [
        {
            **head,
            "tenant": "1",
            "error": "ClientNotFound",
            "message": str(gone),
            "status_code": 404,
            "status": "client_not_found",
            "maybe_applied": False,
            "attempts": 2,
        },
        {
            **head,
            "tenant": "2",
            "error": "TokenError",
            "message": str(refused),
            "status_code": 401,
            "status": "invalid_client",
            "maybe_applied": False,
            "attempts": 1,
        },
        {
            **head,
            "tenant": "3",
            "error": "ResponseLost",
            "message": str(lost),
            "status_code": None,
            "status": None,
            "maybe_applied": True,
            "attempts": 4,
        },
    ]


@pytest.mark.parametrize("name", ["clients", "a.b/clients.of.mine.jsonl"])
async def test_the_file_of_failures_is_beside_an_output_of_any_name(
    tmp_path: Path, name: str
) -> None:
    output = tmp_path / name
    output.parent.mkdir(exist_ok=True)
    await run(journal_at(output), done(1), failed(2))
    assert sorted(os.listdir(output.parent)) == sorted(
        [output.name, f"{output.stem}.failures{output.suffix}"]
    )


async def test_a_run_without_failures_leaves_one_file(path: Path) -> None:
    await run(journal_at(path))
    assert os.listdir(path.parent) == [path.name]


async def test_each_run_has_its_own_id_and_a_resumed_run_keeps_it(tmp_path: Path) -> None:
    first = await run(journal_at(tmp_path / "one"), done(1))
    second = await run(journal_at(tmp_path / "two"), failed(1))
    assert first != second
    assert await run(journal_at(tmp_path / "one"), resume=True) == first
    assert await run(journal_at(tmp_path / "two"), resume=True) == second


@pytest.mark.parametrize("outcome", [done(1), failed(1)])
async def test_a_non_empty_output_is_refused_unless_resumed_or_overwritten(
    path: Path, failures: Path, outcome: Done[Any] | Failed
) -> None:
    await run(journal_at(path), outcome)
    before = lines_of(path), lines_of(failures)
    with pytest.raises(OutputError, match=r"jsonl is not empty: resume .* or overwrite it"):
        await run(journal_at(path), done(2))
    assert (lines_of(path), lines_of(failures)) == before


async def test_overwriting_an_output_starts_over(path: Path, failures: Path) -> None:
    await run(journal_at(path), done(1), failed(2))
    await run(journal_at(path, overwrite=True), done(3))
    assert [line["tenant"] for line in lines_of(path)] == ["3"]
    assert not failures.exists()


async def test_to_resume_and_to_overwrite_contradict_each_other(path: Path) -> None:
    with pytest.raises(InvalidRequest, match="either goes on with its output or overwrites it"):
        await run(journal_at(path, overwrite=True), resume=True)


async def test_a_resumed_run_knows_only_the_done_tenants(path: Path) -> None:
    await run(journal_at(path), done(1), failed(2))
    async with resumed(path) as session:
        assert [key for key in ("1", "2", "3") if session.is_done(key)] == ["1"]


async def test_resuming_a_missing_output_starts_a_run(path: Path) -> None:
    await run(journal_at(path), done(1), resume=True)
    assert list(by_tenant(path)) == ["1"]


async def test_half_a_line_is_cut_off_and_its_tenant_is_not_done(path: Path) -> None:
    await run(journal_at(path), done(1), done(2))
    path.write_bytes(path.read_bytes()[:-40])
    async with resumed(path) as session:
        assert session.is_done("1")
        assert not session.is_done("2")
        await session.write("2", done(2))
    assert list(by_tenant(path)) == ["1", "2"]


async def test_half_a_line_of_failures_is_cut_off(path: Path, failures: Path) -> None:
    await run(journal_at(path), failed(1), failed(2))
    failures.write_bytes(failures.read_bytes()[:-40])
    async with resumed(path):
        assert list(by_tenant(failures)) == ["1"]


@pytest.mark.parametrize(
    "line",
    [
        '{"tenant": "3", "client": {}}',
        '{"run": "r", "client": {}}',
        '{"run": "r", "tenant": 3, "client": {}}',
        '{"run": "r", "tenant": "3"}',
        '{"run": "r", "tenant": "3", "client": null}',
    ],
)
async def test_a_foreign_line_is_reported_with_its_number(path: Path, line: str) -> None:
    await run(journal_at(path), done(1))
    with path.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(OutputError, match=r"clients\.jsonl, line 2: this is no line of such a run"):
        await run(journal_at(path), resume=True)


async def test_a_malformed_line_of_failures_is_reported_with_its_number(
    path: Path, failures: Path
) -> None:
    await run(journal_at(path), failed(1))
    failures.write_text("{}\n" + failures.read_text())
    with pytest.raises(OutputError, match=r"clients\.failures\.jsonl, line 1: this is no line"):
        await run(journal_at(path), resume=True)


async def test_a_repeated_tenant_is_reported_with_its_line(path: Path) -> None:
    await run(journal_at(path), done(1), done(2))
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(OutputError, match="line 3: '1' is there for the second time"):
        await run(journal_at(path), resume=True)


async def test_a_failure_is_removed_when_its_tenant_succeeds(path: Path, failures: Path) -> None:
    await run(journal_at(path), failed(1), failed(2))
    await run(journal_at(path), done(1), resume=True)
    assert list(by_tenant(path)) == ["1"]
    assert list(by_tenant(failures)) == ["2"]
    await run(journal_at(path), done(2), resume=True)
    assert not failures.exists()


async def test_only_the_last_failure_of_a_tenant_is_kept(path: Path, failures: Path) -> None:
    await run(journal_at(path), failed(1), failed(2), failed(3))
    await run(journal_at(path), failed(2, ResponseLost("again")), resume=True)
    assert [(line["tenant"], line["message"]) for line in lines_of(failures)] == [
        ("1", "client 1: it broke"),
        ("3", "client 3: it broke"),
        ("2", "again"),
    ]


async def test_a_resumed_run_removes_failures_of_tenants_that_succeeded_before_the_kill(
    path: Path, failures: Path
) -> None:
    run_id = await run(journal_at(path), done(1), failed(2))
    with failures.open("a") as file:
        for tenant in ("1", "2"):
            file.write(json_text({"run": run_id, "tenant": tenant, "error": "E"}) + "\n")
    async with resumed(path):
        assert by_tenant(failures) == {"2": {"run": run_id, "tenant": "2", "error": "E"}}


async def test_two_runs_on_one_output_exclude_each_other(path: Path) -> None:
    async with resumed(path):
        with pytest.raises(OutputInUse, match=r"clients\.jsonl is being written by another run"):
            await run(journal_at(path), resume=True)
    await run(journal_at(path), resume=True)


async def test_the_error_of_the_block_is_raised_with_a_note_of_the_closing_error(
    path: Path, failures: Path
) -> None:
    await run(journal_at(path), failed(1))
    with pytest.raises(KeyError) as caught:
        async with resumed(path) as session:
            await session.write("1", done(1))
            failures.write_text("garbled\n")
            raise KeyError("the block's own")
    assert caught.value.args == ("the block's own",)
    assert caught.value.__notes__ == [
        f"after that: {failures}, line 1: this is no line of such a run; mend it or remove it"
    ]
    failures.unlink()
    async with journal_at(path, overwrite=True).open(resume=False):
        pass


async def test_a_pipe_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="no ordinary file"):
        await run(journal_at(tmp_path / "pipe"), resume=True)


async def test_a_failed_close_raises_an_error(path: Path, failures: Path) -> None:
    await run(journal_at(path), failed(1))
    with pytest.raises(OutputError, match="line 1: this is no line"):
        async with resumed(path) as session:
            await session.write("1", done(1))
            failures.write_text("garbled\n")
