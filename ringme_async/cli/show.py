"""Prints results: tables and JSON on stdout, progress on stderr if that is a terminal."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self, TypeAlias

from attrs import asdict
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from ringme_async import JSON, CallEnded, Event, Observer, Progress
from ringme_async.cli.demo import DemoReport
from ringme_async.cli.text import print_json, printable

__all__ = [
    "Count",
    "Display",
    "ProgressBars",
    "columns_for",
    "show_counts",
    "show_demo",
    "show_fields",
]

Count: TypeAlias = tuple[str, int, str]
"""Name, count and remark."""

# Widths of terminals.
_ROOM_FOR_MORE: Final = 60
_ROOM_FOR_BAR: Final = 80
_LIMITS: Final = {"consumer": "output"}
# A call that ended with one of these will be repeated; the bar counts only its last end.
_NOT_OVER: Final = ("RateLimited", "CancelledError")


class Display(RichProgress):
    """Progress bars, each with a line of notes below."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield each bar and its notes."""
        for task in self.tasks:
            yield self.make_tasks_table([task])
            notes = [task.fields["limit"], task.fields["note"]]
            if any(notes):
                yield Text("  " + "; ".join(filter(None, notes)), style="dim")


class ProgressBars:
    """Shows a bar for each step of a run; shows nothing if stderr is no terminal."""

    def __init__(self) -> None:
        # Not rich's own check: it takes any stream for a terminal if the environment forces colour.
        console = Console(stderr=True)
        self._bars = Display(
            *columns_for(console.width), console=console, disable=not sys.stderr.isatty()
        )

    def __enter__(self) -> Self:
        # Even disabled, some versions of rich print an empty line at the end.
        if not self._bars.disable:
            self._bars.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._bars.disable:
            self._bars.stop()

    @property
    def tasks(self) -> Sequence[Task]:
        """The steps so far, with their progress."""
        return self._bars.tasks

    @contextmanager
    def track(self, what: str, total: int) -> Generator[Callable[[Progress], None]]:
        """Yield a callback for the progress of a step."""
        task = self._bars.add_task(what, total=total, note="", pace="", limit="")

        def update(progress: Progress) -> None:
            self._bars.update(
                task,
                completed=progress.finished,
                total=progress.total,
                note=_note(progress),
                pace=_pace(progress),
                limit=_limit(progress),
            )

        yield update

    @contextmanager
    def count(self, what: str, total: int) -> Generator[Observer]:
        """Yield an observer that counts the calls of a step."""
        task = self._bars.add_task(what, total=total, note="", pace="", limit="")

        def observe(event: Event) -> None:
            if isinstance(event, CallEnded) and event.error_type not in _NOT_OVER:
                self._bars.advance(task)

        yield observe


def columns_for(width: int) -> Sequence[ProgressColumn]:
    """Choose the columns that fit: always counts and pace, then the others."""
    counts, pace = MofNCompleteColumn(), TextColumn("{task.fields[pace]}")
    if width < _ROOM_FOR_MORE:
        return TextColumn("{task.description}"), counts, pace
    what = SpinnerColumn(finished_text=" "), TextColumn("{task.description:<12}")
    if width < _ROOM_FOR_BAR:
        return *what, counts, TimeElapsedColumn(), pace
    return *what, BarColumn(bar_width=20), counts, TimeElapsedColumn(), pace


def _note(progress: Progress) -> str:
    counts = {
        "failed": progress.failed,
        "retried": progress.retried,
        "parked": progress.parked,
        "waiting for quota": progress.waiting_for_quota,
        "waiting for a login": progress.waiting_for_login,
    }
    notes = [f"{count:,} {what}" for what, count in counts.items() if count]
    if progress.parked and progress.parked_until is not None:
        wait = progress.parked_until - asyncio.get_running_loop().time()
        notes.append(f"first goes on in {_duration(wait)}")
    if progress.hosts_down:
        down = "a host is" if progress.hosts_down == 1 else f"{progress.hosts_down:,} hosts are"
        notes.append(f"{down} down and waited for")
    if progress.input_blocked:
        notes.append("the input is held back")
    return ", ".join(notes)


def _limit(progress: Progress) -> str:
    """Name the limit that holds the run back; empty once all input has been pulled."""
    limit = progress.held_by
    if limit == "input" and progress.pulled == progress.total:
        return ""
    return f"limit: {_LIMITS.get(limit, limit)}"


def _pace(progress: Progress) -> str:
    pace = f"{progress.per_second:,.0f}/s"
    return f"{pace}, {_duration(progress.eta)} left" if progress.eta else pace


def _duration(seconds: float) -> str:
    minutes, whole = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}" if hours else f"{minutes}:{whole:02}"


def show_demo(report: DemoReport, *, as_json: bool) -> None:
    """Print the result of the demo."""
    if as_json:
        print_json(_as_json(report))
        return
    console = Console()
    console.print(_table(report))
    if report.books_agree:
        console.print("The server's own books say the same.")
    for disagreement in report.disagreements:
        console.print(f"The books disagree: {disagreement}.", style="red")


def _as_json(report: DemoReport) -> dict[str, object]:
    return {
        **asdict(report),
        "seconds": round(report.seconds, 3),
        "records_per_second": round(report.records_per_second, 1),
        "books_agree": report.books_agree,
    }


def _table(report: DemoReport) -> Table:
    reached = f"{report.own_applications:,} with an App ID of their own"
    rows = (
        ("read", f"{report.read:,}", f"of {report.tenants:,} tenants, {reached}"),
        ("changed", f"{report.changed:,}", f"{report.read_back:,} show it when read again"),
        ("failed", f"{report.failed:,}", "blocked by the provider"),
        (
            "retried",
            f"{report.retried:,}",
            f"after {report.faults:,} faults, dead tokens among them",
        ),
        ("logins", f"{report.logins:,}", "at 18 a second: the server refuses more than 20"),
        ("seconds", f"{report.seconds:.1f}", ""),
        ("records a second", f"{report.records_per_second:,.0f}", "read, changed and read again"),
    )
    return _table_of(rows)


def show_counts(rows: Iterable[Count]) -> None:
    """Print rows of name, count and remark."""
    Console().print(_table_of((what, f"{count:,}", remark) for what, count, remark in rows))


def show_fields(record: Mapping[str, JSON]) -> None:
    """Print fields of a record, each with its value as JSON."""
    table = Table(show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in record.items():
        shown = json.dumps(value, ensure_ascii=False)
        table.add_row(Text(printable(name)), Text(printable(shown)))
    Console().print(table)


def _table_of(rows: Iterable[tuple[str, str, str]]) -> Table:
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim", overflow="fold")
    for row in rows:
        # Text, as rich would take brackets in a file name for markup.
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table
