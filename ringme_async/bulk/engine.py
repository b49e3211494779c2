"""Runs the jobs of one input: pulls, starts, parks, wakes, and hands over outcomes.

A few workers take jobs one after the other and rest while nothing can start. Elements are pulled
only when a slot is free and nothing in hand can start, so that what was parked and woken comes
before new input. An async input has a task of its own, the feeder: its slowness holds no slot.

Tasks are begun by ``start`` and ended by ``stop`` alone, and no task group stands around the
consumer's code, so that the error that gets out of an ``async with`` is the consumer's own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final, Generic, TypeVar

from attrs import define, field

from ringme_async.bulk.alarms import Alarms
from ringme_async.bulk.crew import Crew
from ringme_async.bulk.intake import Intake, forget_traceback
from ringme_async.bulk.job import NotBefore
from ringme_async.bulk.outbox import Outbox
from ringme_async.bulk.outcome import Done, Failed, NotAttempted, Outcome
from ringme_async.bulk.progress import Pace
from ringme_async.bulk.report import Tally
from ringme_async.bulk.schedule import Schedule
from ringme_async.bulk.ticket import Ticket
from ringme_async.bulk.verdict import Tempo, Verdict, verdict_on
from ringme_async.errors import RingMeError

__all__ = ["Engine"]

V = TypeVar("V")

# A worker that pulls on and on must let others have their turn.
_PULLS_IN_A_ROW: Final = 256
_BETWEEN_LOOKS: Final = 1.0
_DEADLINE_PASSED: Final = "the run's deadline passed"
_INPUT_BROKE: Final = "the input of the run raised an error"


@define(eq=False)
class Engine(Generic[V]):
    """One run.

    Args:
        intake: The input.
        schedule: The jobs in hand.
        outbox: The outcomes that are finished and not read.
        max_waiting: How many jobs may be in hand and not in flight.
        deadline: Seconds for the run; None: no end.

    Attributes:
        running: The jobs in flight, and by which tasks.
        tally: The counts.
        pace: How fast it goes; None before the start.
    """

    intake: Intake[Any, V]
    schedule: Schedule[V]
    outbox: Outbox[V]
    max_waiting: int
    deadline: float | None
    running: dict[Ticket[V], asyncio.Task[None]] = field(
        factory=dict[Ticket[V], asyncio.Task[None]], init=False
    )
    tally: Tally = field(factory=Tally, init=False)
    pace: Pace | None = field(default=None, init=False)
    # Outcomes of what is malformed or will not be started any more, until there is room for them.
    _foregone: deque[Failed | NotAttempted] = field(
        factory=deque[Failed | NotAttempted], init=False
    )
    # By place in the input; kept only if outcomes are to be ordered.
    _in_hand: dict[int, Ticket[V]] = field(factory=dict[int, Ticket[V]], init=False)
    _tempo: Tempo = field(factory=Tempo, init=False)
    _alarms: Alarms = field(factory=Alarms, init=False)
    _feeder: asyncio.Task[None] | None = field(default=None, init=False)
    _resting_feeder: asyncio.Future[None] | None = field(default=None, init=False)
    _waiting_reader: asyncio.Future[None] | None = field(default=None, init=False)
    _needs_reader: bool = field(default=False, init=False)
    _loop: asyncio.AbstractEventLoop = field(init=False)
    _crew: Crew = field(init=False)

    # From outside.

    def start(self) -> None:
        """Begin, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._crew = Crew(self.schedule.limit, self._work, self._tell)
        self.intake.open()
        self.schedule.limit.call_on_rise(self._stir)
        now = self._loop.time()
        self.pace = Pace(now)
        if self.deadline is not None:
            self._alarms.set("deadline", now + self.deadline, self._expire)
        if self.intake.is_async:
            self._feeder = self._crew.spawn(self._feed())
        else:
            self._stir()

    async def stop(self) -> BaseException | None:
        """Cancel what is under way, and wait for its end.

        Returns:
            What ended the run before its time, unless ``next`` raised it.
        """
        self._alarms.cancel()
        self._crew.stop()
        try:
            await self._crew.join()
        finally:
            broken = self.intake.close()
        error, self._crew.error = self._crew.error, None
        return error or broken

    async def next(self) -> Outcome[V]:
        """Wait for an outcome.

        Raises:
            StopAsyncIteration: That was all.
            BaseException: What ended the run before its time, as it was raised.
        """
        while not self.outbox.readable:
            if self._is_over():
                raise self._ending()
            if self._waiting_reader is not None:
                raise RuntimeError("this run is being read by another task")
            self._waiting_reader = self._loop.create_future()
            try:
                await self._waiting_reader
            finally:
                self._waiting_reader = None
        outcome = self.outbox.take()
        if self._needs_reader:
            self._needs_reader = False
            self._stir()
        return outcome

    def now(self) -> float:
        """Give the time of the loop that it was started on; 0 before the start."""
        return 0.0 if self.pace is None else self._loop.time()

    @property
    def held(self) -> int:
        """How many elements were pulled and are neither in flight nor finished."""
        return self.schedule.held + len(self._foregone)

    @property
    def is_blocked(self) -> bool:
        """Whether nothing is pulled because as many as may be are held."""
        return not self.intake.ended and self.held >= self.max_waiting

    @property
    def is_complete(self) -> bool:
        """Whether the input was read to its end, and all of it has its outcome."""
        intake = self.intake
        return intake.ended and not intake.cut_short and self.tally.finished == intake.pulled

    # A worker.

    async def _work(self) -> None:
        task = asyncio.current_task()
        if task is None:  # pragma: no cover - this runs in a task of its own
            return
        while not self._crew.is_stopping:
            now = self._loop.time()
            ticket = self._take(now)
            if ticket is not None:
                self.running[ticket] = task
                if self._may_start_more():
                    self._stir()
                await self._perform(ticket, task, now)
            elif self._may_pull():
                await asyncio.sleep(0)
            else:
                await self._rest(now)

    async def _rest(self, now: float) -> None:
        self._feed_on()
        self._tell()
        if self.schedule.held > self.schedule.parked:
            self._alarms.set("look", now + _BETWEEN_LOOKS, self._look)
        await self._crew.rest()

    async def _perform(self, ticket: Ticket[V], task: asyncio.Task[None], started: float) -> None:
        job = ticket.job
        error: RingMeError | None = None
        outcome: Done[V] | Failed | NotBefore
        try:
            result = await job.run()
        except RingMeError as failure:
            error = forget_traceback(failure)
            outcome = Failed(ticket.who, ticket.index, job.attempts, error)
        except asyncio.CancelledError:
            if not self._was_abandoned(ticket, task):
                raise
            error = forget_traceback(job.abandon())
            outcome = Failed(ticket.who, ticket.index, job.attempts, error)
        else:
            if isinstance(result, NotBefore):
                outcome = result
            else:
                outcome = Done(ticket.who, ticket.index, job.attempts, result)
        finally:
            del self.running[ticket]
            if ticket.abandoned:
                self._was_abandoned(ticket, task)
        now = self._loop.time()
        if isinstance(outcome, NotBefore):
            self._park(ticket, outcome, now)
            return
        slow = self._tempo.is_slow(now - started)
        self.schedule.finish(ticket, verdict_on(error), slow=slow)
        self._hand_over(outcome, now)

    def _was_abandoned(self, ticket: Ticket[V], task: asyncio.Task[None]) -> bool:
        """Take back the deadline's cancellation, if there was one; it may not be the only one."""
        if not ticket.abandoned:
            return False
        ticket.abandoned = False
        return task.uncancel() == 0

    def _park(self, ticket: Ticket[V], until: NotBefore, now: float) -> None:
        if self.intake.why_not is not None:
            self.schedule.finish(ticket, Verdict.MUTE, slow=False)
            self._hand_over(self._forgo(ticket, self.intake.why_not), now)
            return
        self.schedule.put_back(ticket, until.at, now)
        if self.outbox.ordered:
            self._in_hand[ticket.index] = ticket
        self._set_wake()

    def _hand_over(self, outcome: Outcome[V], now: float) -> None:
        self.outbox.put(outcome)
        self.tally.add(outcome)
        if self.pace is not None and now >= self.pace.due:
            self.pace.look(now, self.tally.finished)
        self._tell()

    # What is next.

    def _take(self, now: float) -> Ticket[V] | None:
        """Start a job, pulling for it if need be."""
        if len(self.running) >= self.schedule.limit.value:
            return None
        if self._foregone:
            self._release_foregone(now)
        ticket = self._start_held(now) if self.schedule.held else None
        if ticket is not None or not self._may_pull():
            return ticket
        for _ in range(_PULLS_IN_A_ROW):
            ticket = self._accept(self.intake.pull(), now)
            if ticket is not None or not self._may_pull():
                return ticket
        return None

    def _start_held(self, now: float) -> Ticket[V] | None:
        ticket = self.schedule.next(now) if self._has_room_for(None) else self._start_head(now)
        if self.schedule.parked:
            self._set_wake()
        if ticket is not None and self.outbox.ordered:
            del self._in_hand[ticket.index]
        return ticket

    def _start_head(self, now: float) -> Ticket[V] | None:
        self._needs_reader = True
        head = self._in_hand.get(self.outbox.head)
        if head is None or not self._has_room_for(head.index):
            return None
        return head if self.schedule.take(head, now) else None

    def _release_foregone(self, now: float) -> None:
        while self._foregone:
            if not self._has_room_for(self._foregone[0].index):
                self._needs_reader = True
                return
            self._hand_over(self._foregone.popleft(), now)

    def _has_room_for(self, index: int | None) -> bool:
        """Whether one more may come about before some are read.

        In an ordered run the last room is kept for the one that has to be read next, as it alone
        can make room. None stands for any other.
        """
        outbox = self.outbox
        room = 2 * self.schedule.limit.value - len(self.running) - outbox.unread
        if not outbox.ordered:
            return room > 0
        if index != outbox.head:
            return room > 1
        return room > 0 or not outbox.readable

    def _may_start_more(self) -> bool:
        if len(self.running) >= self.schedule.limit.value:
            return False
        return self.schedule.is_ready or bool(self._foregone) or self._wants_more()

    # The input.

    def _may_pull(self) -> bool:
        return not self.intake.is_async and self._wants_more()

    def _wants_more(self) -> bool:
        intake = self.intake
        if intake.ended or self.held >= self.max_waiting:
            return False
        if len(self.running) >= self.schedule.limit.value:
            return False
        if self._has_room_for(intake.pulled):
            return True
        self._needs_reader = True
        return False

    def _accept(
        self, pulled: Ticket[V] | Failed | NotAttempted | None, now: float
    ) -> Ticket[V] | None:
        """Take in hand what was pulled; give it back if it was started."""
        if pulled is None:
            self._end_input()
        elif not isinstance(pulled, Ticket):
            self._foregone.append(pulled)
            self._release_foregone(now)
        elif self.schedule.admit(pulled, now):
            return pulled
        else:
            if self.outbox.ordered:
                self._in_hand[pulled.index] = pulled
            if self.schedule.parked:
                self._set_wake()
        return None

    def _end_input(self) -> None:
        if self.intake.error is not None:
            self._give_up(_INPUT_BROKE)
        self._tell()

    async def _feed(self) -> None:
        """Pull an async input, one element at a time, when somebody could start it."""
        in_a_row = 0
        try:
            while not self.intake.ended:
                if not (self._wants_more() and self._crew.has_idle_worker):
                    self._needs_reader = True
                    self._resting_feeder = self._loop.create_future()
                    await self._resting_feeder
                    continue
                self._file(await self.intake.fetch())
                if self.schedule.is_ready or self._foregone:
                    self._crew.stir()
                in_a_row += 1
                if in_a_row % _PULLS_IN_A_ROW == 0:
                    await asyncio.sleep(0)
        finally:
            await self._close_feed()

    def _file(self, pulled: Ticket[V] | Failed | NotAttempted | None) -> None:
        """Take in hand what was pulled, for a worker to start."""
        if pulled is None:
            self._end_input()
        elif not isinstance(pulled, Ticket):
            self._foregone.append(pulled)
        else:
            self.schedule.add(pulled)
            if self.outbox.ordered:
                self._in_hand[pulled.index] = pulled

    async def _close_feed(self) -> None:
        try:
            await self.intake.aclose()
        except Exception as error:
            if self._crew.is_stopping:
                raise
            self.intake.error = self.intake.error or error

    # The end.

    def _expire(self) -> None:
        self._give_up(_DEADLINE_PASSED)
        for ticket, task in self.running.items():
            ticket.abandoned = True
            task.cancel()
        self.intake.hurry()

    def _give_up(self, reason: str) -> None:
        """Start nothing more: what is in hand ends as not attempted."""
        reason = self.intake.why_not = self.intake.why_not or reason
        self._in_hand.clear()
        held = [self._forgo(ticket, reason) for ticket in self.schedule.flush()]
        self._foregone = deque(sorted([*self._foregone, *held], key=lambda one: one.index))
        self._stir()

    def _forgo(self, ticket: Ticket[V], reason: str) -> Failed | NotAttempted:
        job = ticket.job
        if job.attempts:
            error = job.abandon()
            if error.maybe_applied:
                return Failed(ticket.who, ticket.index, job.attempts, forget_traceback(error))
        return NotAttempted(ticket.who, ticket.index, job.attempts, reason)

    def _is_over(self) -> bool:
        if self._crew.is_stopping:
            return self._crew.is_gone
        if self._feeder is not None and not self._feeder.done():
            return False
        return self.intake.ended and not self.running and not self.held

    def _ending(self) -> BaseException:
        """Give what ended the run: an error, once, or the end of the iteration."""
        error = self._crew.error or self.intake.error
        self._crew.error = self.intake.error = None
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
        if self._waiting_reader is not None and not self._waiting_reader.done():
            self._waiting_reader.set_result(None)

    def _set_wake(self) -> None:
        due = self.schedule.next_wake
        if due is not None:
            self._alarms.set("wake", due, self._wake)

    def _wake(self) -> None:
        self.schedule.wake(self._loop.time())
        self._set_wake()
        self._stir()

    def _look(self) -> None:
        self.schedule.relax()
        self._stir()
