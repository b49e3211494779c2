"""Failures in a row, of one host or of all hosts of a run."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Final

from attrs import define, field

__all__ = ["FailureRow"]

_FAILURES_OF_AN_OUTAGE: Final = 10
_TENANTS_OF_AN_OUTAGE: Final = 5
_SEVERAL: Final = 2


@define(eq=False)
class FailureRow:
    """Failures in a row, with no answer in between.

    Attributes:
        answered_at: When the last answer came.
        recovered_at: When an answer last ended an outage of several hosts at once.
        failures: How many failures have come since the last answer.
    """

    answered_at: float = -math.inf
    recovered_at: float = -math.inf
    failures: int = 0
    _tenants: set[Hashable] = field(factory=set[Hashable], init=False)
    _sources: set[object] = field(factory=set[object], init=False)

    @property
    def is_enough(self) -> bool:
        """Whether the failures are enough, and of enough tenants, for an outage."""
        return (
            self.failures >= _FAILURES_OF_AN_OUTAGE and len(self._tenants) >= _TENANTS_OF_AN_OUTAGE
        )

    @property
    def is_long(self) -> bool:
        """Whether the failures are enough, however few their tenants."""
        return self.failures >= _FAILURES_OF_AN_OUTAGE

    def add(self, tenant: Hashable, started: float, source: object) -> None:
        """Count a failure, unless an answer has come since its job started."""
        if started < self.answered_at:
            return
        self.failures += 1
        if len(self._tenants) < _TENANTS_OF_AN_OUTAGE:
            self._tenants.add(tenant)
        if len(self._sources) < _SEVERAL:
            self._sources.add(source)

    def end(self, now: float) -> None:
        """Start a new row: an answer has come."""
        if self.is_enough and len(self._sources) >= _SEVERAL:
            self.recovered_at = now
        self._sources.clear()
        self.failures = 0
        self._tenants.clear()
