"""How many jobs may be in flight at once."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

__all__ = ["Limit"]


@define(eq=False)
class Limit:
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
