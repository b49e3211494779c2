"""Adapts the number of jobs in flight to what the server takes (AIMD).

It decides in rounds. A round counts answers to requests that were sent after the last change, as
earlier requests ran at another level. It ends after as many answers as there are slots, and at
least 64 (20 while there are only one or two slots). Then

* it halves the slots if over a fifth of the round's requests failed;
* else it removes three tenths of them if the usual latency is over 1.3 times the best one known;
* else it adds their square root if all of them are in use for requests.

The usual latency of a round is the mean of its middle half. The best latency is the lowest usual
latency of any round, raised by a hundredth with each round. If not even one slot brings it back,
the server has become slower for good, and the present latency is the best.

Three tenths down are a little more than what 1.3 allows up. So each low point shows the best
latency again, and level and latency cannot climb together.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from statistics import fmean
from typing import Final

from attrs import define, field

__all__ = ["FIRST_LEVEL", "AIMDLimiter", "CapacityLimit"]


@define(eq=False)
class CapacityLimit:
    """The number of slots of a run, which may change in mid-run.

    A lower number takes effect as jobs end; no job is cancelled.

    Attributes:
        for_one_of_many: How many of them a group with neighbours may have.
        for_one_tenant: How many of them one tenant may have, if ``per_tenant`` does not say.
    """

    value: int
    for_one_of_many: int = field(init=False)
    for_one_tenant: int = field(init=False)
    _on_rise: Callable[[], None] | None = field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._set_shares()

    def call_on_rise(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever the number of slots has risen."""
        self._on_rise = wake

    def change(self, value: int) -> None:
        """Set the number of slots, at least 1."""
        rises = value > self.value
        self.value = max(1, value)
        self._set_shares()
        if rises and self._on_rise is not None:
            self._on_rise()

    def _set_shares(self) -> None:
        self.for_one_of_many = max(1, self.value * 7 // 8)
        self.for_one_tenant = max(1, self.value // 8)


FIRST_LEVEL: Final = 8
_SHORTEST_ROUND: Final = 64
_SHORTEST_ROUND_OF_ALL: Final = 20
_ANSWERS_FOR_A_SLOT: Final = 8
_TOLERATED_FAILURES: Final = 0.2
_TOLERATED_LATENCY: Final = 1.3
_FACTOR_AFTER_FAILURES: Final = 0.5
_FACTOR_AFTER_SLOWNESS: Final = 0.7
_RISE_OF_BEST: Final = 1.01


@define(eq=False)
class AIMDLimiter:
    """Adjusts a run's limit by failures and latency.

    Args:
        limit: The limit that it adjusts.
        most: The highest number of slots.
    """

    limit: CapacityLimit
    most: int
    _since: float = field(default=0.0, init=False)
    _best: float | None = field(default=None, init=False)
    _ended: int = field(default=0, init=False)
    _sent: int = field(default=0, init=False)
    _failed: int = field(default=0, init=False)
    _latencies: list[float] = field(factory=list[float], init=False)

    def learn(self, sent: int, sent_at: float, latency: float | None) -> bool:
        """Record how a job ended.

        Args:
            sent: How many requests it sent.
            sent_at: When it sent the last one.
            latency: Seconds that the last one took; None if it failed. Earlier requests failed.

        Returns:
            Whether the round is over, so that ``decide`` is due.
        """
        if sent_at < self._since:
            return False
        self._ended += 1
        self._sent += sent
        if latency is None:
            self._failed += sent
        else:
            self._failed += sent - 1
            self._latencies.append(latency)
        return self._ended >= self._round

    def decide(self, now: float, *, full: bool) -> None:
        """End a round.

        Args:
            now: The loop's time.
            full: Whether all slots are in use for requests.
        """
        level = self.limit.value
        is_slow = self._is_slow()
        if self._failed > _TOLERATED_FAILURES * self._sent:
            self._change(int(level * _FACTOR_AFTER_FAILURES), now)
        elif is_slow:
            self._change(int(level * _FACTOR_AFTER_SLOWNESS), now)
        elif full:
            self._change(level + isqrt(level), now)
        self._ended = self._sent = self._failed = 0
        self._latencies.clear()

    @property
    def _round(self) -> int:
        level = self.limit.value
        few = min(_SHORTEST_ROUND, level * _ANSWERS_FOR_A_SLOT)
        return max(_SHORTEST_ROUND_OF_ALL, few, level)

    def _is_slow(self) -> bool:
        if not self._latencies:
            return False
        latencies = sorted(self._latencies)
        fringe = len(latencies) // 4
        usual = fmean(latencies[fringe : len(latencies) - fringe])
        if self._best is None or self.limit.value == 1:
            self._best = usual
        self._best = min(usual, self._best * _RISE_OF_BEST)
        return usual > self._best * _TOLERATED_LATENCY

    def _change(self, level: int, now: float) -> None:
        level = max(1, min(level, self.most))
        if level != self.limit.value:
            self._since = now
            self.limit.change(level)
