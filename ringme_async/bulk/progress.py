"""The progress of a run: counts, throughput, and the estimated time left."""

from __future__ import annotations

import math
from typing import Final, Literal

from attrs import define, field, frozen

__all__ = ["Progress", "ThroughputMeter"]

HeldBy = Literal["consumer", "logins", "concurrency", "outage", "quota", "fairness", "input"]

_WINDOW: Final = 10.0
_BETWEEN_UPDATES: Final = 0.1


@frozen(kw_only=True)
class Progress:
    """A run at one moment; each pulled element is counted in one place.

    ``pulled == done + failed + not_attempted + parked + waiting + in_flight``, as long as the run
    is not left before its end.

    Attributes:
        total: How many elements the input has; None if it does not say.
        pulled: How many were pulled from it.
        done: How many were done.
        failed: How many failed.
        not_attempted: How many were not attempted before the run ended.
        parked: How many wait for their hourly limit to be reset.
        parked_until: When the first of these can go on, in the loop's time; None if none is parked.
        waiting: How many were pulled and wait for others of their tenant or credential, or for
            their host.
        waiting_for_quota: How many of these wait for an answer that tells what is left of the hour.
        in_flight: How many are in flight.
        waiting_for_login: How many of these wait for a token.
        retried: How many requests repeated an earlier one.
        hosts_down: How many hosts are down, and are waited for.
        input_blocked: Whether nothing is pulled, because ``max_waiting`` elements are parked or
            waiting.
        unread: How many outcomes wait for the consumer.
        concurrency: How many may be in flight at once.
        per_second: How many elements finish in a second, smoothed over ten seconds.
        eta: Estimated seconds until the end; None if unknown. It is no earlier than the first
            parked element can go on, if only parked elements are left.
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
        """The limit that the run has reached: more of it would make the run faster.

        ``"fairness"`` is the allowance of one tenant, credential or host. It is small at the start
        of a run, when no tenant is known to answer.
        """
        if self.unread >= self.concurrency:
            return "consumer"
        is_full = self.in_flight >= self.concurrency
        # A probe of a host that is down may wait for a login, too.
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
    """Elements per second: an average in which a ten seconds old element counts a third.

    Attributes:
        started: When the run started.
        due: When to call ``update`` next; an update for every element would cost too much.
    """

    started: float = field(default=0.0, init=False)
    due: float = field(default=0.0, init=False)
    _seen: int = field(default=0, init=False)
    _weight: float = field(default=0.0, init=False)
    _last: float = field(default=0.0, init=False)

    def start(self, now: float) -> None:
        """Start to count."""
        self.started = self._last = self.due = now

    def update(self, now: float, finished: int) -> None:
        """Record how many elements are finished."""
        self._weight = self._decayed(now, finished)
        self._seen = finished
        self._last = now
        self.due = now + _BETWEEN_UPDATES

    def per_second(self, now: float, finished: int) -> float:
        """Return the throughput; 0 at the very start."""
        elapsed = now - self.started
        if elapsed <= 0:
            return 0.0
        # Before the window has filled, it is shorter.
        return self._decayed(now, finished) / (_WINDOW * -math.expm1(-elapsed / _WINDOW))

    def _decayed(self, now: float, finished: int) -> float:
        return self._weight * math.exp((self._last - now) / _WINDOW) + finished - self._seen


def estimate(
    left: int | None, per_second: float, until_wake: float | None, *, idle: bool
) -> float | None:
    """Estimate the seconds to the end.

    Args:
        left: How many elements are not finished; None if unknown.
        per_second: The throughput.
        until_wake: Seconds until the first parked element goes on; None if none is parked.
        idle: Whether nothing is in flight.
    """
    if left is None:
        return None
    if left == 0:
        return 0.0
    # A throughput near 0 says nothing, and would divide to infinity.
    seconds = left / per_second if per_second > 1e-6 else None
    if idle and until_wake is not None:
        return until_wake if seconds is None else max(seconds, until_wake)
    return seconds
