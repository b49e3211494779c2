"""What the end of a job says about its host, its credential and its tenant."""

from __future__ import annotations

from enum import Enum
from typing import Final

from attrs import define, field, frozen

from ringme_async.errors import (
    Busy,
    CertificateError,
    DeadlineExceeded,
    InvalidRequest,
    ResponseTooLarge,
    RingMeError,
    ServerError,
    TransportError,
)

__all__ = [
    "ANSWERED",
    "NOTHING_LEARNED",
    "Evidence",
    "Feedback",
    "HostSign",
    "LatencyTracker",
    "evidence_of",
]

_SLOW_FROM = 1.0
_SLOW_FACTOR = 8.0
_SMOOTHING = 1 / 32


class Feedback(Enum):
    """Whether more jobs of the same group may run at once."""

    SUCCESS = "a definite answer: one more may run"
    NEUTRAL = "nothing learned"
    OVERLOAD = "no answer came: half as many may run"


class HostSign(Enum):
    """What the end of a job says of its host."""

    UP = "the host has answered"
    DOWN = "the host may be down"
    UNKNOWN = "nothing learned"


@frozen
class Evidence:
    """What the end of a job says.

    Attributes:
        feedback: How the allowances of its groups change.
        host: What it says of the host.
    """

    feedback: Feedback
    host: HostSign


ANSWERED: Final = Evidence(Feedback.SUCCESS, HostSign.UP)
NOTHING_LEARNED: Final = Evidence(Feedback.NEUTRAL, HostSign.UNKNOWN)
_DEADLINE_ON_HOST: Final = Evidence(Feedback.OVERLOAD, HostSign.DOWN)
_DEADLINE_ELSEWHERE: Final = Evidence(Feedback.OVERLOAD, HostSign.UNKNOWN)

# An error counts as its nearest base class in here. A ``DeadlineExceeded`` counts by its cause.
_EVIDENCE: Final[dict[type, Evidence]] = {
    RingMeError: ANSWERED,
    InvalidRequest: NOTHING_LEARNED,
    Busy: Evidence(Feedback.NEUTRAL, HostSign.UP),
    # An answer, so no allowance shrinks. But a proxy sends it for a host that is down.
    ServerError: Evidence(Feedback.NEUTRAL, HostSign.DOWN),
    TransportError: Evidence(Feedback.OVERLOAD, HostSign.DOWN),
    # The host is there, though no usable answer came.
    ResponseTooLarge: Evidence(Feedback.OVERLOAD, HostSign.UP),
    CertificateError: Evidence(Feedback.OVERLOAD, HostSign.UP),
}


def evidence_of(error: RingMeError) -> Evidence:
    """Classify the error that a job ended in."""
    if isinstance(error, DeadlineExceeded):
        return _evidence_of_deadline(error)
    return next(_EVIDENCE[base] for base in type(error).__mro__ if base in _EVIDENCE)


def _evidence_of_deadline(error: DeadlineExceeded) -> Evidence:
    cause = error.__cause__
    if cause is None:
        is_host = bool(error.attempts)
    else:
        is_host = isinstance(cause, TransportError | ServerError)
    return _DEADLINE_ON_HOST if is_host else _DEADLINE_ELSEWHERE


@define(eq=False)
class LatencyTracker:
    """Tracks how long the jobs of a run usually take."""

    _usual: float | None = field(default=None, init=False)

    def is_slow(self, seconds: float) -> bool:
        """Record how long a job took.

        Returns:
            Whether it took over a second, and over eight times the usual time.
        """
        usual = seconds if self._usual is None else self._usual
        counted = seconds
        if seconds > _SLOW_FROM:
            counted = min(seconds, max(_SLOW_FROM, _SLOW_FACTOR * usual))
        self._usual = usual + (counted - usual) * _SMOOTHING
        return counted < seconds
