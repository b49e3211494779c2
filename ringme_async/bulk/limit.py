"""How many jobs may be in flight at once."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

__all__ = ["Limit"]


@define(eq=False)
class Limit:
    """The number of slots of a run: the one place that says it, and it may change in mid-run.

    Lowered, it takes effect as jobs end; none is cancelled.
    """

    value: int
    _on_rise: Callable[[], None] | None = field(default=None, init=False, repr=False)

    def call_on_rise(self, wake: Callable[[], None]) -> None:
        """Have ``wake`` called whenever there are more slots than before."""
        self._on_rise = wake

    def change(self, value: int) -> None:
        """Set the number of slots, at least 1."""
        rises = value > self.value
        self.value = max(1, value)
        if rises and self._on_rise is not None:
            self._on_rise()
