"""A change of a client as a value, with checks of each field (API page, section 1)."""

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
    """The type of ``UNSET``, its only value, which is false.

    It is an enumeration so that type checkers narrow on ``is UNSET``, and so that a copied or
    unpickled ``UNSET`` is the same object.
    """

    UNSET = "UNSET"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "UNSET"

    def __str__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""The field is not sent and stays as it is. ``None`` is sent and clears the field."""

_LARGEST_ID = 2**63 - 1
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*")


class _Named(Protocol):
    @property
    def name(self) -> str: ...


def id_or_null(_update: object, field: _Named, value: object) -> None:
    """Check an id: an integer from 0 that fits into 63 bits."""
    _refuse_unless(
        _is_integer(value, _LARGEST_ID), field, f"an integer from 0 to {_LARGEST_ID}", value
    )


def percent_or_null(_update: object, field: _Named, value: object) -> None:
    """Check a percentage: an integer from 0 to 100."""
    _refuse_unless(_is_integer(value, 100), field, "an integer from 0 to 100", value)


def email_or_null(_update: object, field: _Named, value: object) -> None:
    """Check the form of one e-mail address; only its mail server knows whether it exists."""
    _refuse_unless(_is_address(value), field, "one e-mail address", value)


def zone_or_null(_update: object, field: _Named, value: object) -> None:
    """Check the form of a zone's name.

    The zone may be unknown here: the local zone database can be missing, and the server has its
    own.
    """
    _refuse_unless(_is_zone(value), field, 'an IANA zone such as "Europe/Moscow"', value)


def as_geo_list(value: GeoList | str | None | Unset) -> GeoList | None | Unset:
    """Convert a list of countries from either form.

    Raises:
        InvalidRequest: The value is no list of countries.
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


def _check_extra(_update: object, _field: object, extra: FrozenJSON) -> None:
    for name in extra:
        if name in WRITABLE:
            raise InvalidRequest(f"{name} is a field of ClientUpdate: name it itself, not in extra")
        if name in FIELD_NAMES:
            raise InvalidRequest(
                f"{name} cannot be changed: the API takes only {', '.join(WRITABLE)}"
            )


@frozen(kw_only=True)
class ClientUpdate:
    """A change of a client: fields left ``UNSET`` stay, fields set to None are cleared.

    An empty update is false. Two updates are equal if they set the same fields to the same values.

    Args:
        dial_rule_id: The rule for outgoing calls; an integer from 0.
        sip_network_permission_id: The trusted SIP network; an integer from 0.
        geo_list: The countries whose IP addresses may use SIP accounts: a ``GeoList``, or a string
            such as ``"RU BY"`` or ``"*"``. None means the provider's own list.
        hold_music: The sound file that is played on hold; an integer from 0.
        disk_space_notify_threshold: The percentage of disk space that triggers a mail; an integer
            from 0 to 100.
        disk_space_notify_email: The address for that mail.
        timezone: The IANA zone, such as ``"Europe/Moscow"``. Only its form is checked, because the
            server has its own zone database.
        extra: Fields of a newer server that ``Client`` has no attribute for, such as
            ``{"call_interactive_timeout": 5}``. They are sent unchanged.

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
    extra: FrozenJSON = field(default=NO_EXTRA, converter=as_extra, validator=_check_extra)

    @classmethod
    def diff(cls, before: Client, after: Client) -> ClientUpdate:
        """Make the update that turns ``before`` into ``after``.

        It sets the writable fields that differ. Its ``extra`` has the other fields of ``after``
        that are new or differ. A field of ``extra`` that ``after`` lacks is not cleared.

        Raises:
            InvalidRequest: ``after`` differs in a field that cannot be written, or an argument is
                no ``Client``.
        """
        _check_client("before", before)
        _check_client("after", after)
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
        """Return the client with this update applied, without asking the server.

        Raises:
            InvalidRequest: ``client`` is no ``Client``.
        """
        _check_client("client", client)
        return evolve(client, **self._set_fields(), extra=client.extra | self.extra)

    def changes(self) -> dict[str, JSON]:
        """Return the fields that are sent, in their JSON form."""
        wire: dict[str, JSON] = {
            name: str(value) if isinstance(value, GeoList) else value
            for name, value in self._set_fields().items()
        }
        return wire | self.extra.to_json()

    def __bool__(self) -> bool:
        return bool(self.extra or self._set_fields())

    def __repr__(self) -> str:
        named = [f"{name}={shown(value)}" for name, value in self._set_fields().items()]
        if self.extra:
            named.append(f"extra={shown(self.extra)}")
        return f"ClientUpdate({', '.join(named)})"

    def _set_fields(self) -> dict[str, Any]:
        return {name: value for name in WRITABLE if (value := getattr(self, name)) is not UNSET}


def _check_client(name: str, value: object) -> None:
    if not isinstance(value, Client):
        raise InvalidRequest(f"{name} is a Client, not {shown(value)}")


WRITABLE: Final[tuple[str, ...]] = tuple(
    attribute.name for attribute in fields(ClientUpdate) if attribute.name != "extra"
)
"""The names of the seven fields that can be changed."""
