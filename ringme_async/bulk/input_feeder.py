"""The task that pulls an async input."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from attrs import define, field

from ringme_async.bulk.run_state import PULLS_IN_A_ROW, RunState
from ringme_async.bulk.worker_pool import GRACE, Timers, WorkerPool, warn_of_hanging

__all__ = ["InputFeeder"]

V = TypeVar("V")


@define(eq=False)
class InputFeeder(Generic[V]):
    """Pulls one element at a time, in a task of its own, so that a slow input holds no slot.

    Args:
        run_state: The state that it adds elements to.
        pool: The workers that run them, and the feeder's own task.
        timers: The timers of the run.
        on_wait: Called before it waits for a free worker.
        on_abandon: Called when it gives up an input that hangs.
    """

    run_state: RunState[V]
    pool: WorkerPool
    timers: Timers
    on_wait: Callable[[], None]
    on_abandon: Callable[[], None]
    _task: asyncio.Task[None] | None = field(default=None, init=False)
    # Set while it waits for a free worker.
    _waiting: asyncio.Future[None] | None = field(default=None, init=False)
    # How many steps it has made, and whether it hangs in one.
    _steps: int = field(default=0, init=False)
    _is_abandoned: bool = field(default=False, init=False)

    @property
    def is_running(self) -> bool:
        """Whether more elements may come from it."""
        return self._task is not None and not (self._task.done() or self._is_abandoned)

    def start(self) -> None:
        """Start the task."""
        self._task = self.pool.spawn(self._feed(), "ringme input")

    def wake(self) -> None:
        """Check again whether a worker is free."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def watch(self) -> None:
        """Check after a while that the input, which has to end, still makes progress."""
        if self._task is not None and not self._task.done():
            check = partial(self._check_progress, self._steps)
            self.timers.set("input", asyncio.get_running_loop().time() + GRACE, check)

    def _check_progress(self, steps_before: int) -> None:
        waiting = self._waiting
        if self._steps > steps_before or (waiting is not None and not waiting.done()):
            self.watch()
        elif self._task is not None and not self._task.done():
            self._is_abandoned = True
            self.run_state.source.leave()
            self.on_abandon()
            warn_of_hanging(Counter({"ringme input": 1}))

    async def _feed(self) -> None:
        run_state, source = self.run_state, self.run_state.source
        try:
            while not source.ended:
                if not (run_state.wants_more() and self.pool.can_wake):
                    self.on_wait()
                    self._waiting = asyncio.get_running_loop().create_future()
                    await self._waiting
                    continue
                pulled = await source.fetch()
                if self._is_abandoned:
                    return
                run_state.add(pulled)
                if run_state.is_ready:
                    self.pool.wake_one()
                self._steps += 1
                if self._steps % PULLS_IN_A_ROW == 0:
                    await asyncio.sleep(0)
        finally:
            await self._close_input()

    async def _close_input(self) -> None:
        source = self.run_state.source
        if not self.pool.is_stopping:
            self._steps += 1
            self.watch()
        try:
            await source.aclose()
        except Exception as error:
            if self.pool.is_stopping:
                raise
            source.error = source.error or error
