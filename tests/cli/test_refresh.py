"""``ringme refresh``: every tenant of a list into a file or a database, however often it stops."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from ringme_async.cli.codes import ExitCode
from ringme_async.mirror import OutputError
from ringme_async.mirror.jsonl_file import JSONLFile
from ringme_async.testing import faults
from tests.cli.conftest import Here
from tests.cli.shell import COMMAND, Shell, clean_environment

INTO_FILE = ("refresh", "--tenants", "tenants.csv", "--into", "clients.jsonl")
INTO_DATABASE = ("refresh", "--tenants", "tenants.csv", "--into", "sqlite:///clients.db")


def read_into_file(shell: Shell) -> Counter[str]:
    return Counter(line["tenant"] for line in shell.lines("clients.jsonl"))


def each_once(numbers: range) -> Counter[str]:
    return Counter(f"t{number}" for number in numbers)


async def test_every_tenant_gets_a_line(shell: Shell) -> None:
    shell.write_tenants(range(1, 21))
    ended = await shell.run(*INTO_FILE)
    assert (ended.code, ended.err) == (ExitCode.ALL_WELL, "")
    assert "into clients.jsonl" in ended.out
    assert read_into_file(shell) == each_once(range(1, 21))
    records = {line["client"]["id"]: line["client"] for line in shell.lines("clients.jsonl")}
    assert records == {number: shell.fake.records[number] for number in range(1, 21)}


async def test_as_json_the_counts_are_one_object(shell: Shell) -> None:
    shell.write_tenants(range(1, 21))
    shell.fake.block(7)
    ended = await shell.run(*INTO_FILE, "--json")
    assert (ended.code, ended.err) == (ExitCode.SOME_FAILED, "")
    result = ended.json
    assert result.pop("run") == shell.lines("clients.jsonl")[0]["run"]
    assert result == {
        "read": 19,
        "failed": 1,
        "skipped": 0,
        "not_attempted": 0,
        "changed": 0,
        "ok": False,
        "into": "clients.jsonl",
        "failures": "clients.failures.jsonl",
        "kinds": [
            {
                "error": "UserBlocked",
                "status_code": 403,
                "count": 1,
                "example": result["kinds"][0]["example"],
                "next_step": "the provider has to unblock the user or the client",
            }
        ],
    }


async def test_a_summary_groups_failures_by_kind(here: Here, shell: Shell) -> None:
    shell.write_tenants(range(1, 21))
    shell.variables |= {"RINGME_APP_SECRET": "wrong-s3cret", "COLUMNS": "200"}
    ended = await here(*INTO_FILE)
    assert ended.code == ExitCode.SOME_FAILED
    (row,) = [line for line in ended.out.splitlines() if "TokenError" in line]
    assert re.search(r"TokenError +\S +20 \S .*invalid_client.*; check the App ID, ", row)


async def test_the_next_step_is_in_the_terms_of_the_command_line(here: Here, shell: Shell) -> None:
    small = shell.fake.add_dealer("small", "small-s3cret", ceiling=5)
    shell.variables |= {"RINGME_APP_ID": small.app_id, "RINGME_APP_SECRET": "small-s3cret"}
    shell.variables |= {"COLUMNS": "200"}
    shell.write_tenants(range(1, 21))
    ended = await here(*INTO_FILE, "--on-quota", "fail")
    assert re.search(r"try again in (\d+ (h|min|s) ?)+, or give --on-quota park", ended.out)
    assert "on_quota=" not in ended.out


async def test_failures_are_in_a_file_of_their_own(here: Here, shell: Shell) -> None:
    shell.write_tenants(range(1, 21))
    shell.fake.block(7)
    ended = await here(*INTO_FILE)
    assert ended.code == ExitCode.SOME_FAILED
    assert "see clients.failures.jsonl" in ended.out
    (failure,) = shell.lines("clients.failures.jsonl")
    assert (failure["tenant"], failure["error"]) == ("t7", "UserBlocked")


async def test_tenants_with_applications_of_their_own_need_no_settings(shell: Shell) -> None:
    for number in range(1, 4):
        shell.fake.add_application(f"app{number}", f"own{number}-s3cret", tenant=number)
    shell.variables = {"THIRD": "own3-s3cret"}
    rows = [
        "name;app_id;secret;secret_env;base_url",
        f'"\u0420\u043e\u043c\u0430\u0448\u043a\u0430; \u041e\u041e\u041e";app1;own1-s3cret;;{shell.url}',
        f"\u041b\u044e\u0442\u0438\u043a;app2;own2-s3cret;;{shell.url}",
        f"\u0412\u0430\u0441\u0438\u043b\u0451\u043a;app3;;THIRD;{shell.url}",
        ";;;;",
        "",
    ]
    shell.write("tenants.csv", "\r\n".join(rows).encode("cp1251"))
    ended = await shell.run(*INTO_FILE, "--encoding", "cp1251", "--json")
    assert (ended.code, ended.err) == (ExitCode.ALL_WELL, "")
    assert {line["tenant"]: line["client"]["id"] for line in shell.lines("clients.jsonl")} == {
        "\u0420\u043e\u043c\u0430\u0448\u043a\u0430; \u041e\u041e\u041e": 1,
        "\u041b\u044e\u0442\u0438\u043a": 2,
        "\u0412\u0430\u0441\u0438\u043b\u0451\u043a": 3,
    }
    written = b"".join(path.read_bytes() for path in shell.folder.glob("clients*"))
    assert b"s3cret" not in written


async def test_nothing_is_sent_for_a_list_with_an_error(here: Here, shell: Shell) -> None:
    shell.write("tenants.csv", "name,client_id\nt1,1\nt2,two\nt1,3\n")
    ended = await here(*INTO_FILE)
    assert (ended.code, ended.out) == (ExitCode.COULD_NOT_START, "")
    assert ended.err == (
        "ringme: tenants.csv, line 3: client_id is neither a number nor @me\n"
        "ringme: tenants.csv, line 4: the name 't1' is on line 2 already\n"
    )
    assert shell.fake.requests.total == 0
    assert not (shell.folder / "clients.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--into", "clients.jsonl"], "refresh needs a list of tenants: --tenants FILE"),
        (["--tenants", "tenants.csv"], "requires an argument"),
        ([*INTO_FILE[1:-1], ""], "--into: name a file or a database"),
        ([*INTO_FILE[1:], "more", "still"], "ringme: too many arguments: more still\n"),
        ([*INTO_FILE[1:], "--resume", "--overwrite"], "--resume goes on with"),
        ([*INTO_DATABASE[1:], "--overwrite"], "a database is not overwritten"),
        ([*INTO_FILE[1:], "--concurrency", "0"], "concurrency must be a whole number"),
        ([*INTO_FILE[1:], "--deadline", "-1"], "deadline must be a number of seconds"),
        ([*INTO_FILE[1:], "--concurrency", "car"], "--concurrency"),
        ([*INTO_FILE[1:], "--on-quota", "wait"], "--on-quota"),
        ([*INTO_FILE[1:], "--on-outage", "park"], "--on-outage"),
        ([*INTO_FILE[1:], "--encoding", "klingon"], "there is no encoding 'klingon'"),
        ([*INTO_FILE[1:-1], "mysql://host/name"], "SQLite or PostgreSQL"),
    ],
)
async def test_wrong_usage_is_reported_before_anything_is_sent(
    arguments: list[str], message: str, here: Here, shell: Shell
) -> None:
    shell.write_tenants(range(1, 4))
    ended = await here("refresh", *arguments)
    assert (ended.code, ended.out) == (ExitCode.WRONG_USAGE, "")
    assert message in ended.err
    assert shell.fake.requests.total == 0


async def test_a_non_empty_file_is_written_only_if_resumed_or_overwritten(
    here: Here, shell: Shell
) -> None:
    shell.write_tenants(range(1, 4))
    await here(*INTO_FILE)
    before = shell.fake.requests.total
    ended = await here(*INTO_FILE)
    assert (ended.code, ended.out) == (ExitCode.COULD_NOT_START, "")
    assert ended.err == (
        "ringme: clients.jsonl is not empty: resume the run that it is of (--resume), or overwrite"
        " it (--overwrite)\n"
    )
    assert shell.fake.requests.total == before
    ended = await here(*INTO_FILE, "--overwrite")
    assert ended.code == ExitCode.ALL_WELL
    assert read_into_file(shell) == each_once(range(1, 4))


async def test_two_runs_on_one_output_exclude_each_other(shell: Shell) -> None:
    shell.write_tenants(range(1, 21))
    shell.fake.latency = 600.0
    process = await shell.start(*INTO_FILE)
    while not shell.fake.requests.total:
        await asyncio.sleep(0.005)
    ended = await shell.run(*INTO_FILE, "--resume")
    process.send_signal(signal.SIGINT)
    assert (await shell.end_of(process)).code == ExitCode.INTERRUPTED
    assert ended.code == ExitCode.COULD_NOT_START
    assert "is being written by another run" in ended.err


async def test_a_database_keeps_records_errors_and_history(shell: Shell) -> None:
    shell.write_tenants(range(1, 21))
    shell.fake.block(7)
    first = await shell.run(*INTO_DATABASE, "--json")
    assert first.code == ExitCode.SOME_FAILED
    assert (first.json["read"], first.json["into"], first.json["failures"]) == (
        19,
        "sqlite:///clients.db",
        None,
    )
    shell.fake.block(7, blocked=False)
    shell.fake.tenant(9).set(timezone="Asia/Omsk")
    second = await shell.run(*INTO_DATABASE)
    assert second.code == ExitCode.ALL_WELL
    assert "fields changed" in second.out
    with closing(sqlite3.connect(shell.folder / "clients.db")) as database:
        history = database.execute("SELECT tenant, field, after FROM history").fetchall()
        (count,) = database.execute("SELECT count(*) FROM clients").fetchone()
    assert history == [("t9", "timezone", '"Asia/Omsk"')]
    assert count == 20


async def test_a_password_in_a_database_url_causes_a_warning_and_is_not_shown(
    here: Here, shell: Shell
) -> None:
    shell.write_tenants(range(1, 4))
    into = "postgresql+asyncpg://user:pw-s3cret@127.0.0.1:1/name"
    ended = await here("refresh", "--tenants", "tenants.csv", "--into", into)
    assert ended.code == ExitCode.COULD_NOT_START
    assert "warning: the password in --into can be seen" in ended.err
    into = "postgresql+asyncpg://user@127.0.0.1:1/name?password=s3cret"
    ended = await here("refresh", "--tenants", "tenants.csv", "--into", into)
    assert ended.code == ExitCode.WRONG_USAGE
    assert "leave the password to PGPASSWORD" in ended.err
    assert shell.fake.requests.total == 0


async def test_tenants_after_the_deadline_are_not_attempted(here: Here, shell: Shell) -> None:
    shell.write_tenants(range(1, 21))
    shell.fake.latency = 30.0
    arguments = (*INTO_FILE, "--deadline", "0.5", "--concurrency", "2")
    ended = await here(*arguments)
    assert ended.code == ExitCode.SOME_FAILED
    assert "not attempted" in ended.out
    shell.fake.latency = 0.0
    again = await here(*INTO_FILE, "--resume", "--json")
    assert again.code == ExitCode.ALL_WELL
    assert read_into_file(shell) == each_once(range(1, 21))


async def test_on_quota_fail_does_not_wait_for_a_used_up_quota(here: Here, shell: Shell) -> None:
    small = shell.fake.add_dealer("small", "small-s3cret", ceiling=5)
    shell.variables |= {"RINGME_APP_ID": small.app_id, "RINGME_APP_SECRET": "small-s3cret"}
    shell.write_tenants(range(1, 21))
    ended = await here(*INTO_FILE, "--on-quota", "fail", "--json")
    assert (ended.code, ended.json["read"]) == (ExitCode.SOME_FAILED, 5)
    assert {line["error"] for line in shell.lines("clients.failures.jsonl")} == {"RateLimited"}


async def test_on_outage_fail_does_not_wait_for_a_host_that_is_down(
    here: Here, shell: Shell
) -> None:
    shell.write_tenants(range(1, 61))
    shell.fake.faults.next(faults.ServerError(), times=10_000)
    ended = await here(*INTO_FILE, "--on-outage", "fail", "--concurrency", "auto", "--json")
    assert (ended.code, ended.json["failed"]) == (ExitCode.SOME_FAILED, 60)
    assert {line["error"] for line in shell.lines("clients.failures.jsonl")} == {"ServerError"}


@pytest.mark.parametrize("into", ["clients.jsonl", "sqlite:///clients.db"])
@pytest.mark.parametrize(
    ("stop", "code"),
    [
        (signal.SIGINT, ExitCode.INTERRUPTED),
        (signal.SIGTERM, ExitCode.INTERRUPTED),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
)
async def test_a_stopped_run_is_resumed(
    into: str, stop: signal.Signals, code: int, shell: Shell
) -> None:
    shell.fake.add_tenants(180)
    shell.write_tenants(range(1, 201))
    shell.fake.latency = 0.02
    arguments = ("refresh", "--tenants", "tenants.csv", "--into", into)
    stopped = await shell.stop_after(80, stop, *arguments, "--concurrency", "8")
    assert (stopped.code, stopped.out) == (code, "")
    if stop == signal.SIGINT:
        assert stopped.err == (
            f"ringme: what has come is in {into}; go on with --resume\nringme: interrupted\n"
        )
        shell.fake.assert_quiet()
    ended = await shell.run(*arguments, "--resume", "--json")
    assert (ended.code, ended.err) == (ExitCode.ALL_WELL, "")
    result = ended.json
    assert result["read"] + result["skipped"] == 200
    assert result["read"] < 200 or "sqlite" in into
    if "sqlite" in into:
        with closing(sqlite3.connect(shell.folder / "clients.db")) as database:
            rows = database.execute("SELECT tenant FROM clients WHERE run = ?", [result["run"]])
            assert Counter(tenant for (tenant,) in rows) == each_once(range(1, 201))
    else:
        assert read_into_file(shell) == each_once(range(1, 201))


async def test_without_a_terminal_there_is_no_progress(shell: Shell) -> None:
    shell.write_tenants(range(1, 21))
    shell.variables |= {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}
    ended = await shell.run(*INTO_FILE)
    assert (ended.code, ended.err) == (ExitCode.ALL_WELL, "")


async def test_on_a_terminal_the_progress_says_which_limit_the_run_is_at(shell: Shell) -> None:
    shell.fake.add_tenants(80)
    shell.write_tenants(range(1, 101))
    shell.fake.latency = 0.05
    shown = await seen_on_terminal(shell, *INTO_FILE, "--concurrency", "2")
    assert "reading" in shown
    assert "100/100" in shown
    assert "limit: concurrency" in shown


async def seen_on_terminal(shell: Shell, *arguments: str) -> str:
    """Run a command with a terminal as stderr, and return its output."""
    ours, theirs = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        cwd=shell.folder,
        env=clean_environment(shell.folder) | shell.variables | {"TERM": "xterm", "COLUMNS": "120"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown = await asyncio.to_thread(read_all, ours)
    assert await process.wait() == ExitCode.ALL_WELL
    return shown.decode()


def read_all(terminal: int) -> bytes:
    shown = b""
    with open(terminal, "rb", buffering=0) as file:
        try:
            while part := file.read(65536):
                shown += part
        except OSError:
            # Linux reports a closed other end as an error.
            pass
    return shown


async def test_an_output_that_breaks_during_a_run_is_a_failure_and_not_a_failed_start(
    here: Here, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.write_tenants(range(1, 21))

    def full(_file: JSONLFile, _entry: object) -> None:
        raise OutputError("clients.jsonl: No space left on device")

    monkeypatch.setattr(JSONLFile, "append", full)
    ended = await here(*INTO_FILE)
    assert ended.code == ExitCode.SOME_FAILED
    assert ended.err == "ringme: clients.jsonl: No space left on device\n"


async def test_an_error_after_an_interruption_is_reported(
    here: Here, shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.write_tenants(range(1, 3))

    async def interrupted(*_: object, **__: object) -> None:
        stop = asyncio.CancelledError()
        stop.add_note("after that: clients.jsonl: No space left on device")
        try:
            raise stop
        except asyncio.CancelledError:
            raise KeyboardInterrupt  # noqa: B904 - as asyncio.run() does

    monkeypatch.setattr("ringme_async.cli.many.refresh", interrupted)
    with pytest.raises(KeyboardInterrupt):
        await here(*INTO_FILE)
    assert capsys.readouterr().err == (
        "ringme: after that: clients.jsonl: No space left on device\n"
        "ringme: what has come is in clients.jsonl; go on with --resume\n"
    )


async def test_retries_overcome_faults(here: Here, shell: Shell, tmp_path: Path) -> None:
    shell.write_tenants(range(1, 21))
    shell.fake.faults.next(faults.TokenDeath(), on="GET")
    shell.fake.faults.next(faults.ResetBefore(), times=2, on="GET")
    shell.fake.faults.next(faults.Html(502), times=2, on="GET")
    ended = await here(*INTO_FILE, "--json")
    assert (ended.code, ended.json["read"]) == (ExitCode.ALL_WELL, 20)
