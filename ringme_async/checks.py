"""What may be written into a client: what can never be right is refused before it is sent."""

from __future__ import annotations

import re
from typing import Protocol

from ringme_async.errors import InvalidRequest
from ringme_async.geo import GeoList
from ringme_async.unset import UNSET, Unset
from ringme_async.wording import shown

_LARGEST_ID = 2**63 - 1
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*")


class _Named(Protocol):
    @property
    def name(self) -> str: ...


def id_or_null(_update: object, field: _Named, value: object) -> None:
    """Check an id: an integer from 0 that fits into 64 bits with a sign."""
    _refuse_unless(
        _is_integer(value, _LARGEST_ID), field, f"an integer from 0 to {_LARGEST_ID}", value
    )


def percent_or_null(_update: object, field: _Named, value: object) -> None:
    """Check a percentage: an integer from 0 to 100."""
    _refuse_unless(_is_integer(value, 100), field, "an integer from 0 to 100", value)


def email_or_null(_update: object, field: _Named, value: object) -> None:
    """Check that this can be one address; whether it is one, only its server knows."""
    _refuse_unless(_is_address(value), field, "one e-mail address", value)


def zone_or_null(_update: object, field: _Named, value: object) -> None:
    """Check the form of a zone's name.

    Not whether there is such a zone: the database of zones on this machine can be missing, and is
    not that of the server.
    """
    _refuse_unless(_is_zone(value), field, 'an IANA zone such as "Europe/Moscow"', value)


def as_geo_list(value: GeoList | str | None | Unset) -> GeoList | None | Unset:
    """Take a list of countries in either form.

    Raises:
        InvalidRequest: It is no list of countries.
    """
    if value is None or value is UNSET or isinstance(value, GeoList):
        return value
    return GeoList(value)


def _is_integer(value: object, largest: int) -> bool:
    return type(value) is int and 0 <= value <= largest


def _is_address(value: object) -> bool:
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        return False
    mailbox, _, host = value.partition("@")
    return bool(mailbox and host) and "@" not in host


def _is_zone(value: object) -> bool:
    return isinstance(value, str) and _ZONE.fullmatch(value) is not None


def _refuse_unless(fits: bool, field: _Named, what: str, value: object) -> None:
    if not (fits or value is None or value is UNSET):
        raise InvalidRequest(
            f"{field.name} must be {what}, or None to clear it; not {shown(value)}"
        )
