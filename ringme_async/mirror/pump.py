"""Writes the outcomes of a run into its output as they come."""

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
from ringme_async.mirror.failures import FailureCounter
from ringme_async.mirror.sink import Session

__all__ = ["Concurrency", "Counts", "Tell", "write_outcomes"]

V = TypeVar("V")

Tell: TypeAlias = Callable[[Progress], None]
Concurrency: TypeAlias = int | Literal["auto"]

_TICK_INTERVAL: Final = 0.2


@define
class Counts:
    """Outcomes by kind, and the kinds of failures."""

    done: int = 0
    failed: int = 0
    not_attempted: int = 0
    kinds: FailureCounter = field(factory=FailureCounter)


async def write_outcomes(
    run: BulkRun[V],
    session: Session[V],
    key_of: Callable[[Outcome[V]], str],
    on_progress: Tell | None,
    on_written: Callable[[Done[V] | Failed], None] = lambda _outcome: None,
) -> Counts:
    """Write every outcome of a run into its output, and report progress meanwhile.

    Args:
        run: A run that has not started.
        session: The open output.
        key_of: Returns the key of an outcome's tenant.
        on_progress: Called with the progress five times a second, and at the end.
        on_written: Called with every written outcome.

    Raises:
        RingMeClosed: The ``RingMe`` was closed before the input was read to its end.
    """
    counts = Counts()
    async with run:
        reader = _Reader(run, session, on_progress)
        while (outcome := await reader.next()) is not None:
            if isinstance(outcome, NotAttempted):
                counts.not_attempted += 1
                continue
            await session.write(key_of(outcome), outcome)
            on_written(outcome)
            if isinstance(outcome, Done):
                counts.done += 1
            else:
                counts.failed += 1
                counts.kinds.add(outcome.error)
        if on_progress is not None:
            on_progress(run.progress)
    if not run.report.complete:
        raise RingMeClosed("the RingMe was closed before all tenants had a turn")
    return counts


@define(eq=False)
class _Reader(Generic[V]):
    """Reads outcomes, and ticks a few times a second even if none comes."""

    run: BulkRun[V]
    session: Session[V]
    on_progress: Tell | None
    _due: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._due = asyncio.get_running_loop().time() + _TICK_INTERVAL

    async def next(self) -> Outcome[V] | None:
        """Wait for an outcome; return None at the end."""
        while True:
            await self._tick_if_due()
            tick = asyncio.timeout_at(self._due)
            try:
                async with tick:
                    return await anext(self.run, None)
            except TimeoutError:
                if not tick.expired():
                    raise

    async def _tick_if_due(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._due:
            return
        self._due = now + _TICK_INTERVAL
        if self.on_progress is not None:
            self.on_progress(self.run.progress)
        await self.session.tick()
