"""A change of a client as a value, and what the API takes in each field (API page, section 1)."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Final, Literal, Protocol

from attrs import evolve, field, fields, frozen

from ringme_async._internal.frozen_json import JSON, FrozenJSON, JSONLike, same_json
from ringme_async._internal.text import shown
from ringme_async.errors import InvalidRequest
from ringme_async.resources.clients.geo_list import GeoList
from ringme_async.resources.clients.model import FIELD_NAMES, NO_EXTRA, Client, as_extra


class Unset(Enum):
    """The type of ``UNSET``, which is false, and its one value.

    An enumeration, so that type checkers narrow on ``is UNSET`` and a copy or an unpickled twin is
    the same object.
    """

    UNSET = "UNSET"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "UNSET"

    def __str__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""Not named: the field is not sent and stays as it is. ``None`` is sent, and clears it."""

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


def _unmodelled(_update: object, _field: object, extra: FrozenJSON) -> None:
    for name in extra:
        if name in WRITABLE:
            raise InvalidRequest(f"{name} is a field of ClientUpdate: name it itself, not in extra")
        if name in FIELD_NAMES:
            raise InvalidRequest(
                f"{name} cannot be changed: the API takes only {', '.join(WRITABLE)}"
            )


@frozen(kw_only=True)
class ClientUpdate:
    """A change of a client: what it does not name stays as it is, what it names None is cleared.

    It is false if it names nothing. Two updates are equal if they name the same.

    Args:
        dial_rule_id: The rule for outgoing calls; an integer from 0.
        sip_network_permission_id: The trusted SIP network; an integer from 0.
        geo_list: The countries whose IP addresses may use SIP accounts: a ``GeoList``, or its wire
            form such as ``"RU BY"`` or ``"*"``. None lets the provider's own list hold.
        hold_music: The sound file that is played on hold; an integer from 0.
        disk_space_notify_threshold: The percentage of disk space at which a mail goes out; an
            integer from 0 to 100.
        disk_space_notify_email: Where that mail goes; one address.
        timezone: The IANA zone, such as ``"Europe/Moscow"``. Only its form is checked, as the
            server's database of zones is not that of this machine.
        extra: Fields that a newer server takes and ``Client`` has no attribute for, such as
            ``{"call_interactive_timeout": 5}``. They are sent as they are.

    Raises:
        InvalidRequest: A value is malformed; the message names the field.
    """

    dial_rule_id: int | None | Unset = field(default=UNSET, validator=id_or_null)
    sip_network_permission_id: int | None | Unset = field(default=UNSET, validator=id_or_null)
    geo_list: GeoList | None | Unset = field(default=UNSET, converter=as_geo_list)
    hold_music: int | None | Unset = field(default=UNSET, validator=id_or_null)
    disk_space_notify_threshold: int | None | Unset = field(
        default=UNSET, validator=percent_or_null
    )
    disk_space_notify_email: str | None | Unset = field(default=UNSET, validator=email_or_null)
    timezone: str | None | Unset = field(default=UNSET, validator=zone_or_null)
    extra: FrozenJSON = field(default=NO_EXTRA, converter=as_extra, validator=_unmodelled)

    @classmethod
    def diff(cls, before: Client, after: Client) -> ClientUpdate:
        """Make the update that turns one state of a client into another.

        It names the writable fields whose meaning differs, and in ``extra`` the other fields that
        ``after`` has and ``before`` lacks or has otherwise. A field of ``extra`` that ``after``
        lacks is no wish to clear it, and is not named.

        Raises:
            InvalidRequest: ``after`` differs by a value that cannot be written, or one of the two
                is no ``Client``.
        """
        _is_client("before", before)
        _is_client("after", after)
        changed: dict[str, Any] = {
            name: getattr(after, name)
            for name in WRITABLE
            if getattr(after, name) != getattr(before, name)
        }
        extra: dict[str, JSONLike] = {
            name: value
            for name, value in after.extra.items()
            if name not in before.extra or not same_json(value, before.extra[name])
        }
        return cls(**changed, extra=extra)

    def apply_to(self, client: Client) -> Client:
        """Give the client as it is after this update, if the server does as told.

        Raises:
            InvalidRequest: It is no ``Client``.
        """
        _is_client("client", client)
        return evolve(client, **self._named(), extra=client.extra | self.extra)

    def changes(self) -> dict[str, JSON]:
        """Give what is sent: each field that is named, in its wire form."""
        wire: dict[str, JSON] = {
            name: str(value) if isinstance(value, GeoList) else value
            for name, value in self._named().items()
        }
        return wire | self.extra.to_json()

    def __bool__(self) -> bool:
        return bool(self.extra or self._named())

    def __repr__(self) -> str:
        named = [f"{name}={shown(value)}" for name, value in self._named().items()]
        if self.extra:
            named.append(f"extra={shown(self.extra)}")
        return f"ClientUpdate({', '.join(named)})"

    def _named(self) -> dict[str, Any]:
        return {name: value for name in WRITABLE if (value := getattr(self, name)) is not UNSET}


def _is_client(name: str, value: object) -> None:
    if not isinstance(value, Client):
        raise InvalidRequest(f"{name} is a Client, not {shown(value)}")


WRITABLE: Final[tuple[str, ...]] = tuple(
    attribute.name for attribute in fields(ClientUpdate) if attribute.name != "extra"
)
