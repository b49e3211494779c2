"""What the commands for many tenants came to, as rows of a table: how many, of what, a remark."""

from __future__ import annotations

from collections.abc import Iterator

from ringme_async import Plan
from ringme_async.cli.show import Count
from ringme_async.mirror import ApplyReport, RefreshReport

__all__ = ["applied", "planned", "refreshed"]

_NOT_ATTEMPTED = "the deadline came before, or the host was down; --resume goes on"


def refreshed(report: RefreshReport, into: str, failures: str | None) -> Iterator[Count]:
    """Tell of a refresh."""
    yield "read", report.read, f"into {into}"
    if failures is None:
        yield "fields changed", report.changed, "since they were read before: table history"
    yield from _skipped(report.skipped)
    yield from _failed(report.failed, failures or "table clients, column last_error")
    yield from _not_attempted(report.not_attempted)


def planned(plan: Plan, out: str | None) -> Iterator[Count]:
    """Tell of a plan."""
    yield "to change", len(plan), "" if out is None else f"in {out}"
    yield "as wished", plan.as_wished, "already"
    if plan.failures:
        yield "not planned", len(plan.failures), "they are not in the plan"


def applied(report: ApplyReport, journal: str, failures: str) -> Iterator[Count]:
    """Tell of a plan that was applied."""
    yield "changed", report.applied, f"listed in {journal}"
    yield "as wished", report.as_wished, "already"
    yield from _skipped(report.skipped)
    yield from _failed(report.failed, failures)
    if report.conflicts:
        yield "of these conflicts", report.conflicts, "somebody else has changed them; left alone"
    yield from _not_attempted(report.not_attempted)


def _skipped(count: int) -> Iterator[Count]:
    if count:
        yield "skipped", count, "an earlier part of the run has done them"


def _failed(count: int, where: str) -> Iterator[Count]:
    yield "failed", count, f"see {where}" if count else ""


def _not_attempted(count: int) -> Iterator[Count]:
    if count:
        yield "not attempted", count, _NOT_ATTEMPTED
