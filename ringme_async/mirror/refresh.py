"""Reads many tenants into an output, once each."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from typing import Literal, cast

from attrs import define, field, frozen

from ringme_async import Client, InvalidRequest, RingMe, Who
from ringme_async.mirror.failures import FailureKind
from ringme_async.mirror.keys import add_new, key_of, refuse_repeated
from ringme_async.mirror.pump import Concurrency, Tell, drive
from ringme_async.mirror.sink import Session, Sink

__all__ = ["RefreshReport", "refresh"]


@frozen(kw_only=True)
class RefreshReport:
    """What a refresh came to.

    Attributes:
        run: The id of the run, as it stands in the output.
        read: How many tenants were read.
        failed: How many could not be read.
        skipped: How many an earlier part of the run had read.
        not_attempted: How many the deadline came before, or whose host was given up.
        changed: How many fields the run found changed since the last read; 0 for a ``Journal``,
            which does not know what was before.
        kinds: The failures by kind: the three commonest, the most frequent first.
    """

    run: str
    read: int
    failed: int
    skipped: int
    not_attempted: int
    changed: int
    kinds: tuple[FailureKind, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every tenant is in the output now."""
        return self.failed == 0 and self.not_attempted == 0


async def refresh(
    ringme: RingMe,
    tenants: Iterable[Who],
    sink: Sink,
    *,
    resume: bool = False,
    concurrency: Concurrency = 64,
    deadline: float | None = None,
    on_quota: Literal["park", "fail"] = "park",
    on_outage: Literal["wait", "fail"] = "wait",
    on_progress: Tell | None = None,
) -> RefreshReport:
    """Read tenants and write each into the output as it comes.

    Each tenant is in the output exactly once for each run, however often the run is stopped and
    resumed; the server may be asked for one more than once. If the run is cancelled, or something
    raises, what has come is written, and the output is closed in order.

    A tenant's key in the output is its name, else its client id; keys must be unique. A list, or
    any other collection, is looked through before anything is sent. An iterator is pulled lazily,
    so that it may be of any length; it is looked through on the way, and a key that it gives twice
    ends the run before that tenant is read again.

    Args:
        ringme: What to read them with.
        tenants: Ids and tenants.
        sink: The output: a ``Journal`` or a ``Mirror``.
        resume: Go on with the run that the output is of, the latest one in a ``Mirror``: skip whom
            it has read, try again what failed. If there is none, one begins.
        concurrency: How many calls may be under way at once, or ``"auto"`` to have it found, 256 at
            most; default 64.
        deadline: Seconds for the run as a whole; default none.
        on_quota: ``"park"`` what a used-up quota holds up until it is reset, or let it ``"fail"``.
        on_outage: ``"wait"`` for a host that is down and try again what failed by that, for half an
            hour at most, a minute if it never answered; or let it ``"fail"``.
        on_progress: Called with the progress five times a second, and at the end.

    Returns:
        The counts of this run, without its earlier parts, but for ``changed``.

    Raises:
        InvalidRequest: A key is there twice, or an argument is out of bounds.
        OutputInUse: Another run writes into the output.
        OutputError: The output cannot be used as it is, or could not be written.
        RingMeClosed: The ``RingMe`` was closed in mid-run.
    """
    if isinstance(tenants, str | bytes):
        raise InvalidRequest("tenants are an iterable of ids; for a single one, put it into a list")
    if isinstance(cast("object", sink), str | os.PathLike):
        raise InvalidRequest(
            "an output is a Journal or a Mirror; sink_for(...) makes one of a path"
        )
    # What can be looked through twice is, so that nothing is sent for a list with a repeated key.
    known: set[str] | None = set()
    if isinstance(tenants, Collection):
        refuse_repeated(tenants)
        known = None
    async with sink.open(resume=resume) as session:
        left = _left_of(tenants, session, known)
        run = ringme.clients.get_many(
            left,
            concurrency=concurrency,
            deadline=deadline,
            on_quota=on_quota,
            on_outage=on_outage,
        )
        counts = await drive(run, session, lambda outcome: key_of(outcome.who), on_progress)
        changed = await session.finish(complete=counts.not_attempted == 0)
    return RefreshReport(
        run=session.run,
        read=counts.done,
        failed=counts.failed,
        skipped=left.skipped,
        not_attempted=counts.not_attempted,
        changed=changed,
        kinds=counts.kinds.commonest(),
    )


@define(eq=False)
class _Left(Iterable[Who]):
    """Gives the tenants that an earlier part of the run has not read.

    Attributes:
        known: The keys that came so far; None if they have been looked through before.
        skipped: How many it has passed over.
    """

    tenants: Iterable[Who]
    session: Session[Client]
    known: set[str] | None
    skipped: int = field(default=0, init=False)

    def __iter__(self) -> Iterator[Who]:
        for who in self.tenants:
            key = key_of(who)
            if self.known is not None:
                add_new(key, self.known)
            if self.session.is_done(key):
                self.skipped += 1
            else:
                yield who


@define(eq=False)
class _Counted(_Left):
    """The same, where it is known how many there are."""

    count: int = field(kw_only=True)

    def __len__(self) -> int:
        return self.count


def _left_of(tenants: Iterable[Who], session: Session[Client], known: set[str] | None) -> _Left:
    if known is not None:
        return _Left(tenants, session, known)
    count = sum(not session.is_done(key_of(who)) for who in tenants)
    return _Counted(tenants, session, None, count=count)
