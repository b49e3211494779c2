"""Finds how many jobs should be in flight, by how the server takes them.

It judges in rounds. A round is over when as many answers have come as there are slots, and 64 at
least (or 20, while there are only one or two slots), to requests that were sent after the last
change: what was sent before it tells of another level. Then

* the slots are halved if over a fifth of the requests of the round failed;
* three in ten of them go if the usual latency, the mean of the middle half, is over 1.3 times the
  best one known;
* their square root is added if they are all in use, and for requests;
* else they stay.

The best latency is the least usual one of any round. It is forgotten slowly, by a hundredth with
each round; and if not even one slot brings it back, the server has become slower for good, and what
it does now is the best. Three tenths down are a little more than what 1.3 allows up, so that each
low point shows the best latency again, and the two cannot climb together.
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
    """The number of slots of a run: the one place that says it, and it may change in mid-run.

    Lowered, it takes effect as jobs end; none is cancelled.

    Attributes:
        for_one_of_many: How many of them anybody may have who is not alone.
        for_one_tenant: How many of them one tenant may have, if ``per_tenant`` does not say.
    """

    value: int
    for_one_of_many: int = field(init=False)
    for_one_tenant: int = field(init=False)
    _on_rise: Callable[[], None] | None = field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._share_out()

    def call_on_rise(self, wake: Callable[[], None]) -> None:
        """Have ``wake`` called whenever there are more slots than before."""
        self._on_rise = wake

    def change(self, value: int) -> None:
        """Set the number of slots, at least 1."""
        rises = value > self.value
        self.value = max(1, value)
        self._share_out()
        if rises and self._on_rise is not None:
            self._on_rise()

    def _share_out(self) -> None:
        self.for_one_of_many = max(1, self.value * 7 // 8)
        self.for_one_tenant = max(1, self.value // 8)


FIRST_LEVEL: Final = 8
_SHORTEST_ROUND: Final = 64
_SHORTEST_ROUND_OF_ALL: Final = 20
_ANSWERS_FOR_A_SLOT: Final = 8
_FAILURES_BORNE: Final = 0.2
_LATENCY_BORNE: Final = 1.3
_AFTER_FAILURES: Final = 0.5
_AFTER_SLOWNESS: Final = 0.7
_FORGETTING: Final = 1.01


@define(eq=False)
class AIMDLimiter:
    """Sets a run's limit by what its jobs meet.

    Args:
        limit: What it sets.
        most: The most it may set.
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
        """Take in how a job ended.

        Args:
            sent: How many requests it sent.
            sent_at: When the last one was sent.
            latency: Seconds that it took; None if it failed, as those before it did.

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
            now: The moment.
            full: Whether all slots are in use for requests.
        """
        level = self.limit.value
        is_slow = self._is_slow()
        if self._failed > _FAILURES_BORNE * self._sent:
            self._change(int(level * _AFTER_FAILURES), now)
        elif is_slow:
            self._change(int(level * _AFTER_SLOWNESS), now)
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
        self._best = min(usual, self._best * _FORGETTING)
        return usual > self._best * _LATENCY_BORNE

    def _change(self, level: int, now: float) -> None:
        level = max(1, min(level, self.most))
        if level != self.limit.value:
            self._since = now
            self.limit.change(level)
