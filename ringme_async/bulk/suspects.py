"""Failures that may be their hosts', held until the circuit breakers decide.

A held failure takes no slot and none of the reader's room, however many hosts fail at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from attrs import define, field

from ringme_async.bulk.circuit_breaker import Action
from ringme_async.bulk.fair_queue import FairQueue
from ringme_async.bulk.feedback import Evidence, HostSign
from ringme_async.bulk.groups import HostGroup, QueuedJob
from ringme_async.bulk.outcome import Done, Failed
from ringme_async.bulk.probing import Probing

__all__ = ["Suspects"]

V = TypeVar("V")

# Before Python 3.12 each access to an Enum's member calls a method.
_UP: Final = HostSign.UP


@define(eq=False)
class Suspects(Generic[V]):
    """The hosts of a run that have failed since their last answer.

    Args:
        queue: The unfinished jobs.
        probing: The hosts that are being probed.
        retry: Queues a held job again.
        report: Delivers held failures.
        drop: Ends waiting jobs for a reason: as they failed, or as not attempted.

    Attributes:
        held: How many failures are held.
    """

    queue: FairQueue[V]
    probing: Probing[V]
    retry: Callable[[QueuedJob[V]], None]
    report: Callable[[Sequence[Failed]], None]
    drop: Callable[[Sequence[QueuedJob[V]], str], None]
    held: int = field(default=0, init=False)
    _hosts: dict[HostGroup[V], None] = field(factory=dict[HostGroup[V], None], init=False)

    @property
    def hosts_down(self) -> int:
        """How many hosts are down, and are waited for."""
        return sum(host.breaker.is_down for host in self._hosts)

    def record(
        self,
        queued: QueuedJob[V],
        outcome: Done[V] | Failed,
        evidence: Evidence,
        started: float,
        now: float,
        *,
        slow: bool,
    ) -> bool:
        """Learn from the end of a job whether its host is up.

        Returns:
            Whether its failure is held.
        """
        host = self.probing.witness_probes[queued] if queued.is_probe else queued.tenant.owner.host
        breaker = host.breaker
        if not isinstance(outcome, Failed) or evidence.host is _UP:
            action = breaker.record_answer(queued, now)
            if action is not None:
                self._end_suspicion(action, host, now)
            return False
        if evidence.host is HostSign.UNKNOWN:
            breaker.drop_probe(queued)
            return False
        if queued.is_probe:
            breaker.record_witness_failure(queued, outcome.error, started)
        else:
            self.queue.hold_suspect(queued, evidence.feedback, slow=slow)
            if breaker.began_in_outage(started):
                self.retry(queued)
                return True
            self._hosts[host] = None
            self.held += 1
            breaker.record_failure(queued, outcome, started)
        self._apply(breaker.decide(queued, started, now), host)
        self._suspect_others()
        return True

    def open(self, host: HostGroup[V], now: float) -> None:
        """Open a host's breaker if no tenant is left to probe, and no probe is in flight."""
        if host.breaker.should_open:
            self._apply(host.breaker.open(now), host)

    def release_all(self) -> None:
        """Report the held failures: no more evidence will come."""
        for host in self._hosts:
            self._release(host)
        for host in [host for host in self._hosts if not host.breaker.is_down]:
            host.breaker.close()
            self.probing.update(host)

    def close_all(self) -> None:
        """Report the held failures and let all hosts go on: the run starts nothing more."""
        for host in self._hosts:
            self._release(host)
            host.breaker.close()
            self.probing.update(host)
        self._hosts.clear()

    def _end_suspicion(self, action: Action, host: HostGroup[V], now: float) -> None:
        """Apply the answer of a host that had failed."""
        self._hosts.pop(host, None)
        if host.breaker.recovered_at == now:
            host.allowance = 1
        self._apply(action, host)

    def _suspect_others(self) -> None:
        """Suspect all hosts that have failed while none answers, however few their failures."""
        if self.queue.network.is_enough:
            for host in self._hosts:
                if host.breaker.suspect_with_network():
                    self.probing.update(host)

    def _apply(self, action: Action, host: HostGroup[V]) -> None:
        """Do with a host's suspects what its breaker decided."""
        self.probing.update(host)
        match action:
            case Action.HOLD:
                pass
            case Action.RELEASE:
                self._release(host)
            case Action.RETRY:
                for suspect in self._take_suspects(host):
                    self.retry(suspect)
            case _:
                self._give_up(host, include_untried=action is Action.CLEAR_OUT)

    def _release(self, host: HostGroup[V]) -> None:
        """Report a host's suspects as failed."""
        suspects = self._take_suspects(host)
        for suspect in suspects:
            self.queue.forget(suspect)
        self.report([suspect.failure for suspect in suspects if suspect.failure is not None])

    def _give_up(self, host: HostGroup[V], *, include_untried: bool) -> None:
        """Report what failed; drop what waits, too, if no tenant of the host can be served."""
        self._release(host)
        waiting = self.queue.drop_waiting(host, include_untried=include_untried)
        self.drop(waiting, f"its host does not answer: {host.breaker.why}")

    def _take_suspects(self, host: HostGroup[V]) -> list[QueuedJob[V]]:
        suspects = host.breaker.take_suspects()
        self.held -= len(suspects)
        return suspects
