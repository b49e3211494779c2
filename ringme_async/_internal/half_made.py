"""A safe ``repr`` for objects whose constructor raised."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Final, TypeVar, cast

__all__ = ["shown_half_made"]

C = TypeVar("C", bound=type)

_MARK: Final = "_shown_half_made"


def shown_half_made(cls: C) -> C:
    """Make a class's ``repr`` work while attributes are missing.

    A constructor that raises leaves ``self`` in its traceback. A traceback with locals calls
    ``repr`` on it, and CPython 3.11 loses the traceback if that raises.
    """
    own = cast("Callable[[object], str]", cls.__repr__)
    if own is not object.__repr__ and not hasattr(own, _MARK):
        setattr(cls, "__repr__", _lenient(own))  # noqa: B010 - assigning to a method is no typed act
    return cls


def _lenient(own: Callable[[object], str]) -> Callable[[object], str]:
    @wraps(own)
    def __repr__(self: object) -> str:  # noqa: N807 - it becomes a method of that name
        try:
            return own(self)
        except AttributeError:
            return f"<{type(self).__name__}, not fully made>"

    setattr(__repr__, _MARK, True)
    return __repr__
