"""The engine of a run: its tasks pull elements, run their jobs, and wake what waits.

A few workers run one job after the other, and wait while none can start. The engine pulls only when
a slot is free and no held job can start, so jobs that were parked come before new input. An async
input has a task of its own, the feeder: a slow input holds no slot.

Only ``start`` begins tasks, and only ``stop`` ends them. No task group surrounds the consumer's code:
it would wrap the consumer's own error.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final, Generic, TypeVar

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
from ringme_async.bulk.job import Job, NotBefore
from ringme_async.bulk.job_source import forget_traceback
from ringme_async.bulk.outcome import Done, Failed, Outcome
from ringme_async.bulk.run_state import PULLS_IN_A_ROW, RunState
from ringme_async.bulk.worker_pool import GRACE, Timers, WorkerPool, warn_of_hanging
from ringme_async.errors import RingMeClosed, RingMeError

__all__ = ["Engine", "OnClose"]

OnClose = Callable[[Callable[[str], None]], Callable[[], None]]
"""Takes what calls a run off, for the reason it is told, and gives what takes that back."""

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
    _feeder: asyncio.Task[None] | None = field(default=None, init=False)
    _resting_feeder: asyncio.Future[None] | None = field(default=None, init=False)
    # How many steps the feeder has made, and whether it hangs in one.
    _fed: int = field(default=0, init=False)
    _is_input_abandoned: bool = field(default=False, init=False)
    _is_being_read: bool = field(default=False, init=False)
    # Set while the reader waits for an outcome.
    _waiting_reader: asyncio.Future[None] | None = field(default=None, init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _pool: WorkerPool = field(init=False)

    # Called by the run.

    def start(self) -> None:
        """Start the run on the running loop."""
        self._loop = asyncio.get_running_loop()
        limit = self.run_state.queue.limit
        self._pool = WorkerPool(limit, self._work, self._wake_reader)
        self.run_state.source.open()
        if self.on_close is not None:
            self._stop_listening = self.on_close(self.call_off)
        limit.call_on_rise(self._wake_workers)
        self.run_state.queue.call_on_free(self._wake_workers)
        now = self._loop.time()
        self.run_state.throughput.start(now)
        if self.deadline is not None:
            self._timers.set("deadline", now + self.deadline, self._expire)
        if self.run_state.source.is_async:
            self._feeder = self._pool.spawn(self._feed(), "ringme input")
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
        self.run_state.queue.end_holds()
        try:
            await self._pool.join()
        finally:
            broken = self.run_state.source.close()
        error, self._pool.error = self._pool.error, None
        return error or broken

    def call_off(self, reason: str) -> None:
        """Pull and start nothing more; jobs in flight run to their own end."""
        self.run_state.give_up(reason)
        self.run_state.source.leave()
        self._watch_input()
        self._wake_workers()

    async def next(self) -> Outcome[V]:
        """Wait for an outcome.

        Raises:
            StopAsyncIteration: There are no more outcomes.
            BaseException: The error that ended the run early, as it was raised.
        """
        if not self.run_state.results.readable and not await self._wait_for_outcome():
            raise self._final_error()
        outcome = self.run_state.results.take()
        self._on_read()
        return outcome

    async def next_batch(self) -> list[Outcome[V]]:
        """Wait for outcomes, and return all that are finished; an empty list is the end.

        Raises:
            BaseException: The error that ended the run early, as it was raised.
        """
        if not self.run_state.results.readable and not await self._wait_for_outcome():
            ending = self._final_error()
            if isinstance(ending, StopAsyncIteration):
                return []
            raise ending
        outcomes = self.run_state.results.take_all()
        self._on_read()
        return outcomes

    def now(self) -> float:
        """Return the time of the loop that the run was started on; 0 before the start."""
        return 0.0 if self._loop is None else self._loop.time()

    async def _wait_for_outcome(self) -> bool:
        """Wait until an outcome can be read; return False if no more will come."""
        while not self.run_state.results.readable:
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
            if self._waiting_reader is not None and run_state.results.readable:
                self._wake_reader()
            if run_state.wake_ups.has_any:
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
        self._wake_feeder()
        self._wake_reader()
        self._schedule_read_ahead(now)
        queue = self.run_state.queue
        if queue.held > queue.parked:
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
            error = forget_traceback(job.abandon(self.run_state.source.why_not or _DEADLINE_PASSED))
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
            limiter.decide(now, full=requests * 8 >= self.run_state.queue.limit.value * 7)

    def _take_back_cancellation(self, queued: QueuedJob[V], task: asyncio.Task[None]) -> bool:
        """Take back the deadline's cancellation; return whether it was the only one."""
        if not queued.abandoned:
            return False
        queued.abandoned = False
        return task.uncancel() == 0

    # An async input.

    async def _feed(self) -> None:
        """Pull one element at a time, when a worker could start it."""
        run_state, source = self.run_state, self.run_state.source
        try:
            while not source.ended:
                if not (run_state.wants_more() and self._pool.can_wake):
                    self._schedule_read_ahead(self.now())
                    self._resting_feeder = asyncio.get_running_loop().create_future()
                    await self._resting_feeder
                    continue
                pulled = await source.fetch()
                if self._is_input_abandoned:
                    return
                run_state.add(pulled)
                if run_state.is_ready:
                    self._pool.wake_one()
                self._fed += 1
                if self._fed % PULLS_IN_A_ROW == 0:
                    await asyncio.sleep(0)
        finally:
            await self._close_feed()

    async def _close_feed(self) -> None:
        source = self.run_state.source
        if not self._pool.is_stopping:
            self._fed += 1
            self._watch_input()
        try:
            await source.aclose()
        except Exception as error:
            if self._pool.is_stopping:
                raise
            source.error = source.error or error

    def _watch_input(self) -> None:
        """Check after a while that the input, which has to end, still makes progress."""
        if self._feeder is not None and not self._feeder.done():
            see = partial(self._check_input, self._fed)
            self._timers.set("input", self.now() + GRACE, see)

    def _check_input(self, fed_before: int) -> None:
        resting = self._resting_feeder
        if self._fed > fed_before or (resting is not None and not resting.done()):
            self._watch_input()
        elif self._feeder is not None and not self._feeder.done():
            self._is_input_abandoned = True
            self.run_state.source.leave()
            self._wake_workers()
            self._wake_reader()
            warn_of_hanging(Counter({"ringme input": 1}))

    # The end.

    def _expire(self) -> None:
        self.run_state.give_up(_DEADLINE_PASSED)
        for queued, task in self.run_state.running.items():
            queued.abandoned = True
            task.cancel()
        if self.run_state.running:
            self._timers.set("jobs", self.now() + GRACE, self._abandon_jobs)
        self.run_state.source.hurry()
        self._watch_input()
        self._wake_workers()

    def _abandon_jobs(self) -> None:
        """End jobs that go on in spite of their cancellation."""
        run_state, now = self.run_state, self.now()
        lost = [queued for queued in run_state.running if queued.abandoned]
        for queued in lost:
            job = queued.job
            del run_state.running[queued]
            error = forget_traceback(job.abandon(run_state.source.why_not or _DEADLINE_PASSED))
            outcome = Failed(queued.who, queued.index, job.attempts, error, retries=job.retries)
            run_state.finish(queued, outcome, NOTHING_LEARNED, now, now, slow=False)
        self._wake_workers()
        self._wake_reader()
        if lost:
            warn_of_hanging(Counter({"ringme job": len(lost)}))

    def _is_over(self) -> bool:
        if self._pool.is_stopping:
            return self._pool.is_gone
        if self._feeder is not None and not (self._feeder.done() or self._is_input_abandoned):
            return False
        return self.run_state.is_exhausted

    def _final_error(self) -> BaseException:
        """Return the error that ended the run, once, or else the end of the iteration."""
        source = self.run_state.source
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
        self._wake_feeder()
        self._pool.wake_one()

    def _wake_feeder(self) -> None:
        if self._resting_feeder is not None and not self._resting_feeder.done():
            self._resting_feeder.set_result(None)

    def _wake_reader(self) -> None:
        reader, self._waiting_reader = self._waiting_reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)

    def _schedule_wake(self) -> None:
        due = self.run_state.wake_ups.next_wake
        if due is not None:
            self._timers.set("wake", due, self._wake_parked)

    def _wake_parked(self) -> None:
        self.run_state.wake_ups.wake(self.now())
        self._schedule_wake()
        self._wake_workers()

    def _schedule_read_ahead(self, now: float) -> None:
        if self.run_state.is_read_ahead_full and not self.run_state.is_blocked:
            self._timers.set("read_ahead", now + _BETWEEN_READ_AHEADS, self._extend_read_ahead)

    def _extend_read_ahead(self) -> None:
        # If all slots are taken, or fewer jobs wait by now, a longer read-ahead would start
        # nothing.
        if self.run_state.is_read_ahead_full and self._pool.has_idle_worker:
            self.run_state.double_read_ahead()
            self._wake_workers()

    def _check_silence(self) -> None:
        self.run_state.wake_ups.extend_if_silent()
        self._wake_workers()
