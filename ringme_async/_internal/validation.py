"""Check arguments of users; an error names the argument."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeGuard, TypeVar

import attrs
from attrs import frozen

from ringme_async._internal.text import shown
from ringme_async.errors import InvalidRequest

P = ParamSpec("P")
T = TypeVar("T")


def refusing(function: Callable[P, T]) -> Callable[P, T]:
    """Raise a function's ``InvalidRequest`` from here, without its inner frames.

    A traceback may show the locals of its frames, and some arguments are secrets.
    """

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except InvalidRequest as error:
            refusal = error
        del args, kwargs
        raise refusal.with_traceback(None)

    return checked


def seconds_above_zero(name: str, value: object) -> float:
    """Check a time in seconds; infinity is allowed.

    Raises:
        InvalidRequest: The value is no number, or not above 0.
    """
    if not is_number(value) or not value > 0:
        raise InvalidRequest(f"{name} must be a number of seconds above 0, not {shown(value)}")
    return value


def seconds_from_zero(name: str, value: object) -> float:
    """Check a finite time in seconds.

    Raises:
        InvalidRequest: The value is no number, below 0, or infinite.
    """
    if not is_number(value) or not 0 <= value < math.inf:
        raise InvalidRequest(f"{name} must be a number of seconds from 0 up, not {shown(value)}")
    return value


def whole_number(name: str, value: object, *, least: int) -> int:
    """Check a whole number.

    Raises:
        InvalidRequest: The value is no whole number, or below ``least``.
    """
    if type(value) is not int or value < least:
        raise InvalidRequest(f"{name} must be a whole number from {least} up, not {shown(value)}")
    return value


def number_above_zero(name: str, value: object) -> float:
    """Check a finite number above 0.

    Raises:
        InvalidRequest: The value is anything else.
    """
    if not is_number(value) or not 0 < value < math.inf:
        raise InvalidRequest(f"{name} must be a number above 0, not {shown(value)}")
    return value


def instance_of(kind: type[T], name: str, value: T | None) -> T:
    """Check an argument's class; None makes a new instance.

    Raises:
        InvalidRequest: The value is anything else.
    """
    if value is None:
        return kind()
    if not isinstance(value, kind):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequest(f"{name} must be a {kind.__name__}, not {kind_of(value)}")
    return value


def one_of(name: str, value: T, choices: tuple[T, ...]) -> T:
    """Check that an argument is one of a few values.

    Raises:
        InvalidRequest: The value is anything else.
    """
    if value not in choices:
        listed = " or ".join(f'"{choice}"' for choice in choices)
        raise InvalidRequest(f"{name} must be {listed}, not {shown(value)}")
    return value


def kind_of(value: object) -> str:
    """Name the class of a value, with an article; a class is named as a class."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[:1] in 'AEIOUaeiou' else 'a'} {name}"


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a number in the range of floats; infinity counts."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and (abs(value) <= sys.float_info.max or abs(value) == math.inf)
    )


@frozen
class WholeNumber:
    """An attrs validator for a whole number from ``least`` up."""

    least: int

    def __call__(self, _instance: object, attribute: attrs.Attribute[int], value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < self.least:
            raise InvalidRequest(
                f"{attribute.name} must be a whole number from {self.least} up, not {value!r}"
            )
