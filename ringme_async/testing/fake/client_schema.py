"""A record on the wire: names, types and bounds of its fields, and which are writable.

It is written from the API page alone and shares nothing with the SDK's codec. A mistake in the
codec then fails against the fake.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from types import MappingProxyType
from typing import Literal, TypeAlias
from zoneinfo import available_timezones

from attrs import field, frozen

JSON: TypeAlias = "None | bool | int | float | str | list[JSON] | dict[str, JSON]"
WireType = Literal["integer", "string", "boolean"]

_LONG = 2**63
# Also part of a pattern in the OpenAPI description.
CONTROLS = r"\x00-\x1f\x7f-\x9f"
_FORBIDDEN = re.compile(rf"[{CONTROLS}\ud800-\udfff]")


@frozen(kw_only=True)
class FieldSpec:
    """One field of the resource "Client" (API page, section 1).

    Args:
        name: The name on the wire.
        types: The JSON types a server may send; the first is what a PUT must send.
        meaning: What the field is for.
        writable: May a PUT send it?
        later: Was it added by the later revision of the page?
        nullable: May it be null? True for all but ``id``.
        choices: All values; empty if there are too many to list.
        pattern: The pattern of the whole string; None allows any.
        longest: The maximum length of a string.
        least: The smallest number.
        most: The greatest number.
        listed: Returns all values that this machine knows, such as its time zones; an empty set
            allows any value.
        unlisted: The message for a value that is not among them.
    """

    name: str
    types: tuple[WireType, ...]
    meaning: str
    writable: bool = False
    later: bool = False
    nullable: bool = True
    choices: tuple[str, ...] = ()
    pattern: str | None = None
    longest: int = 255
    least: int = -_LONG
    most: int = _LONG - 1
    listed: Callable[[], frozenset[str]] | None = field(default=None, repr=False)
    unlisted: str = ""


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


_text = partial(FieldSpec, types=("string",))
_whole = partial(FieldSpec, types=("integer",), least=0)
_flag = partial(FieldSpec, types=("boolean",))

_SPECS = (
    _text(name="ambassadors", meaning="contact persons"),
    _text(name="contact_phones", meaning="contact phones"),
    _text(
        name="create_date",
        meaning="when it was created; no zone is stated",
        pattern=r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}",
    ),
    _whole(name="dial_rule_id", meaning="rule for outgoing calls", writable=True),
    _text(
        name="did_as_transfer_caller_id",
        meaning="outside number shown when a call is forwarded",
    ),
    _text(
        name="disk_space_notify_email",
        meaning="where the mail about disk space goes",
        writable=True,
        longest=254,
        pattern=rf"[^@\s{CONTROLS}]+@[^@\s{CONTROLS}]+",
    ),
    _whole(
        name="disk_space_notify_threshold",
        meaning="percent of disk used at which a mail goes out",
        writable=True,
        least=0,
        most=100,
    ),
    _text(name="domain", meaning="its domain"),
    _text(name="domain_prefix", meaning="prefix of the domain", pattern=r"[0-9]*"),
    _text(name="email", meaning="e-mail"),
    FieldSpec(
        name="extension_len",
        types=("integer", "string"),
        meaning="length of extension numbers",
        least=2,
        most=4,
        pattern=r"[234]",
    ),
    _text(name="extra_params", meaning="additional parameters, free text", longest=65_535),
    _text(name="fact_address", meaning="actual address"),
    _text(
        name="geo_list",
        meaning="countries whose IPs may use SIP accounts: * or ISO 3166 A2 codes",
        writable=True,
        longest=1_000,
        pattern=r"\*|[A-Z]{2}( [A-Z]{2})*",
    ),
    _whole(name="hold_music", meaning="sound file played on hold", writable=True),
    _whole(name="id", meaning="the client's id", nullable=False, least=1),
    _text(name="jur_address", meaning="legal address"),
    _text(name="language", meaning="language"),
    _text(name="name", meaning="its name"),
    _text(name="prefix", meaning="prefix of the client; leading zeros matter", pattern=r"[0-9]*"),
    _text(
        name="presence",
        meaning="show whether extensions are free without calling them",
        choices=("yes", "no"),
    ),
    _text(name="record_format", meaning="format of call recordings"),
    _flag(name="record_stereo", meaning="stereo recordings"),
    _flag(
        name="reg_status_log",
        meaning="whether registrations are logged; set by the provider",
    ),
    _text(
        name="short_local_caller_id",
        meaning="show inside numbers without the PBX prefix",
        choices=("yes", "no"),
    ),
    _whole(name="sip_network_permission_id", meaning="trusted SIP network", writable=True),
    _text(
        name="timezone",
        meaning="IANA zone",
        writable=True,
        longest=64,
        pattern=r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*",
        listed=_zones,
        unlisted="is no IANA time zone",
    ),
    _text(name="type", meaning="J a legal entity, F a natural person", choices=("J", "F")),
    _text(
        name="call_interactive_url",
        meaning="what is called for an interactive call",
        writable=True,
        later=True,
        longest=2_048,
        pattern=rf"https?://[^\s{CONTROLS}]+",
    ),
    _text(
        name="call_interactive_method",
        meaning="how it is called",
        writable=True,
        later=True,
        choices=("GET", "POST"),
    ),
    _whole(
        name="call_interactive_timeout",
        meaning="how long it may take",
        writable=True,
        later=True,
    ),
    _flag(
        name="call_interactive_out_call",
        meaning="whether it holds for outgoing calls",
        writable=True,
        later=True,
    ),
)

FIELDS: Mapping[str, FieldSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})
LATER_DEFAULTS: Mapping[str, JSON] = MappingProxyType(
    {
        "call_interactive_url": None,
        "call_interactive_method": "GET",
        "call_interactive_timeout": None,
        "call_interactive_out_call": False,
    }
)
EXAMPLE: Mapping[str, JSON] = MappingProxyType(
    {
        "domain": "sip.ringme.ru",
        "create_date": "2020-03-16 09:29:57",
        "hold_music": None,
        "presence": "no",
        "sip_network_permission_id": None,
        "prefix": "0001",
        "record_stereo": False,
        "ambassadors": None,
        "id": 12,
        "domain_prefix": "00001",
        "contact_phones": None,
        "name": "ringme_test",
        "timezone": "Europe/Moscow",
        "dial_rule_id": 19,
        "type": "J",
        "email": "admin@domain.com",
        "reg_status_log": False,
        "fact_address": None,
        "extra_params": None,
        "extension_len": 3,
        "geo_list": None,
        "did_as_transfer_caller_id": "default",
        "jur_address": None,
        "language": None,
        "record_format": "mp3",
        "short_local_caller_id": "yes",
        "disk_space_notify_email": None,
        "disk_space_notify_threshold": None,
    }
)

_PYTHON_TYPES: Mapping[WireType, type] = MappingProxyType(
    {"integer": int, "string": str, "boolean": bool}
)
_JSON_NAMES: Mapping[type, str] = MappingProxyType(
    {
        bool: "a boolean",
        int: "an integer",
        float: "a number with a fraction",
        str: "a string",
        list: "an array",
        dict: "an object",
    }
)


def flaw_in(spec: FieldSpec, value: JSON) -> str | None:
    """Say what is wrong with a value in a PUT, and name the field.

    Returns:
        One line, or None if nothing is wrong.
    """
    flaw = _flaw_of_value(spec, value)
    return None if flaw is None else f"{spec.name} {flaw}"


def _flaw_of_value(spec: FieldSpec, value: JSON) -> str | None:
    if value is None:
        return None if spec.nullable else "must not be null"
    wanted = _PYTHON_TYPES[spec.types[0]]
    if type(value) is not wanted:
        return f"must be {_JSON_NAMES[wanted]} or null, not {_JSON_NAMES[type(value)]}"
    if isinstance(value, str):
        return _flaw_of_text(spec, value)
    if isinstance(value, int) and not spec.least <= value <= spec.most:
        return f"must be from {spec.least} to {spec.most}, not {value}"
    return None


def _flaw_of_text(spec: FieldSpec, value: str) -> str | None:
    if _FORBIDDEN.search(value):
        return "must not hold control characters or halves of a surrogate pair"
    if len(value) > spec.longest:
        return f"must have at most {spec.longest} characters, not {len(value)}"
    if spec.choices and value not in spec.choices:
        return f"must be one of {', '.join(spec.choices)}, not {value!r}"
    if spec.pattern is not None and re.fullmatch(spec.pattern, value) is None:
        return f"is malformed: {value!r}"
    known = spec.listed() if spec.listed is not None else frozenset[str]()
    return f"{spec.unlisted}: {value!r}" if known and value not in known else None
