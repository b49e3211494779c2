"""The circuit breaker of one host: did the host fail, or the elements themselves?

A failure that may be the host's (no connection, no answer, a 5xx) is a *suspect*. The breaker holds
it until more is known. Any answer from the host proves the suspects to be the elements' own.

Ten failures in a row, from five tenants, raise a suspicion. A block of broken tenants looks the
same, so the breaker first probes tenants without a failure:

* *witnesses* have answered in this run: each gets a probe that changes nothing;
* *fresh* tenants wait and have not been tried: their own jobs run.

The breaker opens only if these fail, too. It is half-open after 1 s, 2 s, 4 s and so on, at most
60 s, for one probe each time. The first answer closes it.

The breaker knows no tasks and no clock. Its callers pass the time in and apply its ``Action``.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable
from enum import Enum
from typing import Final, Generic, Protocol, TypeVar

from attrs import define, field

from ringme_async.bulk.failure_row import FailureRow
from ringme_async.bulk.outcome import Failed
from ringme_async.errors import ConnectError, DeadlineExceeded, RingMeError, TransportError

__all__ = ["Action", "CircuitBreaker", "State"]

_WITNESSES: Final = 3
_PROBES_BEFORE_OPENING: Final = 5
# Else a run in which nine tenants of ten are broken would give its host up.
_PROBES_OF_AN_UNKNOWN_HOST: Final = 20
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_PATIENCE: Final = 1800.0
# A host that has never answered may have a misspelt name.
_PATIENCE_WITHOUT_ANSWER: Final = 60.0


class CandidateTenant(Protocol):
    """What the breaker needs to know of a tenant."""

    @property
    def key(self) -> Hashable:
        """Its key, unique within its credential."""
        ...

    @property
    def owner(self) -> object:
        """Its credential."""
        ...

    @property
    def name(self) -> Hashable:
        """Its name, unique in the run."""
        ...


class Candidate(Protocol):
    """What the breaker needs to know of a job."""

    failure: Failed | None

    @property
    def is_probe(self) -> bool:
        """Whether it is a witness's probe, which changes nothing."""
        ...

    @property
    def tenant(self) -> CandidateTenant:
        """The tenant that it is for."""
        ...


J = TypeVar("J", bound=Candidate)


class State(Enum):
    """The state of a circuit breaker."""

    CLOSED = "jobs run"
    SUSPECTED = "tenants without a failure are probed; nothing else runs"
    OPEN = "the host is down; nothing runs"
    HALF_OPEN = "the host is down; one probe runs"
    GIVEN_UP = "the host stayed down; jobs run, and fail at once"


class Action(Enum):
    """What to do with the suspects of a host."""

    HOLD = "hold them until more is known"
    RELEASE = "report them: the elements failed, not the host"
    RETRY = "run them again: the host failed, not the elements"
    GIVE_UP = "report them, and the jobs that wait for a retry"
    CLEAR_OUT = "as GIVE_UP; jobs that were never run are not attempted"


@define(eq=False)
class CircuitBreaker(Generic[J]):
    """The breaker of one host.

    Args:
        network: The failures in a row of all hosts of the run. If no host answers, a few failures
            of each are enough: this machine's network may be down.

    Attributes:
        state: The state.
        is_stopping: Whether the host runs nothing but probes.
        suspects: Jobs whose failures are held; each keeps its failure.
        rests_until: When an open breaker becomes half-open.
        recovered_at: When the host last answered after it had been down.
        is_starved: Whether the last search found no tenant to probe.
        probes_sent: How many probes were sent since the suspicion began.
        why: The reason of the last failure.
    """

    network: FailureRow = field(factory=FailureRow)
    state: State = field(default=State.CLOSED, init=False)
    is_stopping: bool = field(default=False, init=False)
    suspects: list[J] = field(factory=list[J], init=False)
    rests_until: float = field(default=math.inf, init=False)
    recovered_at: float = field(default=-math.inf, init=False)
    is_starved: bool = field(default=False, init=False)
    probes_sent: int = field(default=0, init=False)
    why: str = field(default="", init=False)
    _is_quiet: bool = field(default=True, init=False)
    # When the job of the first suspect started.
    _suspects_since: float = field(default=math.inf, init=False)
    _row: FailureRow = field(factory=FailureRow, init=False)
    _failed: set[Hashable] = field(factory=set[Hashable], init=False)
    _witnesses: deque[J] = field(factory=lambda: deque[J](maxlen=_WITNESSES), init=False)
    _latest: CandidateTenant | None = field(default=None, init=False)
    # The witnesses that can still be probed before the next pause.
    _unprobed: list[J] = field(factory=list[J], init=False)
    _probes: set[J] = field(factory=set[J], init=False)
    _most_probes: int = field(default=1, init=False)
    _silent_checks: int = field(default=0, init=False)
    _pause: float = field(default=0.0, init=False)
    # Seconds of outage, without the time in which no probe could be sent.
    _waited: float = field(default=0.0, init=False)
    _counted_until: float = field(default=-math.inf, init=False)
    # Evidence about the host itself, whichever tenants failed.
    _all_unsent: bool = field(default=True, init=False)
    _all_refused: bool = field(default=True, init=False)
    _witness_failed: bool = field(default=False, init=False)

    @property
    def is_down(self) -> bool:
        """Whether the host is down, and the run waits for it."""
        return self.state is State.OPEN or self.state is State.HALF_OPEN

    @property
    def is_probing(self) -> bool:
        """Whether the breaker wants probes."""
        return self.state is State.SUSPECTED or self.state is State.HALF_OPEN

    @property
    def wants_probe(self) -> bool:
        """Whether to send a probe now."""
        return (
            self.is_probing
            and not self.is_starved
            and len(self._probes) < self._most_probes
            and (self.state is State.HALF_OPEN or self.probes_sent < self._most_before_opening)
        )

    @property
    def should_open(self) -> bool:
        """Whether every probe has failed and no tenant is left to probe."""
        return self.state is State.SUSPECTED and not self._probes

    @property
    def prefers_witness(self) -> bool:
        """Whether the next probe is a witness's, rather than a fresh tenant's."""
        return bool(self._unprobed) and self.probes_sent % 2 == 0

    @property
    def needs_fresh(self) -> bool:
        """Whether only a fresh tenant can be probed."""
        return self.is_probing and not self._unprobed and not self._probes

    def began_in_outage(self, started: float) -> bool:
        """Whether a job started in an outage, of this host or of all, that is over."""
        recovered_at = (
            self.recovered_at if self.is_down else max(self.recovered_at, self.network.recovered_at)
        )
        return started < recovered_at

    def has_failed(self, tenant: Hashable) -> bool:
        """Whether a tenant has failed since the last answer."""
        return tenant in self._failed

    # Answers and failures.

    def record_answer(self, queued: J, now: float) -> Action | None:
        """Record an answer of the host; None if nothing was wrong."""
        self.network.answered_at = self._row.answered_at = now
        if self.network.failures:
            self.network.end(now)
        tenant, latest = queued.tenant, self._latest
        if tenant is not latest and not queued.is_probe:
            self._latest = tenant
            # One tenant with many elements is one witness, not many.
            if latest is None or tenant.key != latest.key or tenant.owner is not latest.owner:
                self._witnesses.append(queued)
        if self._is_quiet:
            return None
        if self.is_down:
            self.recovered_at = now
        self._set(State.CLOSED)
        self._is_quiet = True
        self._row.end(now)
        self._failed.clear()
        self._probes.clear()
        self._pause = self._waited = 0.0
        self._all_unsent = self._all_refused = True
        self._witness_failed = False
        # If several hosts failed at once, the network failed, and not the elements.
        return Action.RETRY if self._suspects_since < self.network.recovered_at else Action.RELEASE

    def record_failure(self, queued: J, failure: Failed, started: float) -> None:
        """Record a failure that may be the host's; ``decide`` says what follows."""
        queued.failure = failure
        if not self.suspects:
            self._suspects_since = started
        self.suspects.append(queued)
        self._count(queued, failure.error, started)

    def record_witness_failure(self, queued: J, error: RingMeError, started: float) -> None:
        """Record that a witness's probe got no answer."""
        if queued in self._probes:
            self._witness_failed = True
            self._count(queued, error, started)

    def decide(self, queued: J, started: float, now: float) -> Action:
        """Decide what follows from a recorded failure."""
        was_probe = self.drop_probe(queued)
        match self.state:
            case State.CLOSED:
                if self._does_not_exist:
                    return self._give_up()
                if self._looks_down:
                    self._suspect()
                elif self._row.is_long:
                    return Action.RELEASE
            case State.OPEN:
                return Action.RETRY
            case State.HALF_OPEN:
                return self._decide_on_probe(started, now) if was_probe else Action.RETRY
            case State.GIVEN_UP:
                return Action.CLEAR_OUT if self._is_certain else Action.RELEASE
            case _:
                # Suspected: the probes decide.
                pass
        return Action.HOLD

    def suspect_with_network(self) -> bool:
        """Suspect this host because no host of the run answers; True if that is new."""
        if self.state is not State.CLOSED or not self.suspects or not self.network.is_enough:
            return False
        self._suspect()
        return True

    def take_suspects(self) -> list[J]:
        """Return the suspects, and hold them no longer."""
        suspects, self.suspects = self.suspects, []
        return suspects

    # Probes.

    def next_witness(self) -> J | None:
        """Return a witness that can be probed now."""
        return self._unprobed.pop() if self._unprobed else None

    def add_probe(self, queued: J) -> None:
        """Record that a probe has started."""
        self._probes.add(queued)
        self.probes_sent += 1

    def drop_probe(self, queued: J) -> bool:
        """Record that a job has ended; return whether it was a probe."""
        if queued not in self._probes:
            return False
        self._probes.remove(queued)
        self._silent_checks = 0
        return True

    def extend_if_silent(self) -> None:
        """Once a second, allow one more probe if the ones in flight are silent.

        In a long silence, the allowance grows at checks 1, 2, 4, 8 and so on. For a host that is
        down, it grows at the first check only.
        """
        self.is_starved = False
        if self._probes:
            self._silent_checks += 1
            checks = self._silent_checks
            if checks & (checks - 1) == 0 and (checks == 1 or self.state is State.SUSPECTED):
                self._most_probes += 1

    # The states.

    def open(self, now: float) -> Action:
        """Open the breaker, for twice as long as the last time."""
        self._pause = min(self._pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)
        self.rests_until = now + self._pause
        self._set(State.OPEN)
        return Action.RETRY

    def half_open(self, now: float) -> None:
        """End the pause: the next probe may start."""
        self._waited += self._pause
        self._counted_until = now
        self._most_probes = 1
        self._unprobed = self._known_witnesses()
        self._set(State.HALF_OPEN)

    def close(self) -> None:
        """Let the host's jobs run, whatever is known of it."""
        self._set(State.CLOSED)

    @property
    def _has_answered(self) -> bool:
        return self._row.answered_at > -math.inf

    @property
    def _most_before_opening(self) -> int:
        if self._has_answered or self._all_unsent:
            return _PROBES_BEFORE_OPENING
        return _PROBES_OF_AN_UNKNOWN_HOST

    @property
    def _looks_down(self) -> bool:
        return self._row.is_enough or self.network.is_enough

    @property
    def _does_not_exist(self) -> bool:
        """Whether every connection was refused, and none ever worked: waiting cannot help."""
        return self._all_refused and not self._has_answered

    @property
    def _is_certain(self) -> bool:
        """Whether the evidence also holds for tenants that were not tried."""
        return self._all_unsent or self._witness_failed

    def _count(self, queued: J, error: RingMeError, started: float) -> None:
        self._is_quiet = False
        self.why = error.reason
        tenant = queued.tenant.name
        self._failed.add(tenant)
        self._row.add(tenant, started, self)
        self.network.add(tenant, started, self)
        cause = error.__cause__ if isinstance(error, DeadlineExceeded) else error
        # Without a connection the host does not know the tenant, so the failure is not the
        # tenant's.
        self._all_unsent &= isinstance(cause, TransportError) and not cause.sent
        self._all_refused &= isinstance(cause, ConnectError) and cause.kind is not None

    def _known_witnesses(self) -> list[J]:
        """Return the latest job of each witness, the most recent witness last."""
        return list({queued.tenant.name: queued for queued in self._witnesses}.values())

    def _suspect(self) -> None:
        self.probes_sent = 0
        self._unprobed = [
            queued for queued in self._known_witnesses() if not self.has_failed(queued.tenant.name)
        ]
        self._most_probes = 1 if self._unprobed else 2
        self._set(State.SUSPECTED)

    def _decide_on_probe(self, started: float, now: float) -> Action:
        self._waited += now - max(started, self._counted_until)
        self._counted_until = now
        if self._waited >= (_PATIENCE if self._has_answered else _PATIENCE_WITHOUT_ANSWER):
            return self._give_up()
        if self._looks_down or started < self.network.recovered_at:
            return self.open(now)
        # Other hosts answer again, and this one has too few failures of its own.
        self._set(State.CLOSED)
        return Action.HOLD

    def _give_up(self) -> Action:
        self._set(State.GIVEN_UP)
        return Action.CLEAR_OUT if self._is_certain else Action.GIVE_UP

    def _set(self, state: State) -> None:
        self.state = state
        self.is_starved = False
        self._silent_checks = 0
        self.is_stopping = state not in {State.CLOSED, State.GIVEN_UP}
