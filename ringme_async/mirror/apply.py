"""Applies a plan and keeps a journal of it, so that a killed run can be resumed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from typing import Final, Literal

from attrs import define, evolve, frozen

from ringme_async import (
    JSON,
    Applied,
    Conflict,
    Done,
    Failed,
    Plan,
    PlannedChange,
    client_to_json,
)
from ringme_async.mirror.failures import FailureKind
from ringme_async.mirror.jsonl_file import JSONLFile
from ringme_async.mirror.jsonl_sink import LineFormat, open_journal
from ringme_async.mirror.keys import add_new, checked_key
from ringme_async.mirror.pump import Concurrency, Tell, write_outcomes
from ringme_async.mirror.sink import Clock, now
from ringme_async.mirror.write_log import open_writes, writes_beside

__all__ = ["ApplyReport", "apply_plan"]

_FOREIGN: Final = "this line is of another plan; resume with that one, or choose another file"


@frozen(kw_only=True)
class ApplyReport:
    """The counts of an applied plan.

    Attributes:
        run: The id of the run, as in the journal.
        applied: Tenants changed.
        rewritten: Changed tenants with a value in the server's own form. An earlier part of the run
            reported this as ``NotApplied``.
        as_wished: Tenants that already had the planned values, so nothing was sent.
        failed: Tenants that failed, conflicts included.
        conflicts: Tenants that somebody else has changed since the plan was made.
        unclear: Tenants whose write had no answer and where a field now holds a third value: the
            server's own form of the value sent, or somebody else's change.
        skipped: Tenants that an earlier part of the run has finished.
        not_attempted: Tenants left out because the deadline passed or the run gave up their host.
        kinds: The three commonest kinds of failure, the most frequent first.
    """

    run: str
    applied: int
    as_wished: int
    failed: int
    conflicts: int
    skipped: int
    not_attempted: int
    kinds: tuple[FailureKind, ...] = ()
    rewritten: int = 0
    unclear: int = 0

    @property
    def ok(self) -> bool:
        """True if every tenant now has the planned values, possibly in the server's own form."""
        return self.failed == 0 and self.not_attempted == 0


async def apply_plan(
    plan: Plan,
    path: str | os.PathLike[str],
    *,
    resume: bool = False,
    overwrite: bool = False,
    concurrency: Concurrency = 64,
    deadline: float | None = None,
    on_quota: Literal["park", "fail"] = "park",
    on_outage: Literal["wait", "fail"] = "wait",
    on_progress: Tell | None = None,
    clock: Clock = now,
) -> ApplyReport:
    """Make the changes of a plan, with a journal line for each finished tenant.

    A line is ``{"run": ..., "tenant": ..., "at": ..., "plan": ..., "client_id": ..., "sent":
    {...}}``. ``sent`` holds the fields sent; it is empty if all had the planned values already.
    Conflicts and other failures go to a file of their own, as with a ``Journal``.

    A second file, ``apply.writes.jsonl`` for ``apply.jsonl``, logs each change before it is sent.
    At the end of the run it holds only writes without a known result; without any, it is removed.
    From this log, a resumed run tells its own writes from changes by others:

    - The server may write a value in its own form. The first answer is then ``NotApplied``. A
      resumed run accepts a field that still holds that answer; the line lists it under
      ``rewritten``.
    - A write had no answer, and a field holds a third value. Nobody can say whose it is. The
      ``Conflict`` has ``maybe_applied`` and counts as ``unclear``.

    Each tenant is in the journal at most once. Its change may be sent more than once, which does
    no harm: it sets absolute values. If the process is killed between a change and its line, the
    resumed run finds the planned values and reports no conflict.

    Args:
        plan: The plan, from ``clients.plan`` or ``clients.load_plan``.
        path: The journal; created if missing.
        resume: Continue the journal's run: skip finished tenants, retry failures. An empty journal
            starts a new run.
        overwrite: Start over and discard what the journal holds.
        concurrency: Clients in flight at once, or ``"auto"`` to find the number, 256 at most;
            default 64.
        deadline: Seconds for the whole run; default none.
        on_quota: ``"park"`` tenants with a used-up quota until it resets, or let them ``"fail"``.
        on_outage: ``"wait"`` for a host that is down and retry what failed, for half an hour at
            most, a minute if it never answered; or let it ``"fail"``.
        on_progress: Called with the progress five times a second, and at the end.
        clock: Returns the time of day.

    Returns:
        The counts of this run, without its earlier parts.

    Raises:
        InvalidRequest: Two tenants of the plan have one name, or an argument is out of bounds.
        OutputInUse: Another run writes into the journal.
        OutputError: The journal is of another plan, is unusable, or could not be written.
        RingMeClosed: The ``RingMe`` was closed in mid-run.
    """
    changes = _by_key(plan)
    head: Mapping[str, JSON] = {"plan": _fingerprint(plan)}
    form = LineFormat(_line_fields(changes), "sent", head, _FOREIGN)
    path = os.fspath(path)
    writes = JSONLFile(writes_beside(path))
    journal = open_journal(
        path, form, resume=resume, overwrite=overwrite, clock=clock, beside=[writes]
    )
    counter = _OutcomeCounter()
    async with (
        journal as session,
        open_writes(writes, session, head, _FOREIGN, _key, clock) as log,
    ):
        open_changes = [
            log.with_earlier_writes(change)
            for key, change in changes.items()
            if not session.is_done(key)
        ]

        def on_written(outcome: Done[Applied] | Failed) -> None:
            counter.count(outcome)
            if isinstance(outcome, Done):
                log.forget(open_changes[outcome.index])

        run = evolve(plan, changes=tuple(open_changes)).apply(
            concurrency=concurrency,
            deadline=deadline,
            on_quota=on_quota,
            on_outage=on_outage,
            on_write=log.record,
        )
        counts = await write_outcomes(
            run, session, lambda outcome: _key(open_changes[outcome.index]), on_progress, on_written
        )
    return ApplyReport(
        run=session.run,
        applied=counts.done - counter.as_wished,
        as_wished=counter.as_wished,
        failed=counts.failed,
        conflicts=counter.conflicts,
        skipped=len(changes) - len(open_changes),
        not_attempted=counts.not_attempted,
        kinds=counts.kinds.most_common(),
        rewritten=counter.rewritten,
        unclear=counter.unclear,
    )


@define
class _OutcomeCounter:
    as_wished: int = 0
    rewritten: int = 0
    conflicts: int = 0
    unclear: int = 0

    def count(self, outcome: Done[Applied] | Failed) -> None:
        if isinstance(outcome, Done):
            applied = outcome.value
            self.as_wished += not (applied.sent or applied.rewritten)
            self.rewritten += bool(applied.rewritten)
        elif isinstance(outcome.error, Conflict):
            # Without maybe_applied, no write of this plan can be the cause.
            self.unclear += outcome.error.maybe_applied
            self.conflicts += not outcome.error.maybe_applied


def _key(change: PlannedChange) -> str:
    return checked_key(str(change.client_id) if change.name is None else change.name)


def _by_key(plan: Plan) -> dict[str, PlannedChange]:
    known: set[str] = set()
    for change in plan:
        add_new(_key(change), known)
    return {_key(change): change for change in plan}


def _line_fields(
    changes: Mapping[str, PlannedChange],
) -> Callable[[str, Applied], Mapping[str, JSON]]:
    def fields_of(key: str, applied: Applied) -> Mapping[str, JSON]:
        change = changes[key]
        by_run = {*applied.sent, *applied.rewritten}
        sent = {item.field: item.after for item in change.fields if item.field in by_run}
        line: dict[str, JSON] = {"client_id": change.client_id, "sent": sent}
        if applied.rewritten:
            current = client_to_json(applied.client)
            line["rewritten"] = {name: current.get(name) for name in applied.rewritten}
        return line

    return fields_of


def _fingerprint(plan: Plan) -> str:
    changes = json.dumps(plan.to_json()["changes"], sort_keys=True)
    return hashlib.sha256(changes.encode("ascii")).hexdigest()[:16]
