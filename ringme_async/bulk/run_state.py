"""The state of a run: which elements wait, are in flight, or are finished and unread.

It decides what starts next, and counts. It knows no tasks and no clock.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from attrs import define, field

from ringme_async.bulk.adaptive_limit import CapacityLimit
from ringme_async.bulk.fair_queue import FairQueue
from ringme_async.bulk.feedback import Evidence, Feedback
from ringme_async.bulk.groups import HostGroup, QueuedJob
from ringme_async.bulk.job_source import JobSource, forget_traceback
from ringme_async.bulk.outcome import Done, Failed, NotAttempted, Outcome
from ringme_async.bulk.probing import ProbeOf, Probing
from ringme_async.bulk.progress import ThroughputMeter
from ringme_async.bulk.report import OutcomeCounter
from ringme_async.bulk.result_queue import ResultQueue
from ringme_async.bulk.suspects import Suspects

__all__ = ["RunState"]

V = TypeVar("V")

# Yield to the event loop after this many pulls.
PULLS_IN_A_ROW: Final = 256
_FIRST_READ_AHEAD: Final = 256
_INPUT_BROKE: Final = "the input of the run raised an error"


@define(eq=False)
class RunState(Generic[V]):
    """The elements of a run, on their way from the input to the reader.

    Args:
        source: The input.
        queue: The unfinished jobs.
        results: The finished outcomes that were not read yet.
        max_waiting: How many elements may be pulled and not in flight.
        waits_out_outages: Whether a job that fails while its host is down runs again.
        probe_of: Makes a probe for the tenant of a finished job; None: no such probes.

    Attributes:
        running: The jobs in flight, and the task of each.
        probing: The hosts that are being probed.
        suspects: The failures that may be their hosts'.
        counts: The counts of outcomes.
        throughput: How fast the run goes.
        needs_reader: Whether a job could start if the reader took an outcome.
        read_ahead: How many jobs may wait without being parked. Most wait only for a moment, while
            their credential earns its slots, so the run need not pull others yet.
    """

    source: JobSource[Any, V]
    queue: FairQueue[V]
    results: ResultQueue[V]
    max_waiting: int
    waits_out_outages: bool = False
    probe_of: ProbeOf | None = None
    probing: Probing[V] = field(init=False)
    suspects: Suspects[V] = field(init=False)
    running: dict[QueuedJob[V], asyncio.Task[None]] = field(
        factory=dict[QueuedJob[V], asyncio.Task[None]], init=False
    )
    counts: OutcomeCounter = field(factory=OutcomeCounter, init=False)
    throughput: ThroughputMeter = field(factory=ThroughputMeter, init=False)
    needs_reader: bool = field(default=False, init=False)
    read_ahead: int = field(default=_FIRST_READ_AHEAD, init=False)
    # Outcomes of elements that are malformed, failed with their host or will not run: they wait
    # for room.
    _deferred: deque[Failed | NotAttempted] = field(
        factory=deque[Failed | NotAttempted], init=False
    )
    # By place in the input; kept only in an ordered run.
    _waiting_by_index: dict[int, QueuedJob[V]] = field(factory=dict[int, QueuedJob[V]], init=False)

    def __attrs_post_init__(self) -> None:
        self.probing = Probing(self.queue, self.probe_of)
        self.suspects = Suspects(self.queue, self.probing, self._retry, self._defer, self._drop)

    def open(self, now: float, wake: Callable[[], None]) -> None:
        """Start to pull and to count; ``wake`` is called when a job may start that could not."""
        self.source.open()
        self.limit.call_on_rise(wake)
        self.queue.call_on_free(wake)
        self.throughput.start(now)

    def end_holds(self) -> None:
        """Stop waiting for free requests of credentials."""
        self.queue.end_holds()

    @property
    def limit(self) -> CapacityLimit:
        """The number of slots."""
        return self.queue.limit

    @property
    def has_waiting(self) -> bool:
        """Whether a job waits that is not parked."""
        return self.queue.held > self.queue.parked

    @property
    def held(self) -> int:
        """How many pulled elements are neither in flight nor finished."""
        return self.queue.held + len(self._deferred) + self.suspects.held

    @property
    def in_flight(self) -> int:
        """How many elements are in flight; witnesses' probes do not count."""
        return len(self.running) - len(self.probing.witness_probes)

    @property
    def is_blocked(self) -> bool:
        """Whether nothing is pulled because ``max_waiting`` elements are held."""
        return not self.source.ended and self.held >= self.max_waiting

    @property
    def is_exhausted(self) -> bool:
        """Whether no further outcome will come, except the unread ones."""
        return self.source.ended and not self.in_flight and not self.held

    @property
    def is_complete(self) -> bool:
        """Whether the input was read to its end, and every element has its outcome."""
        source = self.source
        return source.ended and not source.cut_short and self.counts.finished == source.pulled

    # What is next.

    def start_next(self, now: float) -> QueuedJob[V] | None:
        """Start a job; pull one if no held job can start. None: no job can start now."""
        if len(self.running) >= self.queue.limit.value:
            return None
        if self._deferred:
            self._deliver_deferred(now)
        if self.probing.hosts_to_probe and (probe := self._start_probe(now)) is not None:
            return probe
        queued = self._start_held(now) if self.queue.held else None
        if queued is None and not self.source.is_async:
            queued = self._start_new(now)
        if queued is None and self.probing.hosts_to_probe:
            # The pull came first, as it may have found a fresh tenant.
            queued = self._start_probe(now)
        return queued

    def may_start_more(self) -> bool:
        """Whether ``start_next`` would probably start one more."""
        if len(self.running) >= self.queue.limit.value:
            return False
        return self.is_ready or self.wants_more()

    @property
    def is_ready(self) -> bool:
        """Whether a held element can probably go on."""
        return self.queue.is_ready or bool(self._deferred)

    def may_pull(self) -> bool:
        """Whether ``start_next`` would pull."""
        return not self.source.is_async and self.wants_more()

    def wants_more(self) -> bool:
        """Whether a slot is free, and one more element may be held."""
        source, slots = self.source, self.queue.limit.value
        if source.ended or len(self.running) >= slots:
            return False
        held = self.held
        if held and (held >= self.max_waiting or self.is_read_ahead_full):
            return False
        if self._has_room_for(source.pulled):
            return True
        self.needs_reader = True
        return False

    @property
    def is_read_ahead_full(self) -> bool:
        """Whether nothing is pulled because ``read_ahead`` jobs wait.

        The search for a fresh tenant to probe may go on to ``max_waiting``: the first thousands may
        be one block of broken tenants.
        """
        queue = self.queue
        if queue.held - queue.parked < self.read_ahead and not self._is_held_briefly:
            return False
        return not any(host.breaker.needs_fresh for host in self.probing.hosts_to_probe)

    @property
    def _is_held_briefly(self) -> bool:
        """Whether the first answer is likely to fill the slots that are free.

        A credential on hold has one more job to start as soon as its first answer comes. So a run of
        two slots must not read hundreds of elements ahead at once.
        """
        if self.read_ahead > _FIRST_READ_AHEAD:
            return False
        on_hold = self.queue.credentials_on_hold
        return on_hold > 0 and len(self.running) + on_hold >= self.queue.limit.value

    def double_read_ahead(self) -> None:
        """Double the read-ahead, as none of the waiting jobs could start."""
        self.read_ahead *= 2

    # What comes in.

    def add(self, pulled: QueuedJob[V] | Failed | NotAttempted | None) -> None:
        """Queue what was pulled, to be started later; None: the input has ended."""
        if pulled is None:
            if self.source.error is not None:
                self.give_up(_INPUT_BROKE)
        elif not isinstance(pulled, QueuedJob):
            self._deferred.append(pulled)
        else:
            self.queue.add(pulled)
            self.probing.clear_starved()
            if self.results.ordered:
                self._waiting_by_index[pulled.index] = pulled

    # What goes out.

    def deliver(self, outcome: Outcome[V], now: float) -> None:
        """Put an outcome into the results."""
        self.results.put(outcome)
        self.counts.add(outcome)
        if now >= self.throughput.due:
            self.throughput.update(now, self.counts.finished)

    def finish(
        self,
        queued: QueuedJob[V],
        outcome: Done[V] | Failed,
        evidence: Evidence,
        started: float,
        now: float,
        *,
        slow: bool,
    ) -> None:
        """Record how a job ended; deliver its outcome, unless its host may be down."""
        is_held = False
        if self.waits_out_outages and self.source.why_not is None:
            is_held = self.suspects.record(queued, outcome, evidence, started, now, slow=slow)
        if queued.is_probe:
            self.probing.end_witness_probe(queued)
        elif not is_held:
            self.queue.finish(queued, evidence.feedback, slow=slow)
            self.deliver(outcome, now)
        if self._deferred:
            self._deliver_deferred(now)

    @property
    def is_stuck_on_suspects(self) -> bool:
        """Whether failures wait for more evidence, and nothing is in flight that could bring it.

        With unread outcomes it is not: once they are read, more jobs can start.
        """
        if not self.suspects.held or self.results.readable:
            return False
        return not self.in_flight and not (self.running and self.probing.hosts_to_probe)

    def release_suspects(self, now: float) -> None:
        """Report the held failures as the elements' own."""
        self.suspects.release_all()
        self._deliver_deferred(now)

    def park(self, queued: QueuedJob[V], until: float, now: float) -> None:
        """Queue a job again that was in flight, as its quota is used up."""
        if queued.is_probe:
            self.probing.end_witness_probe(queued).breaker.drop_probe(queued)
            return
        if self.source.why_not is not None:
            self.queue.finish(queued, Feedback.NEUTRAL, slow=False)
            self.deliver(self._dropped_outcome(queued, self.source.why_not), now)
            return
        queued.tenant.owner.host.breaker.drop_probe(queued)
        self.queue.park(queued, until, now)
        if self.results.ordered:
            self._waiting_by_index[queued.index] = queued

    def give_up(self, reason: str) -> None:
        """Start nothing more: held elements end as not attempted."""
        reason = self.source.why_not = self.source.why_not or reason
        self._waiting_by_index.clear()
        self.suspects.close_all()
        self._defer([self._dropped_outcome(queued, reason) for queued in self.queue.flush()])

    # Hosts that may be down.

    def _start_probe(self, now: float) -> QueuedJob[V] | None:
        for host in list(self.probing.hosts_to_probe):
            breaker = host.breaker
            if breaker.wants_probe:
                if breaker.needs_fresh and self.may_pull():
                    continue
                queued = self._start_probe_of(host, now)
                if queued is not None:
                    return queued
                if self.results.readable and not self._has_room_for(None):
                    self.needs_reader = True
                    continue
                breaker.is_starved = True
            self.suspects.open(host, now)
        return None

    def _start_probe_of(self, host: HostGroup[V], now: float) -> QueuedJob[V] | None:
        next_in_order = self._waiting_by_index.get(self.results.next_index)
        can_be_read = next_in_order is not None and self._has_room_for(next_in_order.index)
        queued = self.probing.start(
            host,
            now,
            has_room=self._has_room_for(None),
            next_in_order=next_in_order if can_be_read else None,
        )
        if queued is not None and not queued.is_probe and self.results.ordered:
            del self._waiting_by_index[queued.index]
        return queued

    def _retry(self, queued: QueuedJob[V]) -> None:
        self.queue.wait_again(queued)
        if self.results.ordered:
            self._waiting_by_index[queued.index] = queued

    # Within.

    def _start_or_add(
        self, pulled: QueuedJob[V] | Failed | NotAttempted | None, now: float
    ) -> QueuedJob[V] | None:
        """Start a pulled element or queue it; return its job if it was started."""
        if not isinstance(pulled, QueuedJob):
            self.add(pulled)
            self._deliver_deferred(now)
            return None
        if self.queue.start_or_add(pulled, now):
            return pulled
        if self.probing.hosts_to_probe:
            self.probing.clear_starved()
        if self.results.ordered:
            self._waiting_by_index[pulled.index] = pulled
        return None

    def _start_new(self, now: float) -> QueuedJob[V] | None:
        for _ in range(PULLS_IN_A_ROW):
            if not self.wants_more():
                break
            queued = self._start_or_add(self.source.pull(), now)
            if queued is not None:
                return queued
        return None

    def _start_held(self, now: float) -> QueuedJob[V] | None:
        queued = (
            self.queue.start_next(now)
            if self._has_room_for(None)
            else self._start_next_in_order(now)
        )
        if queued is not None and self.results.ordered:
            del self._waiting_by_index[queued.index]
        return queued

    def _start_next_in_order(self, now: float) -> QueuedJob[V] | None:
        self.needs_reader = True
        next_in_order = self._waiting_by_index.get(self.results.next_index)
        if next_in_order is None or not self._has_room_for(next_in_order.index):
            return None
        return next_in_order if self.queue.start(next_in_order, now) else None

    def _deliver_deferred(self, now: float) -> None:
        while self._deferred:
            if not self._has_room_for(self._deferred[0].index):
                self.needs_reader = True
                return
            self.deliver(self._deferred.popleft(), now)

    def _has_room_for(self, index: int | None) -> bool:
        """Whether one more outcome may come about before some are read.

        An ordered run keeps the last room for the next outcome in order, as only that one can be
        read and so make room. None stands for any other index.
        """
        results = self.results
        in_flight = len(self.running) - len(self.probing.witness_probes)
        room = 2 * self.queue.limit.value - in_flight - results.unread
        if not results.ordered:
            return room > 0
        if index != results.next_index:
            return room > 1
        return room > 0 or not results.readable

    def _drop(self, queued_jobs: Sequence[QueuedJob[V]], reason: str) -> None:
        """End jobs that waited for a host: as they failed, or as not attempted."""
        for queued in queued_jobs:
            self._waiting_by_index.pop(queued.index, None)
        self._defer(
            [queued.failure or self._dropped_outcome(queued, reason) for queued in queued_jobs]
        )

    def _defer(self, outcomes: Sequence[Failed | NotAttempted]) -> None:
        """Deliver outcomes as soon as there is room for them."""
        if outcomes:
            self._deferred = deque(sorted([*self._deferred, *outcomes], key=lambda one: one.index))

    def _dropped_outcome(self, queued: QueuedJob[V], reason: str) -> Failed | NotAttempted:
        job = queued.job
        who, index, attempts = queued.who, queued.index, job.attempts
        if attempts:
            error = forget_traceback(job.abandon(reason))
            if error.maybe_applied:
                return Failed(who, index, attempts, error, retries=job.retries)
        return NotAttempted(who, index, attempts, reason, retries=job.retries)
