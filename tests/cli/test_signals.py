"""A run ended by any signals, however many, has whole outputs and one exit code."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections import Counter
from contextlib import closing

import pytest

from ringme_async.cli import interruption
from ringme_async.cli.codes import ExitCode
from tests.cli.conftest import Here
from tests.cli.shell import Shell
from tests.cli.test_fake import running

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a thing of Unix")

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
SEQUENCES = [[HUP], [TERM, HUP], [INT, INT], [HUP, TERM, INT] * 7]
INTO = ("refresh", "--tenants", "tenants.csv", "--concurrency", "8", "--into")


async def until_requests(shell: Shell, count: int, process: asyncio.subprocess.Process) -> None:
    while shell.fake.requests.total < count:
        assert process.returncode is None, "it ended before its time"
        await asyncio.sleep(0.005)


def ids(signals: list[signal.Signals]) -> str:
    return "-".join(one.name for one in signals[:5])


@pytest.mark.parametrize("into", ["c.jsonl", "sqlite:///c.db"])
@pytest.mark.parametrize("signals", SEQUENCES, ids=ids)
async def test_a_run_ends_with_its_outputs_whole(
    signals: list[signal.Signals], into: str, shell: Shell
) -> None:
    shell.fake.add_tenants(80)
    shell.write_tenants(range(1, 101))
    shell.fake.latency = 0.02
    process = await shell.start(*INTO, into)
    await until_requests(shell, 40, process)
    for one in signals:
        if process.returncode is None:
            process.send_signal(one)
        # So that some of them come while the outputs are closed, and some at the very end.
        await asyncio.sleep(0.02)
    ended = await shell.end_of(process)
    assert (ended.code, ended.out) == (ExitCode.INTERRUPTED, "")
    assert ended.err == (
        f"ringme: what has come is in {into}; go on with --resume\nringme: interrupted\n"
    )
    if into == "c.jsonl":
        content = (shell.folder / into).read_bytes()
        assert content.endswith(b"\n")
        written = {line["tenant"] for line in shell.lines(into)}
    else:
        with closing(sqlite3.connect(shell.folder / "c.db")) as database:
            written = {tenant for (tenant,) in database.execute("SELECT tenant FROM clients")}
            (read,) = database.execute("SELECT read FROM runs").fetchone()
        assert read == len(written)
    assert 0 < len(written) < 100
    shell.fake.latency = 0.0
    again = await shell.run(*INTO, into, "--resume", "--json")
    assert (again.code, again.json["skipped"]) == (ExitCode.ALL_WELL, len(written))


@pytest.mark.parametrize("signals", [[HUP], [TERM, HUP, INT]], ids=ids)
async def test_applying_and_planning_end_in_the_same_code(
    signals: list[signal.Signals], shell: Shell, here: Here
) -> None:
    rows = [f"{number};Asia/Omsk" for number in range(1, 21)]
    shell.write("changes.csv", "\n".join(["client_id;timezone", *rows]))
    await here("plan", "changes.csv", "--out", "plan.json")
    plan = (shell.folder / "plan.json").read_bytes()
    shell.fake.latency = 30.0
    for arguments in (("apply", "plan.json"), ("plan", "changes.csv", "--out", "plan.json")):
        before = shell.fake.requests.total
        process = await shell.start(*arguments)
        await until_requests(shell, before + 1, process)
        for one in signals:
            process.send_signal(one)
        ended = await shell.end_of(process)
        assert (ended.code, ended.out) == (ExitCode.INTERRUPTED, "")
        assert ended.err.endswith("ringme: interrupted\n")
    assert (shell.folder / "plan.json").read_bytes() == plan
    assert Counter(path.name for path in shell.folder.iterdir() if ".new" in path.name) == {}


@pytest.mark.parametrize(
    ("ignored", "sent", "code"),
    [("HUP", [HUP], ExitCode.ALL_WELL), ("INT", [INT, TERM], ExitCode.INTERRUPTED)],
)
async def test_a_signal_that_the_caller_ignores_stays_ignored_and_others_end_the_run(
    ignored: str, sent: list[signal.Signals], code: ExitCode, shell: Shell
) -> None:
    """As ``nohup`` does, and a shell that runs a command in the background."""
    shell.write_tenants(range(1, 21))
    shell.fake.latency = 0.3
    process = await shell.start(
        *INTO, "c.jsonl", before=("sh", "-c", f'trap "" {ignored}; exec "$@"', "sh")
    )
    await until_requests(shell, 2, process)
    for one in sent:
        process.send_signal(one)
    assert (await shell.end_of(process)).code == code


async def test_the_fake_ends_as_a_service_does(shell: Shell) -> None:
    async with running(shell.folder, "--port", "0", "--json") as fake:
        await fake.facts()
        fake.process.send_signal(TERM)
        assert await fake.end(HUP) == ExitCode.ALL_WELL
    assert fake.complaint == ""


def test_work_that_is_done_keeps_its_result_and_the_handlers_stay() -> None:
    async def work() -> int:
        return 7

    before = [signal.getsignal(one) for one in (INT, TERM, HUP)]
    assert interruption.run(work()) == 7
    assert [signal.getsignal(one) for one in (INT, TERM, HUP)] == before


def test_a_cancellation_without_a_signal_stays_one() -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        interruption.run(work())


def test_a_signal_before_the_work_begins_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    started = False

    async def work() -> None:
        nonlocal started
        started = True

    original = asyncio.Runner.run

    def signalled(self: asyncio.Runner, coroutine: object) -> object:
        os.kill(os.getpid(), TERM)
        return original(self, coroutine)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio.Runner, "run", signalled)
    handlers = {one: signal.getsignal(one) for one in (INT, TERM, HUP)}
    try:
        with pytest.raises(interruption.Interrupted) as caught:
            interruption.run(work())
    finally:
        for one, handler in handlers.items():
            signal.signal(one, handler)
    assert caught.value.by == TERM
    assert not started
