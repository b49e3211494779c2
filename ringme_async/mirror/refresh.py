"""Reads many tenants into an output, once each."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from typing import Literal, cast

from attrs import define, field, frozen

from ringme_async import Client, InvalidRequest, RingMe, Who
from ringme_async.mirror.failures import FailureKind
from ringme_async.mirror.keys import add_new, key_of, refuse_repeated
from ringme_async.mirror.pump import Concurrency, Tell, write_outcomes
from ringme_async.mirror.sink import Session, Sink

__all__ = ["RefreshReport", "refresh"]


@frozen(kw_only=True)
class RefreshReport:
    """The counts of a refresh.

    Attributes:
        run: The id of the run, as in the output.
        read: Tenants read.
        failed: Tenants that could not be read.
        skipped: Tenants that an earlier part of the run has read.
        not_attempted: Tenants left out because the deadline passed or the run gave up their host.
        changed: Fields that differ from the last read; 0 for a ``Journal``, which keeps no earlier
            values.
        kinds: The three commonest kinds of failure, the most frequent first.
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
        """True if every tenant is in the output now."""
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

    A run writes each tenant exactly once, however often it is stopped and resumed. It may read a
    tenant more than once. A cancelled or failed run writes what has come and closes the output.

    A tenant's key in the output is its name, else its client id; keys must be unique. A list, or
    any other collection, is checked before anything is sent. An iterator of any length is pulled
    lazily and checked on the way. A repeated key ends the run before that tenant is read again.

    Args:
        ringme: Sends the requests.
        tenants: Ids and tenants.
        sink: The output: a ``Journal`` or a ``Mirror``.
        resume: Continue the output's run, the latest one in a ``Mirror``: skip read tenants, retry
            failures. Without a run, start one.
        concurrency: Calls in flight at once, or ``"auto"`` to find the number, 256 at most; default
            64.
        deadline: Seconds for the whole run; default none.
        on_quota: ``"park"`` tenants with a used-up quota until it resets, or let them ``"fail"``.
        on_outage: ``"wait"`` for a host that is down and retry what failed, for half an hour at
            most, a minute if it never answered; or let it ``"fail"``.
        on_progress: Called with the progress five times a second, and at the end.

    Returns:
        The counts of this run. Only ``changed`` includes its earlier parts.

    Raises:
        InvalidRequest: A key is repeated, or an argument is out of bounds.
        OutputInUse: Another run writes into the output.
        OutputError: The output is unusable, or could not be written.
        RingMeClosed: The ``RingMe`` was closed in mid-run.
    """
    if isinstance(tenants, str | bytes):
        raise InvalidRequest("tenants are an iterable of ids; for a single one, put it into a list")
    if isinstance(cast("object", sink), str | os.PathLike):
        raise InvalidRequest(
            "an output is a Journal or a Mirror; sink_for(...) makes one of a path"
        )
    # A collection is checked first, so that nothing is sent for a list with a repeated key.
    known: set[str] | None = set()
    if isinstance(tenants, Collection):
        refuse_repeated(tenants)
        known = None
    async with sink.open(resume=resume) as session:
        unread = _unread_tenants(tenants, session, known)
        run = ringme.clients.get_many(
            unread,
            concurrency=concurrency,
            deadline=deadline,
            on_quota=on_quota,
            on_outage=on_outage,
        )
        counts = await write_outcomes(
            run, session, lambda outcome: key_of(outcome.who), on_progress
        )
        changed = await session.finish(complete=counts.not_attempted == 0)
    return RefreshReport(
        run=session.run,
        read=counts.done,
        failed=counts.failed,
        skipped=unread.skipped,
        not_attempted=counts.not_attempted,
        changed=changed,
        kinds=counts.kinds.most_common(),
    )


@define(eq=False)
class _UnreadTenants(Iterable[Who]):
    """Yields the tenants that no earlier part of the run has read.

    Attributes:
        known: The keys so far; None if they were checked before.
        skipped: Tenants passed over.
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
class _CountedTenants(_UnreadTenants):
    """Unread tenants of a collection, so that progress knows their number."""

    count: int = field(kw_only=True)

    def __len__(self) -> int:
        return self.count


def _unread_tenants(
    tenants: Iterable[Who], session: Session[Client], known: set[str] | None
) -> _UnreadTenants:
    if known is not None:
        return _UnreadTenants(tenants, session, known)
    count = sum(not session.is_done(key_of(who)) for who in tenants)
    return _CountedTenants(tenants, session, None, count=count)
