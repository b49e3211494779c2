"""Whether to try again, and when.

Plain decisions: nothing here sleeps or sends, and calendar time is read only where a date has to
be counted from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from random import random

import attrs
from attrs import define, field, frozen

from ringme_async.errors import (
    ApiError,
    Busy,
    ConnectError,
    DecodeError,
    InvalidRequest,
    ResponseTooLarge,
    TransportError,
    TransportTimeout,
)
from ringme_async.transports import Headers

__all__ = ["Clock", "RetryBudget", "RetryBudgets", "RetryPolicy", "retry_after"]

Clock = Callable[[], datetime]
"""Tells the calendar time. A naive datetime is taken as UTC."""

_RETRYABLE_CODES = frozenset({408, 500, 502, 503, 504})
_LONGEST_RETRY_AFTER = 86_400.0
# Doubling further changes nothing but would overflow a float.
_MOST_DOUBLINGS = 1_000


@frozen
class _Whole:
    """Checks that a field is a whole number, and not too small."""

    least: int

    def __call__(self, _instance: object, attribute: attrs.Attribute[int], value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < self.least:
            raise InvalidRequest(
                f"{attribute.name} must be a whole number from {self.least} up, not {value!r}"
            )


def _seconds(_instance: object, attribute: attrs.Attribute[float], value: object) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value <= _LONGEST_RETRY_AFTER
    ):
        raise InvalidRequest(
            f"{attribute.name} must be a number of seconds from 0 to a day, not {value!r}"
        )


def _callable(
    _instance: object, attribute: attrs.Attribute[Callable[[], float]], value: object
) -> None:
    if not callable(value):
        raise InvalidRequest(
            f"{attribute.name} must be a function that returns a number from 0 to 1, not {value!r}"
        )


def _jitter() -> float:
    # The method of the shared generator would take its whole state along into a pickle.
    return random()


@frozen
class RetryPolicy:
    """Which failures are tried again, how often, and after which wait.

    Args:
        attempts: How many requests a call may send in all, the first one included. Default 4;
            1 means no retries.
        base: Seconds that the wait before the first retry stays below; each further retry doubles
            it. Default 0.5.
        cap: Seconds that no wait passes, unless the server asks for more. Default 20.
        random: Gives a number from 0 to 1 for the jitter; for tests.

    Raises:
        InvalidRequest: An argument is out of its range; the message names it.
    """

    attempts: int = field(default=4, validator=_Whole(1))
    base: float = field(default=0.5, validator=_seconds)
    cap: float = field(default=20.0, validator=_seconds)
    random: Callable[[], float] = field(
        default=_jitter, validator=_callable, repr=False, eq=False, kw_only=True
    )

    def retryable(self, error: BaseException, *, idempotent: bool) -> bool:
        """Can the same request, sent again, end better, and do no harm?

        An idempotent request is repeated after every failure of the way (no connection, a
        time-out, a lost answer), after 408, 500, 502, 503 and 504, after ``Busy``, and after an
        answer whose body as a whole is garbled or cut: that is a failure of the way, too, which
        only the decoder could see. A single field of the wrong type is what the server means to
        send and will be wrong again.

        Any other request is repeated only where it surely was not carried out: it was never
        sent, or it was refused as ``Busy`` (API page, section 3).

        Args:
            error: What the attempt ended with. How many attempts were made is not looked at.
            idempotent: May the server carry the request out twice?
        """
        match error:
            case ResponseTooLarge():
                return False
            case TransportError():
                return idempotent or not error.sent
            case Busy():
                return True
            case ApiError():
                return idempotent and error.status_code in _RETRYABLE_CODES
            case DecodeError():
                return idempotent and error.field is None
            case _:
                return False

    def delay(
        self, error: BaseException, *, retry: int, now: Clock | datetime | None = None
    ) -> float:
        """Seconds to wait before a retry.

        Full jitter: anything from 0 to ``base`` doubled with every retry, at most ``cap``. If the
        answer carries a sane ``Retry-After``, that comes first and the jitter on top of it, so
        that nobody is early, and those who were told the same second do not all come in it.

        Args:
            error: What the last attempt ended with.
            retry: Which retry is due, from 1.
            now: The calendar time, for an answer without ``Date``. Default: the system's clock.
        """
        ceiling = min(self.cap, self.base * 2.0 ** min(retry - 1, _MOST_DOUBLINGS))
        jitter = self.random() * ceiling
        if not isinstance(error, ApiError):
            return jitter
        return jitter + (retry_after(error.headers, now) or 0.0)


@define
class RetryBudget:
    """Keeps the retries against one origin from amplifying its brown-out.

    A purse, full at first, that every retry is paid from. While most calls succeed it stays
    full; once too many fail it is empty, and calls fail with the error they have. The rules and
    numbers are those of the standard retry mode of AWS's SDKs.

    Args:
        capacity: The most the purse holds. Default 500.
        cost: What a retry costs. Default 5.
        timeout_cost: What a retry after a time-out costs. Default 10.
        first_try_reward: What a success at first try puts in. Default 1.

    Attributes:
        available: What the purse holds now.
        has_answered: Whether a call or a login at this origin has succeeded.

    Raises:
        InvalidRequest: An argument is out of its range; the message names it.
    """

    capacity: int = field(default=500, validator=_Whole(0), on_setattr=attrs.setters.frozen)
    cost: int = field(default=5, validator=_Whole(0), on_setattr=attrs.setters.frozen)
    timeout_cost: int = field(default=10, validator=_Whole(0), on_setattr=attrs.setters.frozen)
    first_try_reward: int = field(default=1, validator=_Whole(0), on_setattr=attrs.setters.frozen)
    available: int = field(init=False)
    has_answered: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.available = self.capacity

    def withdraw(self, error: BaseException) -> int | None:
        """Pay for the retry after ``error``.

        Returns:
            What it cost, to be handed to ``succeeded``; None if the purse does not hold that
            much, or the host's name is unknown and always was. Nothing was taken then, and the
            retry must not be made.
        """
        if isinstance(error, ConnectError) and error.kind == "unresolved" and not self.has_answered:
            return None
        price = self.timeout_cost if isinstance(error, TransportTimeout) else self.cost
        if price > self.available:
            return None
        self.available -= price
        return price

    def succeeded(self, spent: int | None) -> None:
        """Put something back because a call succeeded.

        Args:
            spent: What the call's last retry cost; None if there was no retry.
        """
        if not self.has_answered:
            self.has_answered = True
        if self.available < self.capacity:
            earned = self.first_try_reward if spent is None else spent
            self.available = min(self.capacity, self.available + earned)


@define(eq=False)
class RetryBudgets:
    """The retry budgets of all origins: one sick host cannot silence the others."""

    _budgets: dict[str, RetryBudget] = field(factory=dict[str, RetryBudget], init=False)

    def of(self, origin: str) -> RetryBudget:
        """Give the budget of an origin, which its calls and its logins share."""
        budget = self._budgets.get(origin)
        if budget is None:
            budget = self._budgets[origin] = RetryBudget()
        return budget


def retry_after(headers: Mapping[str, str], now: Clock | datetime | None = None) -> float | None:
    """Seconds that the server asks to wait, by ``Retry-After`` (RFC 9110, 10.2.3).

    A date counts from the answer's own ``Date``, so that the two clocks need not agree; without a
    readable ``Date`` it counts from ``now``.

    Args:
        headers: The answer's headers, in any letter case.
        now: The calendar time, or a clock that tells it. Default: the system's clock.

    Returns:
        From 0 to 86,400; 0 for a date that has passed. None if the header is missing, is longer
        than a day, or is anything but digits or one of the three forms of an HTTP date. Several
        values in one field are no value, since the field may have only one.
    """
    fields = Headers(headers)
    text = fields.get("retry-after", "").strip(" \t")
    if text.isascii() and text.isdigit():
        # Not int(), which refuses numbers that are too long.
        seconds = float(text)
    else:
        asked = _http_date(text, now)
        if asked is None:
            return None
        sent = _http_date(fields.get("date", "").strip(" \t"), now) or _utc(now)
        seconds = max(0.0, (asked - sent).total_seconds())
    return seconds if seconds <= _LONGEST_RETRY_AFTER else None


def _utc(now: Clock | datetime | None) -> datetime:
    moment = now() if callable(now) else now
    if moment is None:
        return datetime.now(UTC)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY = r"(?:mon|tue|wed|thu|fri|sat|sun)"
_LONG_DAY = r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day)"
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})"
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
# Lenient where real servers are sloppy and no doubt can arise: letter case, a day of one digit,
# UTC for GMT. Which weekday it was is not checked.
_HTTP_DATES = tuple(
    re.compile(pattern, re.IGNORECASE | re.ASCII)
    for pattern in (
        # RFC 9110, 5.6.7: IMF-fixdate, the RFC 850 form, asctime.
        rf"{_DAY}, (?P<day>[0-9]{{1,2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} (?:GMT|UTC)",
        rf"{_LONG_DAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} (?:GMT|UTC)",
        rf"{_DAY} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})",
    )
)


def _http_date(text: str, now: Clock | datetime | None) -> datetime | None:
    found = next(filter(None, (form.fullmatch(text) for form in _HTTP_DATES)), None)
    if found is None:
        return None
    month = _MONTHS.index(found["month"].lower()) + 1
    day, hour, minute, second = (int(found[part]) for part in ("day", "hour", "minute", "second"))
    if len(found["year"]) == 4:
        year = int(found["year"])
    else:
        year = _full_year(int(found["year"]), (month, day, hour, minute, second), _utc(now))
    leap = second == 60
    try:
        moment = datetime(year, month, day, hour, minute, second - leap, tzinfo=UTC)
        return moment + timedelta(seconds=1) if leap else moment
    except (ValueError, OverflowError):
        return None


def _full_year(year: int, rest: tuple[int, ...], now: datetime) -> int:
    """The year that two digits mean: not over 50 years ahead, else the latest in the past."""
    today = now.astimezone(UTC) if 1 < now.year < 9999 else now
    horizon = (today.year + 50, today.month, today.day, today.hour, today.minute, today.second)
    latest = today.year - today.year % 100 + 100 + year
    return next(
        candidate
        for candidate in (latest, latest - 100, latest - 200)
        if (candidate, *rest) <= horizon
    )
