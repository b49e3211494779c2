"""Read the ``Retry-After`` header: seconds, or an HTTP date."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from ringme_async.transports import Headers

__all__ = ["Clock", "retry_after"]

Clock = Callable[[], datetime]
LONGEST_RETRY_AFTER = 86_400.0


def retry_after(headers: Mapping[str, str], now: Clock | datetime | None = None) -> float | None:
    """Read the seconds that the server asks to wait (RFC 9110, 10.2.3).

    A date counts from the answer's own ``Date``, so that the two clocks need not agree. Without a
    valid ``Date`` it counts from ``now``.

    Args:
        headers: The answer's headers, in any letter case.
        now: The calendar time, or a wall clock. Default: the system's clock.

    Returns:
        From 0 to 86,400; 0 for a date in the past. None if the header is missing, asks for over a
        day, or is neither digits nor one of the three forms of an HTTP date. Several values in one
        field are invalid.
    """
    fields = Headers(headers)
    text = fields.get("retry-after", "").strip(" \t")
    if text.isascii() and text.isdigit():
        # float(), because int() refuses very long numbers.
        seconds = float(text)
    else:
        due = _http_date(text, now)
        if due is None:
            return None
        sent = _http_date(fields.get("date", "").strip(" \t"), now) or _utc(now)
        seconds = max(0.0, (due - sent).total_seconds())
    return seconds if seconds <= LONGEST_RETRY_AFTER else None


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
# Lenient where real servers are sloppy: letter case, a day of one digit, UTC for GMT. The weekday is
# not checked.
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
    """Expand a two-digit year: at most 50 years ahead, else the latest in the past."""
    today = now.astimezone(UTC) if 1 < now.year < 9999 else now
    horizon = (today.year + 50, today.month, today.day, today.hour, today.minute, today.second)
    latest = today.year - today.year % 100 + 100 + year
    return next(
        candidate
        for candidate in (latest, latest - 100, latest - 200)
        if (candidate, *rest) <= horizon
    )
