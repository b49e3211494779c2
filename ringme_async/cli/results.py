"""Turns the reports of commands for many tenants into rows: name, count, remark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ringme_async import Conflict, Failed, Plan
from ringme_async.cli.show import Count
from ringme_async.cli.spellings import for_shell
from ringme_async.mirror import ApplyReport, FailureKind, RefreshReport
from ringme_async.mirror.failures import FailureCounter

__all__ = ["applied", "planned", "refreshed"]

_NOT_ATTEMPTED = "the deadline came before, or the host was down; --resume goes on"


def refreshed(report: RefreshReport, into: str, failures: str | None) -> Iterator[Count]:
    """Yield the rows of a refresh."""
    yield "read", report.read, f"into {into}"
    if failures is None:
        yield "fields changed", report.changed, "since they were read before: table history"
    yield from _skipped(report.skipped)
    yield from _failed(report.failed, failures or "table clients, column last_error")
    yield from _by_kind(report.kinds, report.failed)
    yield from _not_attempted(report.not_attempted)


def planned(plan: Plan, out: str | None) -> Iterator[Count]:
    """Yield the rows of a plan."""
    yield "to change", len(plan), "" if out is None else f"in {out}"
    yield "as wished", plan.as_wished, "already"
    if plan.failures:
        errors = [one.error for one in plan.failures if isinstance(one, Failed)]
        yield "not planned", len(plan.failures), "they are not in the plan"
        yield from _by_kind(FailureCounter(errors).most_common(), len(errors))


def applied(report: ApplyReport, journal: str, failures: str) -> Iterator[Count]:
    """Yield the rows of an applied plan."""
    yield "changed", report.applied, f"listed in {journal}"
    if report.rewritten:
        yield "of these rewritten", report.rewritten, "the server writes a value in its own form"
    yield "as wished", report.as_wished, "already"
    yield from _skipped(report.skipped)
    yield from _failed(report.failed, failures)
    if report.conflicts:
        yield "of these conflicts", report.conflicts, "somebody else has changed them; left alone"
    if report.unclear:
        yield "of these unclear", report.unclear, "a write had no answer; look, then plan anew"
    others = [kind for kind in report.kinds if kind.error != Conflict.__name__]
    yield from _by_kind(others, report.failed - report.conflicts - report.unclear)
    yield from _not_attempted(report.not_attempted)


def _skipped(count: int) -> Iterator[Count]:
    if count:
        yield "skipped", count, "an earlier part of the run has done them"


def _failed(count: int, where: str) -> Iterator[Count]:
    yield "failed", count, f"see {where}" if count else ""


def _by_kind(kinds: Sequence[FailureKind], failed: int) -> Iterator[Count]:
    """Yield a row for each kind of failure, as a common kind mostly has one cause."""
    for kind in kinds:
        remark = "; ".join(filter(None, (for_shell(kind.example), for_shell(kind.next_step))))
        yield f"  {kind.error}", kind.count, remark
    others = failed - sum(kind.count for kind in kinds)
    if others:
        yield "  other errors", others, ""


def _not_attempted(count: int) -> Iterator[Count]:
    if count:
        yield "not attempted", count, _NOT_ATTEMPTED
