"""What the end of a job says about those whom it was for."""

from __future__ import annotations

from enum import Enum

from attrs import define, field

from ringme_async.errors import (
    Busy,
    DeadlineExceeded,
    InvalidRequest,
    RingMeError,
    ServerError,
    TransportError,
)

__all__ = ["Tempo", "Verdict", "verdict_on"]

_SLOW_FROM = 1.0
_SLOW_FACTOR = 8.0
_SMOOTHING = 1 / 32


class Verdict(Enum):
    """Whether more of the same may go."""

    SOUND = "a definite answer: one more may go"
    MUTE = "nothing learned"
    ILL = "no answer came: half as many may go"


def verdict_on(error: RingMeError) -> Verdict:
    """Judge by the error that a job ended in."""
    if isinstance(error, TransportError | DeadlineExceeded):
        return Verdict.ILL
    if isinstance(error, ServerError | Busy | InvalidRequest):
        return Verdict.MUTE
    return Verdict.SOUND


@define(eq=False)
class Tempo:
    """How long the jobs of a run usually take."""

    _usual: float | None = field(default=None, init=False)

    def is_slow(self, seconds: float) -> bool:
        """Take in how long a job took.

        Returns:
            Whether that is over a second, and over eight times what is usual.
        """
        if self._usual is None:
            self._usual = seconds
            return False
        # Not by max() and min(), which take longer than all the rest of this.
        bound = _SLOW_FACTOR * self._usual
        bound = max(bound, _SLOW_FROM)
        is_slow = seconds > bound
        self._usual += ((bound if is_slow else seconds) - self._usual) * _SMOOTHING
        return is_slow
