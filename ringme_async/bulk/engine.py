"""Runs the jobs of one input: pulls, starts, parks, wakes, and hands over outcomes.

A few workers take jobs one after the other and rest while nothing can start. Elements are pulled
only when a slot is free and nothing in hand can start, so that what was parked and woken comes
before new input. An async input has a task of its own, the feeder: its slowness holds no slot.

Tasks are begun by ``start`` and ended by ``stop`` alone, and no task group stands around the
consumer's code, so that the error that gets out of an ``async with`` is the consumer's own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final, Generic, TypeVar

from attrs import define, field

from ringme_async.bulk.adaptive_limit import Pilot
from ringme_async.bulk.feedback import Tempo, Verdict, verdict_on
from ringme_async.bulk.groups import Ticket
from ringme_async.bulk.job import Job, NotBefore
from ringme_async.bulk.job_source import forget_traceback
from ringme_async.bulk.outcome import Done, Failed, Outcome
from ringme_async.bulk.run_state import PULLS_IN_A_ROW, Stock
from ringme_async.bulk.worker_pool import GRACE, Alarms, Crew, warn_of_hanging
from ringme_async.errors import RingMeClosed, RingMeError

__all__ = ["Accompany", "Engine"]

Accompany = Callable[[Callable[[str], None]], Callable[[], None]]
"""Takes what calls a run off, for the reason it is told, and gives what takes that back."""

V = TypeVar("V")

_BETWEEN_LOOKS: Final = 1.0
_BETWEEN_REACHES: Final = 0.1
_DEADLINE_PASSED: Final = "the run's deadline passed"


@define(eq=False)
class Engine(Generic[V]):
    """One run.

    Args:
        stock: What it works on.
        deadline: Seconds for the run; None: no end.
        pilot: Sets the number of slots in mid-run, if anybody does.
        accompany: Hands ``call_off`` to whatever the jobs cannot do without.
    """

    stock: Stock[V]
    deadline: float | None
    pilot: Pilot | None = None
    accompany: Accompany | None = None
    _part: Callable[[], None] | None = field(default=None, init=False)
    _tempo: Tempo = field(factory=Tempo, init=False)
    _alarms: Alarms = field(factory=Alarms, init=False)
    _feeder: asyncio.Task[None] | None = field(default=None, init=False)
    _resting_feeder: asyncio.Future[None] | None = field(default=None, init=False)
    # How many steps the feeder has made, and whether it hangs in one.
    _fed: int = field(default=0, init=False)
    _is_input_abandoned: bool = field(default=False, init=False)
    _is_being_read: bool = field(default=False, init=False)
    # Until there is something to read.
    _waiting_reader: asyncio.Future[None] | None = field(default=None, init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _crew: Crew = field(init=False)

    # From outside.

    def start(self) -> None:
        """Begin, on the running loop."""
        self._loop = asyncio.get_running_loop()
        limit = self.stock.schedule.limit
        self._crew = Crew(limit, self._work, self._tell)
        self.stock.intake.open()
        if self.accompany is not None:
            self._part = self.accompany(self.call_off)
        limit.call_on_rise(self._stir)
        self.stock.schedule.call_on_free(self._stir)
        now = self._loop.time()
        self.stock.pace.start(now)
        if self.deadline is not None:
            self._alarms.set("deadline", now + self.deadline, self._expire)
        if self.stock.intake.is_async:
            self._feeder = self._crew.spawn(self._feed(), "ringme input")
        else:
            self._stir()

    async def stop(self) -> BaseException | None:
        """Cancel what is under way, and wait for its end.

        Returns:
            What ended the run before its time, unless ``next`` raised it.
        """
        self._alarms.cancel()
        if self._part is not None:
            self._part()
        self._crew.stop()
        self.stock.schedule.end_holds()
        try:
            await self._crew.join()
        finally:
            broken = self.stock.intake.close()
        error, self._crew.error = self._crew.error, None
        return error or broken

    def call_off(self, reason: str) -> None:
        """Pull and start nothing more; what is in flight goes on to its own end."""
        self.stock.give_up(reason)
        self.stock.intake.leave()
        self._watch_input()
        self._stir()

    async def next(self) -> Outcome[V]:
        """Wait for an outcome.

        Raises:
            StopAsyncIteration: That was all.
            BaseException: What ended the run before its time, as it was raised.
        """
        if not self.stock.outbox.readable and not await self._come_to_read():
            raise self._ending()
        outcome = self.stock.outbox.take()
        self._make_room()
        return outcome

    async def next_ones(self) -> list[Outcome[V]]:
        """Wait for outcomes, and give all that there are; none: that was all.

        Raises:
            BaseException: What ended the run before its time, as it was raised.
        """
        if not self.stock.outbox.readable and not await self._come_to_read():
            ending = self._ending()
            if isinstance(ending, StopAsyncIteration):
                return []
            raise ending
        outcomes = self.stock.outbox.take_all()
        self._make_room()
        return outcomes

    def now(self) -> float:
        """Give the time of the loop that it was started on; 0 before the start."""
        return 0.0 if self._loop is None else self._loop.time()

    async def _come_to_read(self) -> bool:
        """Wait until there is something to read; False if there will be nothing any more."""
        while not self.stock.outbox.readable:
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

    def _make_room(self) -> None:
        stock = self.stock
        if stock.needs_reader or stock.is_in_doubt:
            stock.needs_reader = False
            self._stir()

    # A worker.

    async def _work(self) -> None:
        stock, crew, loop = self.stock, self._crew, asyncio.get_running_loop()
        task = asyncio.current_task()
        if task is None:  # pragma: no cover - this runs in a task of its own
            return
        crew.arrive()
        now = loop.time()
        while not crew.is_stopping:
            ticket = stock.take(now)
            if self._waiting_reader is not None and stock.outbox.readable:
                self._tell()
            if stock.sleepers.has_any:
                self._set_wake()
            if ticket is not None:
                stock.running[ticket] = task
                if crew.can_stir and stock.may_start_more():
                    self._stir()
                now = await self._perform(ticket, task, now)
                continue
            if stock.may_pull():
                await asyncio.sleep(0)
            elif stock.is_in_doubt:
                stock.end_doubt(now)
            else:
                await self._rest(now)
            now = loop.time()

    async def _rest(self, now: float) -> None:
        self._feed_on()
        self._tell()
        self._see_to_reach(now)
        schedule = self.stock.schedule
        if schedule.held > schedule.parked:
            self._alarms.set("look", now + _BETWEEN_LOOKS, self._look)
        await self._crew.rest()

    async def _perform(self, ticket: Ticket[V], task: asyncio.Task[None], started: float) -> float:
        """Run a job and see to what comes of it; give the moment when that was done."""
        job = ticket.job
        sent_before = 0 if self.pilot is None else job.attempts
        error: RingMeError | None = None
        outcome: Done[V] | Failed | NotBefore
        try:
            result = await job.run()
        except RingMeError as failure:
            error = forget_traceback(failure)
            outcome = Failed(ticket.who, ticket.index, job.attempts, error, retries=job.retries)
            if isinstance(failure, RingMeClosed):
                # So would all others.
                self.call_off(failure.reason)
        except asyncio.CancelledError:
            if not self._was_abandoned(ticket, task):
                raise
            error = forget_traceback(job.abandon(self.stock.intake.why_not or _DEADLINE_PASSED))
            outcome = Failed(ticket.who, ticket.index, job.attempts, error, retries=job.retries)
        else:
            if isinstance(result, NotBefore):
                outcome = result
            else:
                outcome = Done(ticket.who, ticket.index, job.attempts, result, retries=job.retries)
        finally:
            is_lost = self.stock.running.pop(ticket, None) is None
            if ticket.abandoned:
                self._was_abandoned(ticket, task)
        now = self.now()
        if is_lost:
            # It has its outcome: it went on for too long after it was cancelled.
            return now
        if isinstance(outcome, NotBefore):
            self.stock.park(ticket, outcome.at, now)
        else:
            slow = self._tempo.is_slow(now - started)
            verdict = Verdict.SOUND if error is None else verdict_on(error)
            self.stock.finish(ticket, outcome, verdict, started, now, slow=slow)
            if self.pilot is not None:
                self._steer(self.pilot, job, job.attempts - sent_before, verdict)
        if self._waiting_reader is not None:
            self._tell()
        return now

    def _steer(self, pilot: Pilot, job: Job[V], sent: int, verdict: Verdict) -> None:
        if not sent or job.sent_at is None:
            return
        now = self.now()
        latency = now - job.sent_at if verdict is Verdict.SOUND else None
        if pilot.learn(sent, job.sent_at, latency):
            running = self.stock.running
            requests = 1 + sum(not ticket.job.waiting_for_login for ticket in running)
            # An eighth of the slots may be kept free for neighbours.
            pilot.decide(now, full=requests * 8 >= self.stock.schedule.limit.value * 7)

    def _was_abandoned(self, ticket: Ticket[V], task: asyncio.Task[None]) -> bool:
        """Take back the deadline's cancellation, if there was one; it may not be the only one."""
        if not ticket.abandoned:
            return False
        ticket.abandoned = False
        return task.uncancel() == 0

    # An async input.

    async def _feed(self) -> None:
        """Pull, one element at a time, when somebody could start it."""
        stock, intake = self.stock, self.stock.intake
        try:
            while not intake.ended:
                if not (stock.wants_more() and self._crew.can_stir):
                    self._see_to_reach(self.now())
                    self._resting_feeder = asyncio.get_running_loop().create_future()
                    await self._resting_feeder
                    continue
                pulled = await intake.fetch()
                if self._is_input_abandoned:
                    return
                stock.file(pulled)
                if stock.is_ready:
                    self._crew.stir()
                self._fed += 1
                if self._fed % PULLS_IN_A_ROW == 0:
                    await asyncio.sleep(0)
        finally:
            await self._close_feed()

    async def _close_feed(self) -> None:
        intake = self.stock.intake
        if not self._crew.is_stopping:
            self._fed += 1
            self._watch_input()
        try:
            await intake.aclose()
        except Exception as error:
            if self._crew.is_stopping:
                raise
            intake.error = intake.error or error

    def _watch_input(self) -> None:
        """Look whether the input, which has to end, goes on doing so."""
        if self._feeder is not None and not self._feeder.done():
            see = partial(self._see_to_input, self._fed)
            self._alarms.set("input", self.now() + GRACE, see)

    def _see_to_input(self, fed_before: int) -> None:
        resting = self._resting_feeder
        if self._fed > fed_before or (resting is not None and not resting.done()):
            self._watch_input()
        elif self._feeder is not None and not self._feeder.done():
            self._is_input_abandoned = True
            self.stock.intake.leave()
            self._stir()
            self._tell()
            warn_of_hanging(Counter({"ringme input": 1}))

    # The end.

    def _expire(self) -> None:
        self.stock.give_up(_DEADLINE_PASSED)
        for ticket, task in self.stock.running.items():
            ticket.abandoned = True
            task.cancel()
        if self.stock.running:
            self._alarms.set("jobs", self.now() + GRACE, self._abandon_jobs)
        self.stock.intake.hurry()
        self._watch_input()
        self._stir()

    def _abandon_jobs(self) -> None:
        """Give jobs their outcome that go on in spite of their cancellation."""
        stock, now = self.stock, self.now()
        lost = [ticket for ticket in stock.running if ticket.abandoned]
        for ticket in lost:
            job = ticket.job
            del stock.running[ticket]
            error = forget_traceback(job.abandon(stock.intake.why_not or _DEADLINE_PASSED))
            outcome = Failed(ticket.who, ticket.index, job.attempts, error, retries=job.retries)
            stock.finish(ticket, outcome, Verdict.MUTE, now, now, slow=False)
        self._stir()
        self._tell()
        if lost:
            warn_of_hanging(Counter({"ringme job": len(lost)}))

    def _is_over(self) -> bool:
        if self._crew.is_stopping:
            return self._crew.is_gone
        if self._feeder is not None and not (self._feeder.done() or self._is_input_abandoned):
            return False
        return self.stock.is_spent

    def _ending(self) -> BaseException:
        """Give what ended the run: an error, once, or the end of the iteration."""
        intake = self.stock.intake
        error = self._crew.error or intake.error
        self._crew.error = intake.error = None
        if isinstance(error, StopIteration | StopAsyncIteration):
            # Bare, it would pass for the end of the iteration.
            mistaken = RuntimeError(f"something in the run raised {type(error).__name__}")
            mistaken.__cause__ = error
            return mistaken
        return StopAsyncIteration() if error is None else error

    # Who is to be told.

    def _stir(self) -> None:
        self._feed_on()
        self._crew.stir()

    def _feed_on(self) -> None:
        if self._resting_feeder is not None and not self._resting_feeder.done():
            self._resting_feeder.set_result(None)

    def _tell(self) -> None:
        reader, self._waiting_reader = self._waiting_reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)

    def _set_wake(self) -> None:
        due = self.stock.sleepers.next_wake
        if due is not None:
            self._alarms.set("wake", due, self._wake)

    def _wake(self) -> None:
        self.stock.sleepers.wake(self.now())
        self._set_wake()
        self._stir()

    def _see_to_reach(self, now: float) -> None:
        if self.stock.is_at_its_reach and not self.stock.is_blocked:
            self._alarms.set("reach", now + _BETWEEN_REACHES, self._reach_further)

    def _reach_further(self) -> None:
        # With all slots taken, or not so many waiting any more, there is nobody to look for.
        if self.stock.is_at_its_reach and self._crew.has_idle_worker:
            self.stock.reach_further()
            self._stir()

    def _look(self) -> None:
        self.stock.sleepers.relax()
        self._stir()
