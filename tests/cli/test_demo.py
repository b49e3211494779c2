"""The demo as a user runs it, and its message if the server's records disagree."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, fields

from ringme_async import Client, Done, Progress
from ringme_async.cli import app
from ringme_async.cli.codes import ExitCode
from ringme_async.cli.demo import DemoReport, DemoSteps, disagreements
from ringme_async.cli.demo_world import make_world
from ringme_async.cli.show import ProgressBars

ROOT = Path(__file__).parent.parent.parent
# What the installed script does.
COMMAND = [
    sys.executable,
    "-c",
    "import sys; from ringme_async.cli import main; sys.exit(main())",
    "demo",
]


@pytest.fixture(scope="module")
def demo() -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--json"], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def result(demo: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(demo.stdout)
    return result


def test_without_a_terminal_the_demo_succeeds_and_shows_no_progress(
    demo: subprocess.CompletedProcess[str],
) -> None:
    assert (demo.returncode, demo.stderr) == (ExitCode.ALL_WELL, "")


def test_every_tenant_is_read_or_failed(result: dict[str, Any]) -> None:
    assert result["tenants"] == 1_000
    assert result["read"] + result["failed"] == 1_000


def test_only_blocked_tenants_fail(result: dict[str, Any]) -> None:
    assert result["failed"] == len(make_world().blocked) > 0


def test_changed_tenants_show_the_change_when_read_again(result: dict[str, Any]) -> None:
    assert result["changed"] == result["read_back"] == len(make_world().to_change)


def test_each_application_logs_in_and_dead_tokens_are_replaced(result: dict[str, Any]) -> None:
    assert result["own_applications"] == 100
    assert result["logins"] > 101


def test_retries_overcome_the_faults(result: dict[str, Any]) -> None:
    assert result["retried"] >= result["faults"] > 0


def test_the_rate_counts_all_records(result: dict[str, Any]) -> None:
    records = result["read"] + result["changed"] + result["read_back"]
    assert result["records_per_second"] == pytest.approx(records / result["seconds"], rel=0.01)


def test_the_servers_books_agree(result: dict[str, Any]) -> None:
    assert result["books_agree"] is True
    assert result["disagreements"] == []


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is a thing of Unix")
def test_an_interrupted_demo_says_so_and_ends() -> None:
    import pty

    terminal, stderr = pty.openpty()
    with subprocess.Popen(COMMAND, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=stderr) as process:
        os.close(stderr)
        shown = read_until(b"reading", terminal)
        process.send_signal(signal.SIGINT)
        shown += read_until(None, terminal)
        os.close(terminal)
        assert process.wait() == ExitCode.INTERRUPTED
    assert b"ringme: interrupted" in shown
    assert b"Traceback" not in shown


def read_until(mark: bytes | None, terminal: int) -> bytes:
    """Read a terminal's output up to a mark, or to its end."""
    shown = b""
    while mark is None or mark not in shown:
        try:
            part = os.read(terminal, 1024)
        except OSError:
            # Linux reports a closed other end as an error.
            part = b""
        if not part:
            break
        shown += part
    return shown


REPORT = DemoReport(
    tenants=1_000,
    own_applications=100,
    read=990,
    changed=100,
    read_back=100,
    failed=10,
    faults=44,
    retried=50,
    logins=104,
    seconds=6.0,
    disagreements=(),
)


def run_with(
    outcome: DemoReport | BaseException, monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> int:
    async def run_demo(track: object) -> DemoReport:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(app, "run_demo", run_demo)
    return app.run(["demo", *arguments])


def test_the_table_shows_every_count(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_with(REPORT, monkeypatch) == ExitCode.ALL_WELL
    shown = capsys.readouterr().out
    for what in ("read", "changed", "failed", "retried", "logins", "seconds", "records a second"):
        assert f" {what} " in shown
    assert "The server's own books say the same." in shown


def test_the_demo_fails_if_the_servers_records_disagree(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = evolve(REPORT, disagreements=("1 and 2",))
    assert run_with(report, monkeypatch) == ExitCode.SOME_FAILED
    assert "The books disagree: 1 and 2." in capsys.readouterr().out
    assert run_with(report, monkeypatch, "--json") == ExitCode.SOME_FAILED
    assert json.loads(capsys.readouterr().out)["books_agree"] is False


def test_a_server_that_does_not_start_is_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = OSError("address already in use")
    assert run_with(error, monkeypatch) == ExitCode.COULD_NOT_START
    assert capsys.readouterr().err == (
        "ringme: the demo's server did not start: address already in use\n"
    )


def test_a_record_too_many_or_too_few_is_a_disagreement() -> None:
    world = make_world()
    first = Done(who=world.targets[0], index=0, attempts=2, value=Client(id=world.ids[0]))
    found = list(disagreements(world, DemoSteps({0: first}, {}, {}), logins=1))
    assert "1 tenants have an outcome by the SDK's account, 1000 by the server's" in found
    assert "2 requests were sent by the SDK's account, 0 by the server's" in found
    assert "1 tokens were fetched by the SDK's account, 0 by the server's" in found


def test_progress_is_noted_below_the_bar() -> None:
    nothing = dict.fromkeys((attribute.name for attribute in fields(Progress)), 0)
    counts = {"done": 2, "failed": 3, "not_attempted": 0, "waiting_for_login": 4, "retried": 1_000}
    progress = Progress(**(nothing | counts))
    with ProgressBars() as bars, bars.track("reading", 10) as update:
        update(progress)
        (task,) = bars.tasks
    assert task.completed == 5
    assert task.fields["note"] == "3 failed, 1,000 retried, 4 waiting for a login"
