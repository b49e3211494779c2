"""A run never reports an output as written that was moved, removed or emptied meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from ringme_async.cli.codes import ExitCode
from ringme_async.testing import faults
from tests.cli.conftest import Here
from tests.cli.shell import Ended, Shell


def remove(path: Path) -> None:
    path.unlink()


def rename(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def replace(path: Path) -> None:
    rename(path)
    path.write_bytes(b"mine\n")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"mine\n")


async def disturbed(
    shell: Shell, disturb: Callable[[Path], None], name: str, *arguments: str
) -> Ended:
    """Disturb an output when ten lines are in it, or half the requests have come."""
    path = shell.folder / name
    process = await shell.start(*arguments, "--concurrency", "4")
    while not (path.exists() and path.stat().st_size > 3000):
        assert process.returncode is None, "it ended before its time"
        await asyncio.sleep(0.005)
    disturb(path)
    return await shell.end_of(process)


@pytest.mark.parametrize("disturb", [remove, rename, replace, empty, append])
async def test_a_refresh_reports_a_moved_or_changed_file(
    disturb: Callable[[Path], None], shell: Shell
) -> None:
    shell.fake.add_tenants(180)
    shell.write_tenants(range(1, 201))
    shell.fake.latency = 0.02
    arguments = ("refresh", "--tenants", "tenants.csv", "--into", "c.jsonl")
    ended = await disturbed(shell, disturb, "c.jsonl", *arguments)
    assert (ended.code, ended.out) == (ExitCode.SOME_FAILED, "")
    assert ended.err.startswith("ringme: c.jsonl was ")
    assert ended.err.count("\n") == 1
    # The run stops at once, and does not read all tenants for nothing.
    assert shell.fake.requests.total < 190


@pytest.mark.parametrize("disturb", [remove, rename, replace, empty])
async def test_an_apply_reports_a_moved_or_changed_journal(
    disturb: Callable[[Path], None], shell: Shell, here: Here
) -> None:
    shell.fake.add_tenants(180)
    rows = [f"{number};Asia/Omsk" for number in range(1, 201)]
    shell.write("changes.csv", "\n".join(["client_id;timezone", *rows]))
    await here("plan", "changes.csv", "--out", "plan.json")
    shell.fake.latency = 0.01
    ended = await disturbed(shell, disturb, "plan.journal.jsonl", "apply", "plan.json")
    assert (ended.code, ended.out) == (ExitCode.SOME_FAILED, "")
    assert ended.err.startswith("ringme: plan.journal.jsonl was ")


async def test_a_moved_or_changed_file_of_failures_is_reported_too(shell: Shell) -> None:
    shell.write_tenants(range(1, 61))
    shell.fake.faults.next(faults.ServerError(), times=10_000)
    shell.fake.latency = 0.01
    arguments = ("refresh", "--tenants", "tenants.csv", "--into", "c.jsonl", "--on-outage", "fail")
    ended = await disturbed(shell, remove, "c.failures.jsonl", *arguments)
    assert ended.code == ExitCode.SOME_FAILED
    assert ended.err.startswith("ringme: c.failures.jsonl was removed during the run")


@pytest.mark.parametrize("disturb", [remove, rename, replace, empty])
async def test_a_refresh_reports_a_moved_or_changed_database(
    disturb: Callable[[Path], None], shell: Shell
) -> None:
    shell.write_tenants(range(1, 21))
    shell.fake.latency = 0.1
    shell.fake.faults.next(faults.Stall(), times=1, on="GET")
    arguments = ("refresh", "--tenants", "tenants.csv", "--into", "sqlite:///c.db")
    process = await shell.start(*arguments, "--deadline", "2")
    while shell.fake.requests.total < 20:
        assert process.returncode is None, "it ended before its time"
        await asyncio.sleep(0.005)
    disturb(shell.folder / "c.db")
    ended = await shell.end_of(process)
    assert (ended.code, ended.out) == (ExitCode.SOME_FAILED, "")
    assert "c.db" in ended.err
    assert ended.err.count("\n") == 1
