"""No command writes into a file that it reads, or into a foreign file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ringme_async.cli.codes import ExitCode
from tests.cli.conftest import Here
from tests.cli.shell import Shell

CHANGES = "client_id;timezone\n1;Asia/Omsk\n"
DATABASE = ("refresh", "--tenants", "tenants.csv", "--into", "sqlite:///c.db")


def linked(shell: Shell, name: str) -> str:
    (shell.folder / "link").symlink_to(name)
    return "link"


def hard_linked(shell: Shell, name: str) -> str:
    os.link(shell.folder / name, shell.folder / "second")
    return "second"


def spelt_otherwise(shell: Shell, name: str) -> str:
    return f"../{shell.folder.name}/./{name}"


def itself(_shell: Shell, name: str) -> str:
    return name


ALIASES = [itself, linked, hard_linked, spelt_otherwise]


async def prepared(shell: Shell, here: Here) -> dict[str, bytes]:
    shell.write_tenants(range(1, 4))
    shell.write("changes.csv", CHANGES)
    await here("plan", "changes.csv", "--out", "plan.json")
    return contents(shell)


def contents(shell: Shell) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in shell.folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize(
    ("command", "read"),
    [
        (("refresh", "--tenants", "tenants.csv", "--overwrite", "--into"), "tenants.csv"),
        (("refresh", "--tenants", "tenants.csv", "--resume", "--into"), "tenants.csv"),
        (("refresh", "--tenants", "tenants.csv", "--into", "c.jsonl", "--tokens"), "tenants.csv"),
        (("plan", "changes.csv", "--out"), "changes.csv"),
        (("plan", "changes.csv", "--tenants", "tenants.csv", "--out"), "tenants.csv"),
        (("apply", "plan.json", "--overwrite", "--journal"), "plan.json"),
        (("apply", "plan.json", "--tenants", "tenants.csv", "--journal"), "tenants.csv"),
        (("get", "t1", "--tenants", "tenants.csv", "--tokens"), "tenants.csv"),
    ],
)
async def test_an_output_is_never_an_input(
    command: tuple[str, ...],
    read: str,
    alias: Callable[[Shell, str], str],
    shell: Shell,
    here: Here,
) -> None:
    await prepared(shell, here)
    name = alias(shell, read)
    before = contents(shell)
    sent = shell.fake.requests.total
    ended = await here(*command, name)
    assert (ended.code, ended.out) == (ExitCode.WRONG_USAGE, "")
    assert "are one file" in ended.err
    assert "overwrite" not in ended.err
    assert contents(shell) == before
    assert shell.fake.requests.total == sent


@pytest.mark.parametrize(
    ("option", "tenants", "into"),
    [
        ("the failures of --into", "c.failures.jsonl", "c.jsonl"),
        ("the lock of --into", "c.jsonl.lock", "c.jsonl"),
        ("the c.db-journal of --into", "c.db-journal", "sqlite:///c.db"),
        ("the c.db.lock of --into", "c.db.lock", "sqlite+aiosqlite:///c.db"),
    ],
)
async def test_no_file_beside_an_output_is_an_input(
    option: str, tenants: str, into: str, shell: Shell, here: Here
) -> None:
    shell.write(tenants, "client_id\n1\n")
    ended = await here("refresh", "--tenants", tenants, "--into", into, "--json")
    assert ended.code == ExitCode.WRONG_USAGE
    assert f"{option} and --tenants are one file" in ended.err
    assert contents(shell) == {tenants: b"client_id\n1\n"}


async def test_two_outputs_are_never_one_file(shell: Shell, here: Here) -> None:
    shell.write_tenants(range(1, 4))
    ended = await here(
        *("refresh", "--tenants", "tenants.csv", "--into", "new.jsonl", "--tokens", "./new.jsonl")
    )
    assert ended.code == ExitCode.WRONG_USAGE
    assert set(contents(shell)) == {"tenants.csv"}


@pytest.mark.skipif(not os.path.exists("/dev/stdin"), reason="a thing of Unix")
@pytest.mark.parametrize("stream", ["<", ">>"])
async def test_a_file_that_the_shell_has_opened_counts_as_an_input(
    stream: str, shell: Shell
) -> None:
    shell.write_tenants(range(1, 4))
    list_ = shell.folder / "tenants.csv"
    before = list_.read_bytes()
    read, into = ("/dev/stdin", "tenants.csv") if stream == "<" else ("tenants.csv", "new.jsonl")
    arguments = ("refresh", "--tenants", read, "--into", into, "--overwrite")
    with list_.open("rb") as stdin, (shell.folder / "new.jsonl").open("ab") as stdout:
        process = await shell.start(*arguments, stdin=stdin, stdout=stdout)
        _, err = await process.communicate()
    assert process.returncode == ExitCode.WRONG_USAGE
    assert b"are one file" in err
    assert list_.read_bytes() == before


FOREIGN = {
    "list": b"name,client_id\nacme,1\n",
    "one line": b"name,client_id",
    "json lines": b'{"name": "acme", "client_id": 1}\n',
    "one json line": b'{"name": "acme", "client_id": 1}',
    "zip": b"PK\x03\x04\0\0",
    "tokens": b'{"ringme_tokens": 1, "generation": "a"}\n',
    "newline": b"\n",
    "list of json": b'[{"run": "a", "tenant": "b"}]\n',
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("mode", ["", "--overwrite", "--resume"])
@pytest.mark.parametrize("name", ["mine", "mine.failures"])
async def test_a_foreign_file_is_left_alone(
    content: bytes, mode: str, name: str, shell: Shell, here: Here
) -> None:
    shell.write_tenants(range(1, 4))
    shell.write(name, content)
    arguments = ("refresh", "--tenants", "tenants.csv", "--into", "mine")
    ended = await here(*arguments, *filter(None, [mode]))
    assert (ended.code, ended.out) == (ExitCode.COULD_NOT_START, "")
    assert ended.err.startswith(f"ringme: {name}")
    assert "overwrite" not in ended.err
    assert (shell.folder / name).read_bytes() == content
    assert shell.fake.requests.total == 0


async def test_a_foreign_file_with_the_locks_name_is_left_alone(shell: Shell, here: Here) -> None:
    shell.write_tenants(range(1, 4))
    shell.write("uv.lock", "version = 1\n")
    ended = await here("refresh", "--tenants", "tenants.csv", "--into", "uv")
    assert ended.code == ExitCode.COULD_NOT_START
    assert "uv.lock is not empty, so it is no lock" in ended.err
    assert (shell.folder / "uv.lock").read_text("utf-8") == "version = 1\n"


@pytest.mark.parametrize("mode", ["--overwrite", "--resume"])
async def test_an_output_of_another_kind_is_left_alone(mode: str, shell: Shell, here: Here) -> None:
    await prepared(shell, here)
    await here("refresh", "--tenants", "tenants.csv", "--into", "c.jsonl")
    await here("apply", "plan.json")
    before = contents(shell)
    for arguments in (
        ("refresh", "--tenants", "tenants.csv", "--into", "plan.json", mode),
        ("refresh", "--tenants", "tenants.csv", "--into", "plan.journal.jsonl", mode),
        ("apply", "plan.json", "--journal", "c.jsonl", mode),
        ("plan", "changes.csv", "--out", "c.jsonl"),
        ("plan", "changes.csv", "--out", "plan.journal.jsonl"),
    ):
        ended = await here(*arguments)
        assert ended.code == ExitCode.COULD_NOT_START, arguments
    assert contents(shell) == before


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
async def test_a_plan_replaces_an_earlier_plan_and_nothing_else(
    content: bytes, shell: Shell, here: Here
) -> None:
    await prepared(shell, here)
    shell.write("mine", content)
    sent = shell.fake.requests.total
    ended = await here("plan", "changes.csv", "--out", "mine")
    assert (ended.code, ended.out) == (ExitCode.COULD_NOT_START, "")
    assert ended.err.startswith("ringme: mine is a file ")
    assert (shell.folder / "mine").read_bytes() == content
    assert shell.fake.requests.total == sent
    shell.write("changes.csv", CHANGES.replace("Omsk", "Tomsk"))
    again = await here("plan", "changes.csv", "--out", "plan.json")
    assert again.code == ExitCode.ALL_WELL
    assert "Tomsk" in (shell.folder / "plan.json").read_text("utf-8")


async def test_the_output_of_a_run_that_was_killed_in_its_first_line_is_overwritten(
    shell: Shell, here: Here
) -> None:
    shell.write_tenants(range(1, 4))
    arguments = ("refresh", "--tenants", "tenants.csv", "--into", "c.jsonl")
    await here(*arguments)
    line = (shell.folder / "c.jsonl").read_bytes()
    for half in (1, 5, 20, 200):
        for mode in ("--overwrite", "--resume"):
            shell.write("c.jsonl", line[:half])
            assert (await here(*arguments, mode)).code == ExitCode.ALL_WELL
            assert len(shell.lines("c.jsonl")) == 3


async def test_a_database_is_recognised_without_its_prefix(shell: Shell, here: Here) -> None:
    shell.write_tenants(range(1, 4))
    assert (await here(*DATABASE)).code == ExitCode.ALL_WELL
    ended = await here(*DATABASE[:-1], "c.db", "--json")
    assert (ended.code, ended.json["into"]) == (ExitCode.ALL_WELL, "sqlite:///c.db")
    absolute = await here(*DATABASE[:-1], str(shell.folder / "c.db"), "--resume", "--json")
    assert (absolute.code, absolute.json["skipped"]) == (ExitCode.ALL_WELL, 3)
    refused = await here(*DATABASE[:-1], "c.db", "--overwrite")
    assert refused.code == ExitCode.WRONG_USAGE
    assert "a database is not overwritten" in refused.err
    with closing(sqlite3.connect(shell.folder / "c.db")) as database:
        assert database.execute("SELECT count(*) FROM runs").fetchall() == [(2,)]


async def test_a_database_is_no_journal_and_no_plan(shell: Shell, here: Here) -> None:
    await prepared(shell, here)
    await here(*DATABASE)
    before = contents(shell)
    for arguments in (
        ("apply", "plan.json", "--overwrite", "--journal", "c.db"),
        ("plan", "changes.csv", "--out", "c.db"),
    ):
        ended = await here(*arguments)
        assert ended.code == ExitCode.COULD_NOT_START
        assert "c.db is a SQLite database and is left alone" in ended.err
    assert contents(shell) == before


@pytest.mark.parametrize(
    ("into", "message"),
    [
        ("sqlite:c.db", "sqlite:///c.db\n"),
        ("sqlite:/c.db", "sqlite:///c.db, or sqlite:////c.db from the root\n"),
        ("SQLite:c.db", "sqlite:///c.db\n"),
        ("sqlite+aiosqlite:c.db", "sqlite:///c.db\n"),
        ("jdbc:sqlite:c.db", "sqlite:///c.db\n"),
        ("postgres:user:pw-s3cret@host/name", "postgresql+asyncpg://user@host/name\n"),
        ("postgresql:/host/name", "postgresql+asyncpg://user@host/name\n"),
        ("jdbc:postgresql://host/name", "postgresql+asyncpg://user@host/name\n"),
        ("mysql:name", "postgresql+asyncpg://user@host/name\n"),
    ],
)
async def test_a_misspelt_url_of_a_database_makes_no_file(
    into: str, message: str, shell: Shell, here: Here
) -> None:
    before = await prepared(shell, here)
    for arguments in (
        ("refresh", "--tenants", "tenants.csv", "--into", into),
        ("apply", "plan.json", "--journal", into),
        ("plan", "changes.csv", "--out", into),
    ):
        ended = await here(*arguments)
        assert ended.code == ExitCode.WRONG_USAGE, arguments
        assert ended.err.endswith(message)
        assert ended.err.count("\n") == 1
    assert contents(shell) == before


async def test_a_file_with_a_colon_in_its_name_is_a_file(shell: Shell, here: Here) -> None:
    shell.write_tenants(range(1, 4))
    ended = await here("refresh", "--tenants", "tenants.csv", "--into", "at-10:04.jsonl")
    assert ended.code == ExitCode.ALL_WELL
    assert len(shell.lines("at-10:04.jsonl")) == 3


async def test_a_plan_keeps_the_link_and_the_mode_of_the_file_that_it_replaces(
    shell: Shell, here: Here
) -> None:
    await prepared(shell, here)
    plan: Path = shell.folder / "plan.json"
    plan.chmod(0o640)
    (shell.folder / "link").symlink_to("plan.json")
    ended = await here("plan", "changes.csv", "--out", "link")
    assert ended.code == ExitCode.ALL_WELL
    assert (shell.folder / "link").is_symlink()
    assert plan.stat().st_mode & 0o777 == 0o640
