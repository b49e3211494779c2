"""How far a run is."""

from __future__ import annotations

import math
from typing import Final, Literal

from attrs import define, field, frozen

__all__ = ["Progress", "ThroughputMeter"]

HeldBy = Literal["consumer", "logins", "concurrency", "outage", "quota", "fairness", "input"]

_WINDOW: Final = 10.0
_BETWEEN_LOOKS: Final = 0.1


@frozen(kw_only=True)
class Progress:
    """A run at one moment; each element that was pulled is counted in one place.

    ``pulled == done + failed + not_attempted + parked + waiting + in_flight``, as long as the run
    is not left before its end.

    Attributes:
        total: How many elements the input has; None if it does not say.
        pulled: How many were pulled from it.
        done: How many were done.
        failed: How many failed.
        not_attempted: How many the end of the run came before.
        parked: How many wait for their hourly limit to be reset.
        parked_until: When the first of these can go on, in the loop's time; None if none is parked.
        waiting: How many were pulled and wait for others of their tenant or credential, or for
            their host.
        waiting_for_quota: How many of those wait for an answer that tells what is left of the hour.
        in_flight: How many are under way.
        waiting_for_login: How many of those wait for a token.
        retried: How many requests repeated one that had been sent before.
        hosts_down: How many hosts are down, and are waited for.
        input_blocked: Whether nothing more is pulled, because as many as may be are parked or
            waiting.
        unread: How many outcomes wait for the consumer.
        concurrency: How many may be under way at once.
        per_second: How many elements a second are finished, smoothed over ten seconds.
        eta: Seconds until the end at this pace, and not before a parked one that all else waits
            for; None if it cannot be told.
    """

    total: int | None
    pulled: int
    done: int
    failed: int
    not_attempted: int
    parked: int
    parked_until: float | None
    waiting: int
    waiting_for_quota: int = 0
    in_flight: int
    waiting_for_login: int
    retried: int
    hosts_down: int = 0
    input_blocked: bool
    unread: int
    concurrency: int
    per_second: float
    eta: float | None

    @property
    def finished(self) -> int:
        """How many have an outcome."""
        return self.done + self.failed + self.not_attempted

    @property
    def held_by(self) -> HeldBy:
        """Tell which limit the run is at, so what would have to be more for it to go faster.

        ``"fairness"`` is what one tenant, credential or host may have of the slots, which is little
        at the start of a run, when nobody is known to answer.
        """
        if self.unread >= self.concurrency:
            return "consumer"
        is_full = self.in_flight >= self.concurrency
        # Whoever asks whether a host is back may have to log in for that.
        if self.hosts_down and not is_full:
            return "outage"
        if self.waiting_for_login * 2 > self.in_flight:
            return "logins"
        if is_full:
            return "concurrency"
        if self.parked + 2 * self.waiting_for_quota > self.waiting:
            return "quota"
        return "fairness" if self.waiting else "input"


@define(eq=False)
class ThroughputMeter:
    """How many a second: an average in which what is ten seconds old counts a third.

    Attributes:
        started: The moment of the start.
        due: When to look next; to look at each single one would cost more than it tells.
    """

    started: float = field(default=0.0, init=False)
    due: float = field(default=0.0, init=False)
    _seen: int = field(default=0, init=False)
    _weight: float = field(default=0.0, init=False)
    _last: float = field(default=0.0, init=False)

    def start(self, now: float) -> None:
        """Begin to count."""
        self.started = self._last = self.due = now

    def look(self, now: float, finished: int) -> None:
        """Take in how many are finished by now."""
        self._weight = self._weighed(now, finished)
        self._seen = finished
        self._last = now
        self.due = now + _BETWEEN_LOOKS

    def per_second(self, now: float, finished: int) -> float:
        """Give the pace; 0 at the very start."""
        elapsed = now - self.started
        if elapsed <= 0:
            return 0.0
        # Before the window has filled there is less of it to divide by.
        return self._weighed(now, finished) / (_WINDOW * -math.expm1(-elapsed / _WINDOW))

    def _weighed(self, now: float, finished: int) -> float:
        return self._weight * math.exp((self._last - now) / _WINDOW) + finished - self._seen


def estimate(
    left: int | None, per_second: float, until_wake: float | None, *, idle: bool
) -> float | None:
    """Estimate the seconds to the end.

    Args:
        left: How many elements are not finished; None if unknown.
        per_second: The pace.
        until_wake: Seconds until the first parked one goes on; None if none is parked.
        idle: Whether nothing is under way.
    """
    if left is None:
        return None
    if left == 0:
        return 0.0
    # A pace that has all but died away says nothing, and would divide to infinity.
    seconds = left / per_second if per_second > 1e-6 else None
    if idle and until_wake is not None:
        return until_wake if seconds is None else max(seconds, until_wake)
    return seconds
