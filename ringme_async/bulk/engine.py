"""The engine of a run: its tasks pull elements, run their jobs, and wake what waits.

A few workers run one job after the other, and wait while none can start. The engine pulls only when
a slot is free and no held job can start, so jobs that were parked come before new input.

Only ``start`` begins tasks, and only ``stop`` ends them. No task group surrounds the consumer's
code: it would wrap the consumer's own error.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from attrs import define, field

from ringme_async.bulk.adaptive_limit import AIMDLimiter
from ringme_async.bulk.feedback import (
    ANSWERED,
    NOTHING_LEARNED,
    Feedback,
    LatencyTracker,
    evidence_of,
)
from ringme_async.bulk.groups import QueuedJob
from ringme_async.bulk.input_feeder import InputFeeder
from ringme_async.bulk.job import Job, NotBefore
from ringme_async.bulk.job_source import JobSource, forget_traceback
from ringme_async.bulk.outcome import Done, Failed, Outcome
from ringme_async.bulk.result_queue import ResultQueue
from ringme_async.bulk.run_state import RunState
from ringme_async.bulk.wake_ups import WakeUps
from ringme_async.bulk.worker_pool import GRACE, Timers, WorkerPool, warn_of_hanging
from ringme_async.errors import RingMeClosed, RingMeError

__all__ = ["Engine", "OnClose"]

OnClose = Callable[[Callable[[str], None]], Callable[[], None]]
"""Registers a function that calls a run off; returns a function that unregisters it."""

V = TypeVar("V")

_BETWEEN_CHECKS: Final = 1.0
_BETWEEN_READ_AHEADS: Final = 0.1
_DEADLINE_PASSED: Final = "the run's deadline passed"


@define(eq=False)
class Engine(Generic[V]):
    """The tasks and timers of one run.

    Args:
        run_state: The state it works on.
        deadline: Seconds for the run; None: no end.
        limiter: Adjusts the number of slots in mid-run; None: it stays.
        on_close: Registers ``call_off`` with what the jobs depend on.
    """

    run_state: RunState[V]
    deadline: float | None
    limiter: AIMDLimiter | None = None
    on_close: OnClose | None = None
    _stop_listening: Callable[[], None] | None = field(default=None, init=False)
    _latencies: LatencyTracker = field(factory=LatencyTracker, init=False)
    _timers: Timers = field(factory=Timers, init=False)
    _is_being_read: bool = field(default=False, init=False)
    # Set while the reader waits for an outcome.
    _waiting_reader: asyncio.Future[None] | None = field(default=None, init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _pool: WorkerPool = field(init=False)
    _feeder: InputFeeder[V] = field(init=False)
    _source: JobSource[Any, V] = field(init=False)
    _results: ResultQueue[V] = field(init=False)
    _wake_ups: WakeUps[V] = field(init=False)

    def __attrs_post_init__(self) -> None:
        run_state = self.run_state
        self._source, self._results = run_state.source, run_state.results
        self._wake_ups = WakeUps(run_state.queue, run_state.probing)

    # Called by the run.

    def start(self) -> None:
        """Start the run on the running loop."""
        self._loop = asyncio.get_running_loop()
        run_state, now = self.run_state, self._loop.time()
        self._pool = WorkerPool(run_state.limit, self._work, self._wake_reader)
        self._feeder = InputFeeder(
            run_state, self._pool, self._timers, self._schedule_read_ahead, self._wake_all
        )
        run_state.open(now, self._wake_workers)
        if self.on_close is not None:
            self._stop_listening = self.on_close(self.call_off)
        if self.deadline is not None:
            self._timers.set("deadline", now + self.deadline, self._expire)
        if self._source.is_async:
            self._feeder.start()
        else:
            self._wake_workers()

    async def stop(self) -> BaseException | None:
        """Cancel all tasks, and wait until they end.

        Returns:
            The error that ended the run early, unless ``next`` raised it.
        """
        self._timers.cancel()
        if self._stop_listening is not None:
            self._stop_listening()
        self._pool.stop()
        self.run_state.end_holds()
        try:
            await self._pool.join()
        finally:
            broken = self._source.close()
        error, self._pool.error = self._pool.error, None
        return error or broken

    def call_off(self, reason: str) -> None:
        """Pull and start nothing more; jobs in flight run to their own end."""
        self.run_state.give_up(reason)
        self._source.leave()
        self._feeder.watch()
        self._wake_workers()

    async def next(self) -> Outcome[V]:
        """Wait for an outcome.

        Raises:
            StopAsyncIteration: There are no more outcomes.
            BaseException: The error that ended the run early, as it was raised.
        """
        if not self._results.readable and not await self._wait_for_outcome():
            raise self._final_error()
        outcome = self._results.take()
        self._on_read()
        return outcome

    async def next_batch(self) -> list[Outcome[V]]:
        """Wait for outcomes, and return all that are finished; an empty list is the end.

        Raises:
            BaseException: The error that ended the run early, as it was raised.
        """
        if not self._results.readable and not await self._wait_for_outcome():
            ending = self._final_error()
            if isinstance(ending, StopAsyncIteration):
                return []
            raise ending
        outcomes = self._results.take_all()
        self._on_read()
        return outcomes

    def now(self) -> float:
        """Return the time of the loop that the run was started on; 0 before the start."""
        return 0.0 if self._loop is None else self._loop.time()

    async def _wait_for_outcome(self) -> bool:
        """Wait until an outcome can be read; return False if no more will come."""
        while not self._results.readable:
            if self._is_over():
                return False
            if self._is_being_read:
                raise RuntimeError("this run is being read by another task")
            self._is_being_read = True
            self._waiting_reader = asyncio.get_running_loop().create_future()
            try:
                await self._waiting_reader
            finally:
                self._is_being_read = False
                self._waiting_reader = None
        return True

    def _on_read(self) -> None:
        run_state = self.run_state
        if run_state.needs_reader or run_state.is_stuck_on_suspects:
            run_state.needs_reader = False
            self._wake_workers()

    # A worker.

    async def _work(self) -> None:
        run_state, pool, loop = self.run_state, self._pool, asyncio.get_running_loop()
        task = asyncio.current_task()
        if task is None:  # pragma: no cover - this runs in a task of its own
            return
        pool.worker_started()
        now = loop.time()
        while not pool.is_stopping:
            queued = run_state.start_next(now)
            if self._waiting_reader is not None and self._results.readable:
                self._wake_reader()
            if self._wake_ups.has_any:
                self._schedule_wake()
            if queued is not None:
                run_state.running[queued] = task
                if pool.can_wake and run_state.may_start_more():
                    self._wake_workers()
                now = await self._run_job(queued, task, now)
                continue
            if run_state.may_pull():
                await asyncio.sleep(0)
            elif run_state.is_stuck_on_suspects:
                run_state.release_suspects(now)
            else:
                await self._wait_for_work(now)
            now = loop.time()

    async def _wait_for_work(self, now: float) -> None:
        self._feeder.wake()
        self._wake_reader()
        self._schedule_read_ahead()
        if self.run_state.has_waiting:
            self._timers.set("silence", now + _BETWEEN_CHECKS, self._check_silence)
        await self._pool.wait_for_work()

    async def _run_job(
        self, queued: QueuedJob[V], task: asyncio.Task[None], started: float
    ) -> float:
        """Run a job and record how it ended; return the time after that."""
        job = queued.job
        sent_before = 0 if self.limiter is None else job.attempts
        error: RingMeError | None = None
        outcome: Done[V] | Failed | NotBefore
        try:
            result = await job.run()
        except RingMeError as failure:
            error = forget_traceback(failure)
            outcome = Failed(queued.who, queued.index, job.attempts, error, retries=job.retries)
            if isinstance(failure, RingMeClosed):
                # All other jobs would fail in the same way.
                self.call_off(failure.reason)
        except asyncio.CancelledError:
            if not self._take_back_cancellation(queued, task):
                raise
            error = forget_traceback(job.abandon(self._source.why_not or _DEADLINE_PASSED))
            outcome = Failed(queued.who, queued.index, job.attempts, error, retries=job.retries)
        else:
            if isinstance(result, NotBefore):
                outcome = result
            else:
                outcome = Done(queued.who, queued.index, job.attempts, result, retries=job.retries)
        finally:
            is_lost = self.run_state.running.pop(queued, None) is None
            if queued.abandoned:
                self._take_back_cancellation(queued, task)
        now = self.now()
        if is_lost:
            # It ignored its cancellation for too long: ``_abandon_jobs`` gave it its outcome.
            return now
        if isinstance(outcome, NotBefore):
            self.run_state.park(queued, outcome.at, now)
        else:
            slow = self._latencies.is_slow(now - started)
            evidence = ANSWERED if error is None else evidence_of(error)
            self.run_state.finish(queued, outcome, evidence, started, now, slow=slow)
            if self.limiter is not None:
                self._adjust_limit(self.limiter, job, job.attempts - sent_before, evidence.feedback)
        if self._waiting_reader is not None:
            self._wake_reader()
        return now

    def _adjust_limit(
        self, limiter: AIMDLimiter, job: Job[V], sent: int, feedback: Feedback
    ) -> None:
        if not sent or job.sent_at is None:
            return
        now = self.now()
        latency = now - job.sent_at if feedback is Feedback.SUCCESS else None
        if limiter.learn(sent, job.sent_at, latency):
            running = self.run_state.running
            requests = 1 + sum(not queued.job.waiting_for_login for queued in running)
            # An eighth of the slots may be kept free for neighbours.
            limiter.decide(now, full=requests * 8 >= self.run_state.limit.value * 7)

    def _take_back_cancellation(self, queued: QueuedJob[V], task: asyncio.Task[None]) -> bool:
        """Take back the deadline's cancellation; return whether it was the only one."""
        if not queued.abandoned:
            return False
        queued.abandoned = False
        return task.uncancel() == 0

    # The end.

    def _expire(self) -> None:
        self.run_state.give_up(_DEADLINE_PASSED)
        for queued, task in self.run_state.running.items():
            queued.abandoned = True
            task.cancel()
        if self.run_state.running:
            self._timers.set("jobs", self.now() + GRACE, self._abandon_jobs)
        self._source.hurry()
        self._feeder.watch()
        self._wake_workers()

    def _abandon_jobs(self) -> None:
        """End jobs that go on in spite of their cancellation."""
        run_state, now = self.run_state, self.now()
        lost = [queued for queued in run_state.running if queued.abandoned]
        for queued in lost:
            job = queued.job
            del run_state.running[queued]
            error = forget_traceback(job.abandon(self._source.why_not or _DEADLINE_PASSED))
            outcome = Failed(queued.who, queued.index, job.attempts, error, retries=job.retries)
            run_state.finish(queued, outcome, NOTHING_LEARNED, now, now, slow=False)
        self._wake_workers()
        self._wake_reader()
        if lost:
            warn_of_hanging(Counter({"ringme job": len(lost)}))

    def _is_over(self) -> bool:
        if self._pool.is_stopping:
            return self._pool.is_gone
        return not self._feeder.is_running and self.run_state.is_exhausted

    def _final_error(self) -> BaseException:
        """Return the error that ended the run, once, or else the end of the iteration."""
        source = self._source
        error = self._pool.error or source.error
        self._pool.error = source.error = None
        if isinstance(error, StopIteration | StopAsyncIteration):
            # Raised as it is, it would look like the end of the iteration.
            mistaken = RuntimeError(f"something in the run raised {type(error).__name__}")
            mistaken.__cause__ = error
            return mistaken
        return StopAsyncIteration() if error is None else error

    # Wake-ups.

    def _wake_workers(self) -> None:
        self._feeder.wake()
        self._pool.wake_one()

    def _wake_all(self) -> None:
        self._wake_workers()
        self._wake_reader()

    def _wake_reader(self) -> None:
        reader, self._waiting_reader = self._waiting_reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)

    def _schedule_wake(self) -> None:
        due = self._wake_ups.next_wake
        if due is not None:
            self._timers.set("wake", due, self._wake_parked)

    def _wake_parked(self) -> None:
        self._wake_ups.wake(self.now())
        self._schedule_wake()
        self._wake_workers()

    def _schedule_read_ahead(self) -> None:
        if self.run_state.is_read_ahead_full and not self.run_state.is_blocked:
            self._timers.set(
                "read-ahead", self.now() + _BETWEEN_READ_AHEADS, self._extend_read_ahead
            )

    def _extend_read_ahead(self) -> None:
        # If all slots are taken, or fewer jobs wait by now, a longer read-ahead would start
        # nothing.
        if self.run_state.is_read_ahead_full and self._pool.has_idle_worker:
            self.run_state.double_read_ahead()
            self._wake_workers()

    def _check_silence(self) -> None:
        self._wake_ups.extend_if_silent()
        self._wake_workers()
