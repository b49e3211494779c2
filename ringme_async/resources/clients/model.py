"""A client of RingMe as a value (API page, section 1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from attrs import field, fields, frozen

from ringme_async._internal.frozen_json import FrozenJSON, JSONLike
from ringme_async._internal.text import shown
from ringme_async.errors import InvalidRequest
from ringme_async.resources.clients.geo_list import GeoList, is_geo_list
from ringme_async.resources.clients.rendering import Row, html_table, rich_table, worded

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["FIELDS", "Client", "ClientType"]

NO_EXTRA: Final = FrozenJSON()
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} (?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}")
_LENGTH = re.compile(r"0|[1-9][0-9]{0,17}")


class ClientType(StrEnum):
    """The legal form of a client."""

    LEGAL_ENTITY = "J"
    NATURAL_PERSON = "F"

    def __repr__(self) -> str:
        return f"ClientType.{self.name}"


_TYPES: Mapping[object, ClientType] = {kind.value: kind for kind in ClientType}


def _as_type(value: ClientType | str | None) -> ClientType | str | None:
    return _TYPES.get(value, value)


def _as_length(value: int | str | None) -> int | str | None:
    # Convert only what str() restores: "03", "3 " and digits of other scripts stay strings.
    return int(value) if isinstance(value, str) and _LENGTH.fullmatch(value) else value


def _as_moment(value: datetime | str | None) -> datetime | str | None:
    # fromisoformat() accepts forms that could not be written back, and more of them in newer
    # Pythons: some read 24:00:00 as the next day.
    if not isinstance(value, str) or _MOMENT.fullmatch(value) is None:
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return value


def _as_yes_no(value: bool | str | None) -> bool | str | None:
    if value == "yes":
        return True
    return False if value == "no" else value


def _as_geo_list(value: GeoList | str | None) -> GeoList | str | None:
    return GeoList(value) if isinstance(value, str) and is_geo_list(value) else value


def as_extra(value: Mapping[str, JSONLike]) -> FrozenJSON:
    if isinstance(value, FrozenJSON):
        return value
    if not isinstance(value, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequest(f"extra must be a mapping of fields, not {shown(value)}")
    return FrozenJSON(value)


# Without a weak reference slot, like the codec's _Draft: __class__ needs equal layouts.
@frozen(weakref_slot=False)
class Client:
    """One tenant of the PBX, as the server last returned it.

    A field is None if the server sent ``null`` or left it out. If a field's type has ``str`` beside
    a richer type, a value outside the richer type stays a ``str``.

    Tests may make a client: ``Client(id=12, name="x")``. The API's raw values are accepted
    (``type="J"``, ``presence="yes"``). Other fields are None, and are written as ``null``. Pass
    fields by name; only the position of ``id`` is stable.

    Clients with equal values are equal, whether a field was ``null`` or left out.

    Attributes:
        id: Its id.
        name: Its name.
        type: A legal entity or a natural person.
        domain: Its domain.
        domain_prefix: The prefix for dialling its extensions from another domain.
        prefix: Its prefix: digits; leading zeros count.
        extension_len: The number of digits of its extensions.
        create_date: When it was created; without a zone, as the API states none.
        timezone: Its IANA zone.
        language: Its language.
        email: Its e-mail address.
        ambassadors: Its contact persons.
        contact_phones: Their phones.
        jur_address: Its legal address.
        fact_address: Its actual address.
        dial_rule_id: The rule for its outgoing calls.
        sip_network_permission_id: The trusted SIP network: phones may log in by IP address, and
            only its addresses may call.
        geo_list: The countries whose IP addresses may use SIP accounts; None means the provider's
            own list.
        hold_music: The sound file that is played on hold.
        disk_space_notify_threshold: The percentage of disk space that triggers a mail.
        disk_space_notify_email: The address for that mail.
        did_as_transfer_caller_id: The outside number shown for a forwarded call.
        short_local_caller_id: Whether inside numbers are shown without the PBX's prefix.
        presence: Whether the state of extensions is shown.
        record_format: The format of call recordings.
        record_stereo: Whether calls are recorded in stereo.
        reg_status_log: Whether registrations are logged.
        extra_params: Additional parameters, in free text.
        extra: All other fields that the server sent.
    """

    id: int
    name: str | None = None
    type: ClientType | str | None = field(default=None, converter=_as_type)
    domain: str | None = None
    domain_prefix: str | None = None
    prefix: str | None = None
    extension_len: int | str | None = field(default=None, converter=_as_length)
    create_date: datetime | str | None = field(default=None, converter=_as_moment)
    timezone: str | None = None
    language: str | None = None
    email: str | None = None
    ambassadors: str | None = None
    contact_phones: str | None = None
    jur_address: str | None = None
    fact_address: str | None = None
    dial_rule_id: int | None = None
    sip_network_permission_id: int | None = None
    geo_list: GeoList | str | None = field(default=None, converter=_as_geo_list)
    hold_music: int | None = None
    disk_space_notify_threshold: int | None = None
    disk_space_notify_email: str | None = None
    did_as_transfer_caller_id: str | None = None
    short_local_caller_id: bool | str | None = field(default=None, converter=_as_yes_no)
    presence: bool | str | None = field(default=None, converter=_as_yes_no)
    record_format: str | None = None
    record_stereo: bool | None = None
    reg_status_log: bool | None = None
    extra_params: str | None = None
    extra: FrozenJSON = field(default=NO_EXTRA, converter=as_extra)

    def __repr__(self) -> str:
        said = [(name, getattr(self, name)) for name in FIELDS]
        named = [f"{name}={shown(value)}" for name, value in said if value is not None]
        if self.extra:
            named.append(f"extra={shown(self.extra)}")
        return f"Client({', '.join(named)})"

    def __rich__(self) -> Table:
        return rich_table(worded(f"Client {self.id}"), self._rows())

    def _repr_html_(self) -> str:
        return html_table(worded(f"Client {self.id}"), self._rows())

    def _rows(self) -> list[Row]:
        said = [(name, getattr(self, name)) for name in FIELDS]
        more = [(worded(name), shown(value)) for name, value in self.extra.items()]
        return [(name, worded(value)) for name, value in said if value is not None] + more


FIELDS: Final[tuple[str, ...]] = tuple(
    attribute.name for attribute in fields(Client) if attribute.name != "extra"
)
"""The names of the 28 modelled fields, the same in JSON and in Python."""

FIELD_NAMES: Final = frozenset(FIELDS)
