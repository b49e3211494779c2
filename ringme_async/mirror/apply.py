"""Applies a plan and keeps a journal of it, so that it can be gone on with after it was killed."""

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
from ringme_async.mirror.jsonl_file import LineFile
from ringme_async.mirror.jsonl_sink import Form, open_journal
from ringme_async.mirror.keys import add_new, checked_key
from ringme_async.mirror.pump import Concurrency, Tell, drive
from ringme_async.mirror.sink import Clock, now
from ringme_async.mirror.write_log import open_writes, writes_beside

__all__ = ["ApplyReport", "apply_plan"]

_FOREIGN: Final = "this line is of another plan; resume with that one, or choose another file"


@frozen(kw_only=True)
class ApplyReport:
    """What applying a plan came to.

    Attributes:
        run: The id of the run, as it stands in the journal.
        applied: How many tenants were changed.
        rewritten: How many of these hold a value in the server's own form; an earlier part of the
            run was answered so, and has told of it as ``NotApplied``.
        as_wished: How many were as wished already, so that nothing was sent.
        failed: How many failed; the conflicts are among them.
        conflicts: How many somebody else has changed since the plan was made.
        unclear: How many failed because a write had no answer and a field now holds a third value:
            the server's own form of what was sent, or somebody else's change.
        skipped: How many an earlier part of the run had dealt with.
        not_attempted: How many the deadline came before, or whose host was given up.
        kinds: The failures by kind: the three commonest, the most frequent first.
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
        """Whether every tenant of the plan is as wished now, or as the server writes the wish."""
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
    """Make the changes of a plan, with a line in a journal for each tenant that is as wished.

    A line is ``{"run": ..., "tenant": ..., "at": ..., "plan": ..., "client_id": ..., "sent":
    {...}}``: the fields that were sent, none if all were as wished already. Conflicts and other
    failures go to a file of their own, as those of a ``Journal`` do.

    A further file, ``apply.writes.jsonl`` for ``apply.jsonl``, has a line for each change before it
    is sent. At the end of the run it holds only the writes whose end is open, and mostly it is gone.
    With it, a run that is resumed tells its own writes from changes by others. If the server
    writes a value in its own form, the first answer is ``NotApplied``; to resume then takes a field
    that still holds that answer as done, and its line has it under ``rewritten``. If a write had
    no answer and a field holds a third value, nobody can say whose it is: the ``Conflict`` has
    ``maybe_applied`` and counts as ``unclear``.

    Each tenant is in the journal at most once; its change may be made more than once, which does
    no harm, as it sets absolute values. A change that was made without leaving a line, because the
    process was killed in between, reads as wished already when the run is resumed: no conflict.

    Args:
        plan: What is to change, from ``clients.plan`` or ``clients.load_plan``.
        path: The journal; it is made if it is missing.
        resume: Go on where the run that the journal is of has stopped: skip whom it has dealt
            with, try again what failed. If the journal is empty, begin.
        overwrite: Begin anew although there is something in the journal, which is lost.
        concurrency: How many clients may be under way at once, or ``"auto"`` to have it found, 256
            at most; default 64.
        deadline: Seconds for the run as a whole; default none.
        on_quota: ``"park"`` what a used-up quota holds up until it is reset, or let it ``"fail"``.
        on_outage: ``"wait"`` for a host that is down and try again what failed by that, for half an
            hour at most, a minute if it never answered; or let it ``"fail"``.
        on_progress: Called with the progress five times a second, and at the end.
        clock: Tells the time of day.

    Returns:
        The counts of this run, without its earlier parts.

    Raises:
        InvalidRequest: Two tenants of the plan have one name, or an argument is out of bounds.
        OutputInUse: Another run writes into the journal.
        OutputError: The journal is of another plan, cannot be used as it is, or could not be
            written.
        RingMeClosed: The ``RingMe`` was closed in mid-run.
    """
    changes = _by_key(plan)
    head: Mapping[str, JSON] = {"plan": _fingerprint(plan)}
    form = Form(_telling(changes), "sent", head, _FOREIGN)
    path = os.fspath(path)
    writes = LineFile(writes_beside(path))
    journal = open_journal(
        path, form, resume=resume, overwrite=overwrite, clock=clock, beside=[writes]
    )
    tally = _Tally()
    async with (
        journal as session,
        open_writes(writes, session, head, _FOREIGN, _key, clock) as log,
    ):
        left = [log.recall(one) for key, one in changes.items() if not session.is_done(key)]

        def look(outcome: Done[Applied] | Failed) -> None:
            tally.look(outcome)
            if isinstance(outcome, Done):
                log.settle(left[outcome.index])

        run = evolve(plan, changes=tuple(left)).apply(
            concurrency=concurrency,
            deadline=deadline,
            on_quota=on_quota,
            on_outage=on_outage,
            on_write=log.note,
        )
        counts = await drive(
            run, session, lambda outcome: _key(left[outcome.index]), on_progress, look
        )
    return ApplyReport(
        run=session.run,
        applied=counts.done - tally.as_wished,
        as_wished=tally.as_wished,
        failed=counts.failed,
        conflicts=tally.conflicts,
        skipped=len(changes) - len(left),
        not_attempted=counts.not_attempted,
        kinds=counts.kinds.commonest(),
        rewritten=tally.rewritten,
        unclear=tally.unclear,
    )


@define
class _Tally:
    as_wished: int = 0
    rewritten: int = 0
    conflicts: int = 0
    unclear: int = 0

    def look(self, outcome: Done[Applied] | Failed) -> None:
        if isinstance(outcome, Done):
            applied = outcome.value
            self.as_wished += not (applied.sent or applied.rewritten)
            self.rewritten += bool(applied.rewritten)
        elif isinstance(outcome.error, Conflict):
            # One that is sure holds no write of this plan.
            self.unclear += outcome.error.maybe_applied
            self.conflicts += not outcome.error.maybe_applied


def _key(change: PlannedChange) -> str:
    return checked_key(str(change.client_id) if change.name is None else change.name)


def _by_key(plan: Plan) -> dict[str, PlannedChange]:
    known: set[str] = set()
    for change in plan:
        add_new(_key(change), known)
    return {_key(change): change for change in plan}


def _telling(
    changes: Mapping[str, PlannedChange],
) -> Callable[[str, Applied], Mapping[str, JSON]]:
    def tell(key: str, applied: Applied) -> Mapping[str, JSON]:
        change = changes[key]
        by_run = {*applied.sent, *applied.rewritten}
        sent = {item.field: item.after for item in change.fields if item.field in by_run}
        line: dict[str, JSON] = {"client_id": change.client_id, "sent": sent}
        if applied.rewritten:
            current = client_to_json(applied.client)
            line["rewritten"] = {name: current.get(name) for name in applied.rewritten}
        return line

    return tell


def _fingerprint(plan: Plan) -> str:
    changes = json.dumps(plan.to_json()["changes"], sort_keys=True)
    return hashlib.sha256(changes.encode("ascii")).hexdigest()[:16]
