"""Warns of time zones that this machine does not know, as most of them are misspelt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Final
from zoneinfo import available_timezones

from ringme_async import ClientUpdate
from ringme_async.cli.connect import print_to_stderr

__all__ = ["warn_unknown_zones", "zone_warnings"]

_MOST_SHOWN: Final = 10
# A smaller database is incomplete, as in a small container, and would warn of valid zones.
_FEWEST: Final = 300


def warn_unknown_zones(updates: Iterable[ClientUpdate]) -> None:
    """Warn of the time zones of updates, on stderr."""
    zones = Counter(update.timezone for update in updates if isinstance(update.timezone, str))
    if zones:
        for warning in zone_warnings(zones, available_timezones()):
            print_to_stderr(f"warning: {warning}")


def zone_warnings(zones: Counter[str], known: Collection[str]) -> list[str]:
    """Return a warning for each unknown time zone, with a close known name.

    These are warnings, not errors, as the server has a database of its own. Without a database on
    this machine there are no warnings.

    Args:
        zones: The number of changes for each zone.
        known: The names in the database of this machine.
    """
    if len(known) < _FEWEST:
        return []
    unknown = [zone for zone in zones if zone not in known]
    warnings = [
        f"this machine knows no time zone {zone!r:.60}{_did_you_mean(zone, known)}; {_times(zones[zone])}"
        for zone in unknown[:_MOST_SHOWN]
    ]
    if len(unknown) > _MOST_SHOWN:
        warnings.append(f"this machine does not know {len(unknown) - _MOST_SHOWN} more time zones")
    return warnings


def _times(count: int) -> str:
    return "one change names it" if count == 1 else f"{count:,} changes name it"


def _did_you_mean(zone: str, known: Collection[str]) -> str:
    folded = {name.lower(): name for name in sorted(known)}
    wanted = zone.lower()
    city = wanted.rpartition("/")[2]
    same_city = [name for name in folded if name.rpartition("/")[2] == city and "/" in name]
    close = [wanted] if wanted in folded else same_city or get_close_matches(wanted, folded, n=1)
    return f" (did you mean {folded[close[0]]!r}?)" if close else ""
