"""How results look: tables and JSON on stdout, progress on stderr where that is a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from attrs import asdict
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Table

from ringme_async import Progress
from ringme_async.cli.demo import DemoReport


class Bars:
    """Shows a bar for each step of a run; shows nothing if stderr is no terminal."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._bars = RichProgress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    @property
    def tasks(self) -> Sequence[Task]:
        """The steps so far, and how far each is."""
        return self._bars.tasks

    @contextmanager
    def follow(self, what: str, total: int) -> Generator[Callable[[Progress], None]]:
        """Give what the progress of a step is told to, while the block lasts."""
        task = self._bars.add_task(what, total=total, note="")

        def tell(progress: Progress) -> None:
            self._bars.update(task, completed=progress.finished, note=_note(progress))

        yield tell


def _note(progress: Progress) -> str:
    counts = {
        "failed": progress.failed,
        "retried": progress.retried,
        "parked": progress.parked,
        "waiting for a login": progress.waiting_for_login,
    }
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)


def show_demo(report: DemoReport, *, as_json: bool) -> None:
    """Print what the demo did."""
    if as_json:
        print(json.dumps(_as_json(report), indent=2))
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
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    for row in rows:
        table.add_row(*row)
    return table
