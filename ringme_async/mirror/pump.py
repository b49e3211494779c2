"""Brings the outcomes of a run into its output, as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Generic, Literal, TypeAlias, TypeVar

from attrs import define, field

from ringme_async import (
    BulkRun,
    Done,
    Failed,
    NotAttempted,
    Outcome,
    Progress,
    RingMeClosed,
)
from ringme_async.mirror.failures import Kinds
from ringme_async.mirror.sink import Session

__all__ = ["Concurrency", "Counts", "Tell", "drive"]

V = TypeVar("V")

Tell: TypeAlias = Callable[[Progress], None]
Concurrency: TypeAlias = int | Literal["auto"]

_BEAT: Final = 0.2


@define
class Counts:
    """How many outcomes of each kind came, and what the failures were."""

    done: int = 0
    failed: int = 0
    not_attempted: int = 0
    kinds: Kinds = field(factory=Kinds)


async def drive(
    run: BulkRun[V],
    session: Session[V],
    name: Callable[[Outcome[V]], str],
    tell: Tell | None,
    look: Callable[[Done[V] | Failed], None] = lambda _outcome: None,
) -> Counts:
    """Write every outcome of a run into its output, and tell of the progress meanwhile.

    Args:
        run: A run that has not begun.
        session: The hold on the output.
        name: Gives the key of an outcome's tenant.
        tell: Called with the progress five times a second, and at the end.
        look: Called with every outcome that was written.

    Raises:
        RingMeClosed: The ``RingMe`` was closed before the input was read to its end.
    """
    counts = Counts()
    async with run:
        reader = _Reader(run, session, tell)
        while (outcome := await reader.next()) is not None:
            if isinstance(outcome, NotAttempted):
                counts.not_attempted += 1
                continue
            await session.write(name(outcome), outcome)
            look(outcome)
            if isinstance(outcome, Done):
                counts.done += 1
            else:
                counts.failed += 1
                counts.kinds.add(outcome.error)
        if tell is not None:
            tell(run.progress)
    if not run.report.complete:
        raise RingMeClosed("the RingMe was closed before all tenants had a turn")
    return counts


@define(eq=False)
class _Reader(Generic[V]):
    """Reads outcomes, and does what has to be done a few times a second even if none comes."""

    run: BulkRun[V]
    session: Session[V]
    tell: Tell | None
    _due: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._due = asyncio.get_running_loop().time() + _BEAT

    async def next(self) -> Outcome[V] | None:
        """Wait for an outcome; None: that was all."""
        while True:
            await self._beat()
            patience = asyncio.timeout_at(self._due)
            try:
                async with patience:
                    return await anext(self.run, None)
            except TimeoutError:
                if not patience.expired():
                    raise

    async def _beat(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._due:
            return
        self._due = now + _BEAT
        if self.tell is not None:
            self.tell(self.run.progress)
        await self.session.tick()
