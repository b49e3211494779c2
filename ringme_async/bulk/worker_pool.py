"""The tasks of a run: started when they are needed, and all ended when it is over."""

from __future__ import annotations

import asyncio
import warnings
from collections import Counter
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, Final

from attrs import define, field

from ringme_async.bulk.adaptive_limit import CapacityLimit

__all__ = ["GRACE", "Timers", "WorkerPool"]


@define(eq=False)
class Timers:
    """At most one timer for each name."""

    _timers: dict[str, asyncio.TimerHandle] = field(
        factory=dict[str, asyncio.TimerHandle], init=False
    )

    def set(self, name: str, when: float, action: Callable[[], None]) -> None:
        """Call an action at a time of the loop; of two times, the earlier counts."""
        timer = self._timers.get(name)
        if timer is not None:
            if timer.when() <= when:
                return
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._timers[name] = loop.call_at(when, self._fire, name, action)

    def cancel(self) -> None:
        """Cancel all timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _fire(self, name: str, action: Callable[[], None]) -> None:
        del self._timers[name]
        action()


# Seconds that a cancelled task has to end: an input may have a connection to close.
GRACE: Final = 5.0
# Seconds that it has after a second cancellation.
_LAST_GRACE: Final = 1.0


@define(eq=False)
class WorkerPool:
    """Workers, at most one for each slot, and the run's other tasks.

    All run in copies of the context in which the pool was made. If one of them raises an error, all
    are cancelled.

    Args:
        limit: How many workers there may be.
        work: The coroutine function of a worker, which runs until ``is_stopping``.
        on_task_done: Called whenever a task has ended.

    Attributes:
        is_stopping: Whether all tasks are to end.
        error: The first error that a task raised.
    """

    limit: CapacityLimit
    work: Callable[[], Coroutine[Any, Any, None]]
    on_task_done: Callable[[], None]
    is_stopping: bool = field(default=False, init=False)
    error: BaseException | None = field(default=None, init=False)
    _context: Context = field(factory=copy_context, init=False)
    _tasks: set[asyncio.Task[None]] = field(factory=set[asyncio.Task[None]], init=False)
    _workers: int = field(default=0, init=False)
    # Whether a worker was woken, and does not look for work yet.
    _is_waking: bool = field(default=False, init=False)
    _idle: list[asyncio.Future[None]] = field(factory=list[asyncio.Future[None]], init=False)

    @property
    def is_gone(self) -> bool:
        """Whether no task is left."""
        return not self._tasks

    @property
    def has_idle_worker(self) -> bool:
        """Whether a worker is idle, or one more may be started."""
        return bool(self._idle) or self._workers < self.limit.value

    @property
    def can_wake(self) -> bool:
        """Whether ``wake_one`` would wake a worker, as none is about to look for work."""
        return not self._is_waking and self.has_idle_worker

    def wake_one(self) -> None:
        """Let one more worker look for work, unless one is about to.

        A worker that finds a job wakes the next one, so one is enough.
        """
        if self.is_stopping or self._is_waking:
            return
        if self._idle:
            self._is_waking = True
            self._idle.pop().set_result(None)
        elif self._workers < self.limit.value:
            self._is_waking = True
            self._workers += 1
            self.spawn(self.work())

    def worker_started(self) -> None:
        """Record that a worker has started."""
        self._is_waking = False

    async def wait_for_work(self) -> None:
        """Wait, as a worker, to be woken."""
        woken = asyncio.get_running_loop().create_future()
        self._idle.append(woken)
        await woken
        self._is_waking = False

    def spawn(
        self, work: Coroutine[Any, Any, None], name: str = "ringme job"
    ) -> asyncio.Task[None]:
        """Start a task.

        Args:
            work: Its coroutine.
            name: What a warning calls it if it hangs.
        """
        context = self._context.copy()
        task = asyncio.get_running_loop().create_task(work, name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)
        return task

    def stop(self) -> None:
        """Cancel all tasks."""
        self.is_stopping = True
        for task in self._tasks:
            task.cancel()

    async def join(self) -> None:
        """Wait until all tasks have ended, for a few seconds at most.

        A cancellation in the meantime cancels the tasks once more, and is raised at the end. A
        ``RuntimeWarning`` names the tasks that hang.
        """
        loop = asyncio.get_running_loop()
        interrupted: asyncio.CancelledError | None = None
        hung: Counter[str] = Counter()
        until, is_last = loop.time() + GRACE, False
        while self._tasks:
            try:
                await asyncio.wait(self._tasks, timeout=until - loop.time())
                if loop.time() < until:
                    continue
                hung = Counter(task.get_name() for task in self._tasks)
                if is_last:
                    break
            except asyncio.CancelledError as cancelled:
                interrupted = cancelled
            if not is_last:
                until, is_last = loop.time() + _LAST_GRACE, True
            self.stop()
        if self._tasks:
            self._tasks.clear()
            self.on_task_done()
        try:
            if hung:
                warn_of_hanging(hung)
        finally:
            # In ``finally``: where warnings are errors, the cancellation must still get out.
            if interrupted is not None:
                raise interrupted

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        try:
            task.result()
        except asyncio.CancelledError as error:
            if not self.is_stopping:
                self._fail(error)
        except BaseException as error:  # noqa: BLE001 - it gets out of the run as it is
            self._fail(error)
        self.on_task_done()

    def _fail(self, error: BaseException) -> None:
        if self.error is None:
            self.error = error
        self.stop()


def warn_of_hanging(names: Counter[str]) -> None:
    """Warn that a run waits no longer for some tasks."""
    listed = ", ".join(f"{name} ({count})" for name, count in sorted(names.items()))
    text = f"a bulk run was to end, and does not wait any longer for tasks that hang: {listed}"
    warnings.warn(text, RuntimeWarning, stacklevel=2)
