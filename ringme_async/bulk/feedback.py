"""What the end of a job says about those whom it was for."""

from __future__ import annotations

from enum import Enum

from attrs import define, field

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

__all__ = ["Feedback", "LatencyTracker", "Sign", "feedback_on", "sign_of"]

_SLOW_FROM = 1.0
_SLOW_FACTOR = 8.0
_SMOOTHING = 1 / 32


class Feedback(Enum):
    """Whether more of the same may go."""

    SUCCESS = "a definite answer: one more may go"
    NEUTRAL = "nothing learned"
    OVERLOAD = "no answer came: half as many may go"


def feedback_on(error: RingMeError) -> Feedback:
    """Judge by the error that a job ended in."""
    if isinstance(error, TransportError | DeadlineExceeded):
        return Feedback.OVERLOAD
    if isinstance(error, ServerError | Busy | InvalidRequest):
        return Feedback.NEUTRAL
    return Feedback.SUCCESS


Sign = bool | None
"""Whether a host is there; None if nothing can be said."""


def sign_of(error: RingMeError | None) -> Sign:
    """Tell by how a job ended whether its host is there."""
    if isinstance(error, DeadlineExceeded):
        cause = error.__cause__
        if cause is None:
            return False if error.attempts else None
        return False if isinstance(cause, TransportError | ServerError) else None
    if isinstance(error, TransportError | ServerError):
        return isinstance(error, ResponseTooLarge | CertificateError)
    return None if isinstance(error, InvalidRequest) else True


@define(eq=False)
class LatencyTracker:
    """How long the jobs of a run usually take."""

    _usual: float | None = field(default=None, init=False)

    def is_slow(self, seconds: float) -> bool:
        """Take in how long a job took.

        Returns:
            Whether that is over a second, and over eight times what is usual.
        """
        usual = seconds if self._usual is None else self._usual
        counted = seconds
        if seconds > _SLOW_FROM:
            counted = min(seconds, max(_SLOW_FROM, _SLOW_FACTOR * usual))
        self._usual = usual + (counted - usual) * _SMOOTHING
        return counted < seconds
