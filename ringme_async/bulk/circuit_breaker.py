"""The circuit breaker of one host: whether failures are the host's, or the elements' own.

A failure that may be the host's (no connection, no answer, a 5xx) is a *suspect*: it is held until
more is known. An answer from the host, whatever it says, makes the suspects the elements' own.

Ten failures in a row, from five tenants, raise a suspicion. A block of broken tenants looks the
same, so tenants without a failure are asked before the host counts as down:

* *witnesses*, which have answered in this run: a probe that changes nothing is sent for them;
* *fresh* tenants, which wait and have not been tried: their own jobs run.

Only when these fail, too, is the breaker open. It is half-open after 1 s, 2 s, 4 s and so on, at
most 60 s, for one probe each time. The first answer closes it.

The breaker knows no tasks and no clock. It is given moments and answers with an ``Action``.
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
# Without witnesses, a broken nine tenths of the tenants must not pass for the host.
_PROBES_OF_A_NEW_HOST: Final = 20
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_PATIENCE: Final = 1800.0
# A host that has never answered may have a misspelt name.
_PATIENCE_AT_START: Final = 60.0


class CandidateTenant(Protocol):
    """What the breaker has to know of a tenant."""

    @property
    def key(self) -> Hashable:
        """Names it among those of its owner."""
        ...

    @property
    def owner(self) -> object:
        """The credential that it is counted in."""
        ...

    @property
    def name(self) -> Hashable:
        """Names it among those of all hosts."""
        ...


class Candidate(Protocol):
    """What the breaker has to know of a job."""

    failure: Failed | None

    @property
    def is_probe(self) -> bool:
        """Whether it only asks if the host is there."""
        ...

    @property
    def tenant(self) -> CandidateTenant:
        """Whom it is for."""
        ...


J = TypeVar("J", bound=Candidate)


class State(Enum):
    """The state of a circuit breaker."""

    CLOSED = "jobs run"
    SUSPECTED = "tenants without a failure are asked; nothing else runs"
    OPEN = "the host is down; nothing runs"
    HALF_OPEN = "the host is down; one probe runs"
    GIVEN_UP = "the host stayed down; jobs run, and fail at once"


class Action(Enum):
    """What is to be done with the suspects of a host."""

    HOLD = "hold them until more is known"
    RELEASE = "report them: they are the elements' own failures"
    RETRY = "run them again: the host failed them"
    GIVE_UP = "report them, and all that waits to be run again"
    CLEAR_OUT = "as GIVE_UP; what waits untried is not attempted"


@define(eq=False)
class CircuitBreaker(Generic[J]):
    """The breaker of one host.

    Args:
        network: The failures in a row of all hosts of the run. While no host answers, a few
            failures of each are enough: the network of this machine may be away.

    Attributes:
        state: The state.
        is_stopping: Whether the host runs nothing but probes.
        suspects: Jobs whose failures are held; each keeps its failure.
        rests_until: When an open breaker becomes half-open.
        back_at: When the host last answered after it had been down.
        is_starved: Whether nobody was left to ask at the last look.
        probes_sent: How many were asked since the host is suspected.
        why: The last failure, in words.
    """

    network: FailureRow = field(factory=FailureRow)
    state: State = field(default=State.CLOSED, init=False)
    is_stopping: bool = field(default=False, init=False)
    suspects: list[J] = field(factory=list[J], init=False)
    rests_until: float = field(default=math.inf, init=False)
    back_at: float = field(default=-math.inf, init=False)
    is_starved: bool = field(default=False, init=False)
    probes_sent: int = field(default=0, init=False)
    why: str = field(default="", init=False)
    _is_quiet: bool = field(default=True, init=False)
    # When the first of the suspects started.
    _suspects_since: float = field(default=math.inf, init=False)
    _row: FailureRow = field(factory=FailureRow, init=False)
    _failed: set[Hashable] = field(factory=set[Hashable], init=False)
    _witnesses: deque[J] = field(factory=lambda: deque[J](maxlen=_WITNESSES), init=False)
    _latest: CandidateTenant | None = field(default=None, init=False)
    # Of the witnesses, those that can still be asked before the next pause.
    _unasked: list[J] = field(factory=list[J], init=False)
    _probes: set[J] = field(factory=set[J], init=False)
    _most_probes: int = field(default=1, init=False)
    _silent_looks: int = field(default=0, init=False)
    _pause: float = field(default=0.0, init=False)
    # Seconds in which the host was down and could be asked.
    _waited: float = field(default=0.0, init=False)
    _counted_until: float = field(default=-math.inf, init=False)
    # Evidence that does not depend on which tenants failed.
    _all_unsent: bool = field(default=True, init=False)
    _all_refused: bool = field(default=True, init=False)
    _witness_failed: bool = field(default=False, init=False)

    @property
    def is_down(self) -> bool:
        """Whether the host is down, and is waited for."""
        return self.state is State.OPEN or self.state is State.HALF_OPEN

    @property
    def is_asking(self) -> bool:
        """Whether probes may be sent."""
        return self.state is State.SUSPECTED or self.state is State.HALF_OPEN

    @property
    def wants_probe(self) -> bool:
        """Whether a probe should be sent now."""
        return (
            self.is_asking
            and not self.is_starved
            and len(self._probes) < self._most_probes
            and (self.state is State.HALF_OPEN or self.probes_sent < self._most_asked)
        )

    @property
    def should_open(self) -> bool:
        """Whether nobody is left to ask who might answer."""
        return self.state is State.SUSPECTED and not self._probes

    @property
    def prefers_witness(self) -> bool:
        """Whether it is a witness's turn, rather than a fresh tenant's."""
        return bool(self._unasked) and self.probes_sent % 2 == 0

    @property
    def needs_fresh(self) -> bool:
        """Whether nobody but a fresh tenant can be asked."""
        return self.is_asking and not self._unasked and not self._probes

    def began_in_outage(self, started: float) -> bool:
        """Whether a job may have failed because this host, or all, were down, and are no more."""
        back_at = self.back_at if self.is_down else max(self.back_at, self.network.back_at)
        return started < back_at

    def has_failed(self, tenant: Hashable) -> bool:
        """Whether a tenant has failed since the last answer."""
        return tenant in self._failed

    # What comes back.

    def record_answer(self, queued: J, now: float) -> Action | None:
        """Take in that the host has answered; None: nothing was the matter."""
        self.network.answered_at = self._row.answered_at = now
        if self.network.failures:
            self.network.end(now)
        tenant, latest = queued.tenant, self._latest
        if tenant is not latest and not queued.is_probe:
            self._latest = tenant
            # One tenant with many elements is one witness.
            if latest is None or tenant.key != latest.key or tenant.owner is not latest.owner:
                self._witnesses.append(queued)
        if self._is_quiet:
            return None
        if self.is_down:
            self.back_at = now
        self._set(State.CLOSED)
        self._is_quiet = True
        self._row.end(now)
        self._failed.clear()
        self._probes.clear()
        self._pause = self._waited = 0.0
        self._all_unsent = self._all_refused = True
        self._witness_failed = False
        # Failures of several hosts at once were the network's, and not the elements' own.
        return Action.RETRY if self._suspects_since < self.network.back_at else Action.RELEASE

    def record_failure(self, queued: J, failure: Failed, started: float) -> None:
        """Take in a failure that may be the host's; ``decide`` says what follows."""
        queued.failure = failure
        if not self.suspects:
            self._suspects_since = started
        self.suspects.append(queued)
        self._count(queued, failure.error, started)

    def record_witness_failure(self, queued: J, error: RingMeError, started: float) -> None:
        """Take in that a witness was not answered."""
        if queued in self._probes:
            self._witness_failed = True
            self._count(queued, error, started)

    def decide(self, queued: J, started: float, now: float) -> Action:
        """Decide what follows from a failure that was recorded."""
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
            case State.SUSPECTED:
                pass
        return Action.HOLD

    def suspect_with_network(self) -> bool:
        """Suspect this host, too, because no host of the run answers."""
        if self.state is not State.CLOSED or not self.suspects or not self.network.is_enough:
            return False
        self._suspect()
        return True

    def take_suspects(self) -> list[J]:
        """Give the suspects, and hold them no longer."""
        suspects, self.suspects = self.suspects, []
        return suspects

    # Probes.

    def next_witness(self) -> J | None:
        """Give a witness that can be asked now."""
        return self._unasked.pop() if self._unasked else None

    def add_probe(self, queued: J) -> None:
        """Take note that a job is under way as a probe."""
        self._probes.add(queued)
        self.probes_sent += 1

    def drop_probe(self, queued: J) -> bool:
        """Take note that a job has ended; tell whether it was a probe."""
        if queued not in self._probes:
            return False
        self._probes.remove(queued)
        self._silent_looks = 0
        return True

    def relax(self) -> None:
        """Once a second, send one more probe if those under way are silent.

        Of a long silence, only looks 1, 2, 4, 8 and so on count; when the host is down, the first.
        """
        self.is_starved = False
        if self._probes:
            self._silent_looks += 1
            looks = self._silent_looks
            if looks & (looks - 1) == 0 and (looks == 1 or self.state is State.SUSPECTED):
                self._most_probes += 1

    # The states.

    def open(self, now: float) -> Action:
        """Take the host for down, and let it rest for longer than the last time."""
        self._pause = min(self._pause * 2 or _FIRST_PAUSE, _LONGEST_PAUSE)
        self.rests_until = now + self._pause
        self._set(State.OPEN)
        return Action.RETRY

    def half_open(self, now: float) -> None:
        """End a rest: the next probe may go."""
        self._waited += self._pause
        self._counted_until = now
        self._most_probes = 1
        self._unasked = self._known_witnesses()
        self._set(State.HALF_OPEN)

    def close(self) -> None:
        """Take the host for up again, whatever is known."""
        self._set(State.CLOSED)

    @property
    def _has_answered(self) -> bool:
        return self._row.answered_at > -math.inf

    @property
    def _most_asked(self) -> int:
        if self._has_answered or self._all_unsent:
            return _PROBES_BEFORE_OPENING
        return _PROBES_OF_A_NEW_HOST

    @property
    def _looks_down(self) -> bool:
        return self._row.is_enough or self.network.is_enough

    @property
    def _does_not_exist(self) -> bool:
        """Whether nothing listens there, and nothing has: waiting would not help."""
        return self._all_refused and not self._has_answered

    @property
    def _is_certain(self) -> bool:
        """Whether the evidence holds for tenants that were not tried, too."""
        return self._all_unsent or self._witness_failed

    def _count(self, queued: J, error: RingMeError, started: float) -> None:
        self._is_quiet = False
        self.why = error.reason
        tenant = queued.tenant.name
        self._failed.add(tenant)
        self._row.add(tenant, started, self)
        self.network.add(tenant, started, self)
        cause = error.__cause__ if isinstance(error, DeadlineExceeded) else error
        # Before a connection, no tenant is known to the host.
        self._all_unsent &= isinstance(cause, TransportError) and not cause.sent
        self._all_refused &= isinstance(cause, ConnectError) and cause.kind is not None

    def _known_witnesses(self) -> list[J]:
        """Give one job of each, the latest last."""
        return list({queued.tenant.name: queued for queued in self._witnesses}.values())

    def _suspect(self) -> None:
        self.probes_sent = 0
        self._unasked = [
            queued for queued in self._known_witnesses() if not self.has_failed(queued.tenant.name)
        ]
        self._most_probes = 1 if self._unasked else 2
        self._set(State.SUSPECTED)

    def _decide_on_probe(self, started: float, now: float) -> Action:
        self._waited += now - max(started, self._counted_until)
        self._counted_until = now
        if self._waited >= (_PATIENCE if self._has_answered else _PATIENCE_AT_START):
            return self._give_up()
        if self._looks_down or started < self.network.back_at:
            return self.open(now)
        # Other hosts answer by now, and this one has too few failures of its own.
        self._set(State.CLOSED)
        return Action.HOLD

    def _give_up(self) -> Action:
        self._set(State.GIVEN_UP)
        return Action.CLEAR_OUT if self._is_certain else Action.GIVE_UP

    def _set(self, state: State) -> None:
        self.state = state
        self.is_starved = False
        self._silent_looks = 0
        self.is_stopping = state not in {State.CLOSED, State.GIVEN_UP}
