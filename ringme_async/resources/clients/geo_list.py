"""The countries whose IP addresses may use a client's SIP accounts."""

from __future__ import annotations

import re

from ringme_async._internal.text import shown
from ringme_async.errors import InvalidRequest

_EVERYWHERE = "*"
_COUNTRY = re.compile(r"[A-Z]{2}")
_LIST = re.compile(r"\*|[A-Z]{2}(?: [A-Z]{2})*")


class GeoList:
    """Countries by their ISO 3166 A2 codes, or all of them (API page, section 1).

    Any two capital letters count as a code. The standard gains and loses countries and has
    private codes (``XK``), so a list of codes here would go out of date.

    Two lists are equal if they allow the same countries, in any order. ``str()`` returns the form
    that the list was made from. A list is never equal to a string.

    Args:
        wire: ``"*"`` for all countries, or codes separated by one space: ``"RU US BY"``.

    Raises:
        InvalidRequest: ``wire`` has neither form.
    """

    __slots__ = ("_wire",)

    def __init__(self, wire: str) -> None:
        if not is_geo_list(wire):
            raise InvalidRequest(
                'geo_list must be "*", or ISO 3166 A2 codes with one space between'
                f' such as "RU BY", not {shown(wire)}'
            )
        self._wire = wire

    @property
    def everywhere(self) -> bool:
        """Whether all countries are allowed, whatever the provider's own list says."""
        return self._wire == _EVERYWHERE

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes in the order given; empty if all countries are allowed."""
        return () if self.everywhere else tuple(self._wire.split(" "))

    def allows(self, country: str) -> bool:
        """Return whether IP addresses of a country may use the SIP accounts.

        Args:
            country: The code in capitals: ``"RU"``.

        Raises:
            InvalidRequest: ``country`` is not two capital letters.
        """
        if not _matches(_COUNTRY, country):
            raise InvalidRequest(
                f'a country is two capital letters such as "RU", not {shown(country)}'
            )
        return self.everywhere or country in self.codes

    def __str__(self) -> str:
        return self._wire

    def __repr__(self) -> str:
        return f"GeoList({self._wire!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GeoList):
            return NotImplemented
        return self._wire == other._wire or self._code_set == other._code_set

    def __hash__(self) -> int:
        return hash(self._code_set)

    def __reduce__(self) -> tuple[type[GeoList], tuple[str]]:
        return GeoList, (self._wire,)

    @property
    def _code_set(self) -> frozenset[str]:
        return frozenset(self.codes)


def is_geo_list(wire: object) -> bool:
    """Return whether a value is the JSON form of a list of countries."""
    return _matches(_LIST, wire)


def _matches(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None
