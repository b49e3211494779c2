"""The progress of a run on a terminal."""

from __future__ import annotations

import asyncio
import io

import pytest
from rich.console import Console
from rich.progress import TextColumn

from ringme_async import CallEnded, Observer, Progress, TokenFetched
from ringme_async.cli.show import Display, ProgressBars, columns_for, show_counts


def progress(**differing: object) -> Progress:
    usual: dict[str, object] = {
        "total": 100,
        "pulled": 50,
        "done": 20,
        "failed": 0,
        "not_attempted": 0,
        "parked": 0,
        "parked_until": None,
        "waiting": 0,
        "in_flight": 8,
        "waiting_for_login": 0,
        "retried": 0,
        "input_blocked": False,
        "unread": 0,
        "concurrency": 8,
        "per_second": 12.4,
        "eta": 83.0,
    }
    return Progress(**(usual | differing))  # type: ignore[arg-type]


def fields_of(reported: Progress) -> dict[str, str]:
    with ProgressBars() as bars, bars.track("reading", 100) as update:
        update(reported)
        (task,) = bars.tasks
    return task.fields


@pytest.mark.parametrize(
    ("differing", "limit"),
    [
        ({}, "limit: concurrency"),
        ({"waiting_for_login": 5}, "limit: logins"),
        ({"waiting_for_login": 5, "hosts_down": 1}, "limit: logins"),
        ({"waiting_for_login": 1, "in_flight": 1, "hosts_down": 1}, "limit: outage"),
        ({"in_flight": 0, "parked": 30}, "limit: quota"),
        ({"in_flight": 3}, "limit: input"),
        ({"in_flight": 3, "pulled": 100}, ""),
        ({"unread": 8}, "limit: output"),
    ],
)
def test_the_line_names_the_limit_of_the_run(differing: dict[str, object], limit: str) -> None:
    assert fields_of(progress(**differing))["limit"] == limit


def test_the_rate_is_shown_with_the_remaining_time() -> None:
    assert fields_of(progress())["pace"] == "12/s, 1:23 left"
    assert fields_of(progress(eta=7384.2))["pace"] == "12/s, 2:03:04 left"
    assert fields_of(progress(eta=None, per_second=1234.5))["pace"] == "1,234/s"
    assert fields_of(progress(eta=0.0))["pace"] == "12/s"


async def test_the_notes_show_when_the_first_parked_tenant_resumes() -> None:
    until = asyncio.get_running_loop().time() + 1800.2
    reported = progress(in_flight=0, parked=30, parked_until=until, input_blocked=True)
    assert fields_of(reported)["note"] == (
        "30 parked, first goes on in 30:00, the input is held back"
    )


def test_a_total_that_is_known_later_is_taken_over() -> None:
    with ProgressBars() as bars, bars.track("reading", 100) as update:
        update(progress(total=40))
        assert bars.tasks[0].total == 40


@pytest.mark.parametrize(
    ("width", "has_time", "has_bar"), [(40, False, False), (60, True, False), (80, True, True)]
)
def test_even_a_narrow_terminal_shows_the_whole_counts_and_rate(
    width: int, has_time: bool, has_bar: bool
) -> None:
    display = Display(*columns_for(width), get_time=lambda: 0.0, disable=True)
    display.add_task(
        "reading", total=100_000, completed=22_000, limit="", note="", pace="12/s, 1:23 left"
    )
    shown = io.StringIO()
    Console(file=shown, width=width).print(*display.get_renderables())
    (line,) = shown.getvalue().splitlines()
    assert "reading " in line
    assert " 22000/100000 " in line
    assert "12/s, 1:23 left" in line
    assert (" 0:00:00 " in line, "\u2501" in line) == (has_time, has_bar)


def test_notes_are_in_a_line_below_the_bar() -> None:
    display = Display(TextColumn("{task.completed}/{task.total}"), disable=True)
    display.add_task("x", total=100, completed=22, limit="limit: logins", note="2 failed, 1 parked")
    display.add_task("y", total=5, limit="", note="")
    shown = io.StringIO()
    Console(file=shown, width=80).print(*display.get_renderables(), sep="\n")
    assert [line.rstrip() for line in shown.getvalue().splitlines()] == [
        "22/100",
        "  limit: logins; 2 failed, 1 parked",
        "0/5",
    ]


@pytest.mark.parametrize(
    ("hosts", "note"),
    [(0, ""), (1, "a host is down and waited for"), (12, "12 hosts are down and waited for")],
)
def test_hosts_that_are_down_are_noted(hosts: int, note: str) -> None:
    assert fields_of(progress(hosts_down=hosts))["note"] == note


def test_a_long_word_is_whole_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    show_counts([("failed", 2, f"App ID {'0123456789abcdef' * 2}")])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40
    remark = "".join(line.split("\u2502")[3].strip() for line in lines[1:-1])
    assert remark == f"App ID{'0123456789abcdef' * 2}"


def test_ended_calls_are_counted() -> None:
    with ProgressBars() as bars, bars.count("planning", 3) as count:
        for error_type in (None, "NotFound", "RateLimited", "CancelledError"):
            end(count, error_type)
        count(TokenFetched("host", "client_credentials", 0.1))
        assert bars.tasks[0].completed == 2


def end(observer: Observer, error_type: str | None) -> None:
    observer(CallEnded(1, "GET", "/", "12", 1, 0.1, error_type))
