"""What a run has in hand: what waits, what is in flight, what is finished and not read.

It says what is next, and keeps the books; it knows no tasks and no clock.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar

from attrs import define, field

from ringme_async.bulk.fair_queue import FairQueue
from ringme_async.bulk.feedback import Feedback
from ringme_async.bulk.groups import HostGroup, QueuedJob
from ringme_async.bulk.job_source import JobSource, forget_traceback
from ringme_async.bulk.outcome import Done, Failed, NotAttempted, Outcome
from ringme_async.bulk.probing import ProbeOf, Probing
from ringme_async.bulk.progress import ThroughputMeter
from ringme_async.bulk.report import OutcomeCounter
from ringme_async.bulk.result_queue import ResultQueue
from ringme_async.bulk.suspects import Suspects
from ringme_async.bulk.wake_ups import WakeUps

__all__ = ["RunState"]

V = TypeVar("V")

# Whoever pulls on and on must let others have their turn.
PULLS_IN_A_ROW: Final = 256
_FIRST_REACH: Final = 256
_INPUT_BROKE: Final = "the input of the run raised an error"


@define(eq=False)
class RunState(Generic[V]):
    """The elements of a run on their way from the input to the outbox.

    Args:
        intake: The input.
        schedule: The jobs in hand.
        outbox: The outcomes that are finished and not read.
        max_waiting: How many jobs may be in hand and not in flight.
        outwaits: Whether what fails while its host is down comes again.
        probe_of: Makes a probe for the tenant of a job that was done; None: no such probes.

    Attributes:
        running: The jobs in flight, and by which tasks.
        probing: The hosts that are asked whether they are there.
        suspects: The failures that may be their hosts'.
        sleepers: What goes on at a known moment.
        tally: The counts.
        pace: How fast it goes.
        needs_reader: Whether something could go on if an outcome were read.
        reach: How many jobs may be in hand that wait, and are not parked. Most of them wait for
            a moment only, as nobody is let all the slots at once, and need nobody to be looked
            for beyond them.
    """

    source: JobSource[Any, V]
    queue: FairQueue[V]
    results: ResultQueue[V]
    max_waiting: int
    outwaits: bool = False
    probe_of: ProbeOf | None = None
    probing: Probing[V] = field(init=False)
    suspects: Suspects[V] = field(init=False)
    wake_ups: WakeUps[V] = field(init=False)
    running: dict[QueuedJob[V], asyncio.Task[None]] = field(
        factory=dict[QueuedJob[V], asyncio.Task[None]], init=False
    )
    counts: OutcomeCounter = field(factory=OutcomeCounter, init=False)
    throughput: ThroughputMeter = field(factory=ThroughputMeter, init=False)
    needs_reader: bool = field(default=False, init=False)
    reach: int = field(default=_FIRST_REACH, init=False)
    # Outcomes of what is malformed, failed by itself or will not be started any more, until there is
    # room for them.
    _foregone: deque[Failed | NotAttempted] = field(
        factory=deque[Failed | NotAttempted], init=False
    )
    # By place in the input; kept only if outcomes are to be ordered.
    _in_hand: dict[int, QueuedJob[V]] = field(factory=dict[int, QueuedJob[V]], init=False)

    def __attrs_post_init__(self) -> None:
        self.probing = Probing(self.queue, self.probe_of)
        self.wake_ups = WakeUps(self.queue, self.probing)
        self.suspects = Suspects(
            self.queue, self.probing, self._let_come_again, self._report, self._drop
        )

    @property
    def held(self) -> int:
        """How many elements were pulled and are neither in flight nor finished."""
        return self.queue.held + len(self._foregone) + self.suspects.held

    @property
    def in_flight(self) -> int:
        """How many elements are in flight; probes of witnesses are none."""
        return len(self.running) - len(self.probing.under_way)

    @property
    def is_blocked(self) -> bool:
        """Whether nothing is pulled because as many as may be are held."""
        return not self.source.ended and self.held >= self.max_waiting

    @property
    def is_spent(self) -> bool:
        """Whether nothing is to come any more but what is in the outbox."""
        return self.source.ended and not self.in_flight and not self.held

    @property
    def is_complete(self) -> bool:
        """Whether the input was read to its end, and all of it has its outcome."""
        source = self.source
        return source.ended and not source.cut_short and self.counts.finished == source.pulled

    # What is next.

    def take(self, now: float) -> QueuedJob[V] | None:
        """Start a job, pulling for it if need be."""
        if len(self.running) >= self.queue.limit.value:
            return None
        if self._foregone:
            self._release_foregone(now)
        if self.probing.asking and (probe := self._start_probe(now)) is not None:
            return probe
        queued = self._start_held(now) if self.queue.held else None
        if queued is None and not self.source.is_async:
            queued = self._start_new(now)
        if queued is None and self.probing.asking:
            # Fresh tenants were looked for in the input first.
            queued = self._start_probe(now)
        return queued

    def may_start_more(self) -> bool:
        """Whether it is likely that ``take`` would give one more."""
        if len(self.running) >= self.queue.limit.value:
            return False
        return self.is_ready or self.wants_more()

    @property
    def is_ready(self) -> bool:
        """Whether it is likely that something in hand can go on."""
        return self.queue.is_ready or bool(self._foregone)

    def may_pull(self) -> bool:
        """Whether ``take`` would pull."""
        return not self.source.is_async and self.wants_more()

    def wants_more(self) -> bool:
        """Whether there is a free slot, and a place for one more element."""
        source, slots = self.source, self.queue.limit.value
        if source.ended or len(self.running) >= slots:
            return False
        held = self.held
        if held and (held >= self.max_waiting or self.is_at_its_reach):
            return False
        if self._has_room_for(source.pulled):
            return True
        self.needs_reader = True
        return False

    @property
    def is_at_its_reach(self) -> bool:
        """Whether nothing more is pulled because as many as are looked at wait.

        A fresh tenant to ask is looked for in all that may be held: the first thousands may be one
        block of broken tenants.
        """
        queue = self.queue
        if queue.held - queue.parked < self.reach and not self._is_held_up_briefly:
            return False
        return not any(host.breaker.needs_fresh for host in self.probing.asking)

    @property
    def _is_held_up_briefly(self) -> bool:
        """Whether jobs that wait for an answer about their quota would fill the slots.

        Most such waits end with the first answer. So the input is read beyond them only after the
        first look further: a run of two slots must not pull hundreds of elements at once.
        """
        if self.reach > _FIRST_REACH:
            return False
        on_hold = self.queue.waiting_for_quota
        return on_hold > 0 and len(self.running) + on_hold >= self.queue.limit.value

    def reach_further(self) -> None:
        """Look at twice as many, as none of these has been able to go on."""
        self.reach *= 2

    # What comes in.

    def file(self, pulled: QueuedJob[V] | Failed | NotAttempted | None) -> None:
        """Take in hand what was pulled; it is started later. None: that was all."""
        if pulled is None:
            self._end_input()
        elif not isinstance(pulled, QueuedJob):
            self._foregone.append(pulled)
        else:
            self.queue.add(pulled)
            self.probing.feed()
            if self.results.ordered:
                self._in_hand[pulled.index] = pulled

    # What goes out.

    def hand_over(self, outcome: Outcome[V], now: float) -> None:
        """Let an outcome be read."""
        self.results.put(outcome)
        self.counts.add(outcome)
        if now >= self.throughput.due:
            self.throughput.look(now, self.counts.finished)

    def finish(
        self,
        queued: QueuedJob[V],
        outcome: Done[V] | Failed,
        feedback: Feedback,
        started: float,
        now: float,
        *,
        slow: bool,
    ) -> None:
        """Take in how a job ended, and let it be read unless its host may be down."""
        is_held = False
        if self.outwaits and self.source.why_not is None:
            is_held = self.suspects.take_in(queued, outcome, feedback, started, now, slow=slow)
        if queued.is_probe:
            self.probing.end(queued)
        elif not is_held:
            self.queue.finish(queued, feedback, slow=slow)
            self.hand_over(outcome, now)
        if self._foregone:
            self._release_foregone(now)

    @property
    def is_in_doubt(self) -> bool:
        """Whether failures wait for what comes next, and nothing will come.

        What is read makes room for more to come.
        """
        if not self.suspects.held or self.results.readable:
            return False
        return not self.in_flight and not (self.running and self.probing.asking)

    def end_doubt(self, now: float) -> None:
        """Let these failures be read."""
        self.suspects.end_doubt()
        self._release_foregone(now)

    def park(self, queued: QueuedJob[V], until: float, now: float) -> None:
        """Take back a job that was in flight and whose quota is used up."""
        if queued.is_probe:
            self.probing.end(queued).breaker.drop_probe(queued)
            return
        if self.source.why_not is not None:
            self.queue.finish(queued, Feedback.NEUTRAL, slow=False)
            self.hand_over(self._forgo(queued, self.source.why_not), now)
            return
        queued.tenant.owner.host.breaker.drop_probe(queued)
        self.queue.put_back(queued, until, now)
        if self.results.ordered:
            self._in_hand[queued.index] = queued

    def give_up(self, reason: str) -> None:
        """Start nothing more: what is held ends as not attempted."""
        reason = self.source.why_not = self.source.why_not or reason
        self._in_hand.clear()
        self.suspects.end()
        self._report([self._forgo(queued, reason) for queued in self.queue.flush()])

    # Hosts that may be down.

    def _start_probe(self, now: float) -> QueuedJob[V] | None:
        for host in list(self.probing.asking):
            breaker = host.breaker
            if breaker.wants_probe:
                if breaker.needs_fresh and self.may_pull():
                    continue
                queued = self._probe(host, now)
                if queued is not None:
                    return queued
                if self.results.readable and not self._has_room_for(None):
                    self.needs_reader = True
                    continue
                breaker.is_starved = True
            self.suspects.open(host, now)
        return None

    def _probe(self, host: HostGroup[V], now: float) -> QueuedJob[V] | None:
        head = self._in_hand.get(self.results.head)
        if head is not None and not self._has_room_for(head.index):
            head = None
        queued = self.probing.start(host, now, has_room=self._has_room_for(None), head=head)
        if queued is not None and not queued.is_probe and self.results.ordered:
            del self._in_hand[queued.index]
        return queued

    def _let_come_again(self, queued: QueuedJob[V]) -> None:
        self.queue.take_back(queued)
        if self.results.ordered:
            self._in_hand[queued.index] = queued

    # Within.

    def _admit(
        self, pulled: QueuedJob[V] | Failed | NotAttempted | None, now: float
    ) -> QueuedJob[V] | None:
        """Take in hand what was pulled; give it back if it was started at once."""
        if not isinstance(pulled, QueuedJob):
            self.file(pulled)
            self._release_foregone(now)
            return None
        if self.queue.admit(pulled, now):
            return pulled
        if self.probing.asking:
            self.probing.feed()
        if self.results.ordered:
            self._in_hand[pulled.index] = pulled
        return None

    def _end_input(self) -> None:
        if self.source.error is not None:
            self.give_up(_INPUT_BROKE)

    def _start_new(self, now: float) -> QueuedJob[V] | None:
        for _ in range(PULLS_IN_A_ROW):
            if not self.wants_more():
                break
            queued = self._admit(self.source.pull(), now)
            if queued is not None:
                return queued
        return None

    def _start_held(self, now: float) -> QueuedJob[V] | None:
        queued = self.queue.next(now) if self._has_room_for(None) else self._start_head(now)
        if queued is not None and self.results.ordered:
            del self._in_hand[queued.index]
        return queued

    def _start_head(self, now: float) -> QueuedJob[V] | None:
        self.needs_reader = True
        head = self._in_hand.get(self.results.head)
        if head is None or not self._has_room_for(head.index):
            return None
        return head if self.queue.take(head, now) else None

    def _release_foregone(self, now: float) -> None:
        while self._foregone:
            if not self._has_room_for(self._foregone[0].index):
                self.needs_reader = True
                return
            self.hand_over(self._foregone.popleft(), now)

    def _has_room_for(self, index: int | None) -> bool:
        """Whether one more may come about before some are read.

        In an ordered run the last room is kept for the one that has to be read next, as it alone
        can make room. None stands for any other.
        """
        results = self.results
        in_flight = len(self.running) - len(self.probing.under_way)
        room = 2 * self.queue.limit.value - in_flight - results.unread
        if not results.ordered:
            return room > 0
        if index != results.head:
            return room > 1
        return room > 0 or not results.readable

    def _drop(self, queued_jobs: Sequence[QueuedJob[V]], reason: str) -> None:
        """Let jobs end that waited for a host: as they failed, or not attempted."""
        for queued in queued_jobs:
            self._in_hand.pop(queued.index, None)
        self._report([queued.failure or self._forgo(queued, reason) for queued in queued_jobs])

    def _report(self, outcomes: Sequence[Failed | NotAttempted]) -> None:
        """Let outcomes be read once there is room for them."""
        if outcomes:
            self._foregone = deque(sorted([*self._foregone, *outcomes], key=lambda one: one.index))

    def _forgo(self, queued: QueuedJob[V], reason: str) -> Failed | NotAttempted:
        job = queued.job
        if job.attempts:
            error = job.abandon(reason)
            if error.maybe_applied:
                return Failed(
                    queued.who,
                    queued.index,
                    job.attempts,
                    forget_traceback(error),
                    retries=job.retries,
                )
        return NotAttempted(queued.who, queued.index, job.attempts, reason, retries=job.retries)
