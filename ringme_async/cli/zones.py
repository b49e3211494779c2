"""Warns of time zones that this machine does not know: most of them are misspelt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Final
from zoneinfo import available_timezones

from ringme_async import ClientUpdate
from ringme_async.cli.connect import complain

__all__ = ["warn_of_zones", "warnings_of"]

_MOST_TOLD: Final = 10
# A database of fewer zones is a part of one, such as that of a small container.
_FEWEST: Final = 300


def warn_of_zones(updates: Iterable[ClientUpdate]) -> None:
    """Warn of the time zones of updates, on stderr."""
    zones = Counter(one.timezone for one in updates if isinstance(one.timezone, str))
    if zones:
        for warning in warnings_of(zones, available_timezones()):
            complain(f"warning: {warning}")


def warnings_of(zones: Counter[str], known: Collection[str]) -> list[str]:
    """Say which time zones are not known, and which ones may be meant.

    The server has a database of its own, so that this is no error. Without a database on this
    machine there is nothing to say.

    Args:
        zones: How many changes name each.
        known: The names in the database of this machine.
    """
    if len(known) < _FEWEST:
        return []
    unknown = [zone for zone in zones if zone not in known]
    warnings = [
        f"this machine knows no time zone {zone!r:.60}{_meant(zone, known)}; {_times(zones[zone])}"
        for zone in unknown[:_MOST_TOLD]
    ]
    if len(unknown) > _MOST_TOLD:
        warnings.append(f"this machine does not know {len(unknown) - _MOST_TOLD} more time zones")
    return warnings


def _times(count: int) -> str:
    return "one change names it" if count == 1 else f"{count:,} changes name it"


def _meant(zone: str, known: Collection[str]) -> str:
    folded = {name.lower(): name for name in sorted(known)}
    wanted = zone.lower()
    city = wanted.rpartition("/")[2]
    same_city = [name for name in folded if name.rpartition("/")[2] == city and "/" in name]
    close = [wanted] if wanted in folded else same_city or get_close_matches(wanted, folded, n=1)
    return f" (did you mean {folded[close[0]]!r}?)" if close else ""
