"""Decode and encode clients: any value, but exact JSON types (API page, section 1)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from types import NoneType
from typing import Any, Union, cast

import msgspec
from attrs import NOTHING, field, fields, frozen, make_class, resolve_types
from cattrs import Converter
from cattrs.gen import (
    make_dict_structure_fn_from_attrs,  # pyright: ignore[reportUnknownVariableType]
    make_dict_unstructure_fn,
    override,
)
from msgspec.structs import astuple

from ringme_async._internal.frozen_json import DEEPEST, JSON, JSONLike, RecordExtra
from ringme_async._internal.lenient_json import decode_leniently, nested_too_deep, read_with_flaws
from ringme_async._internal.text import shown
from ringme_async.errors import DecodeError, InvalidRequest, one_line
from ringme_async.resources.clients.geo_list import GeoList
from ringme_async.resources.clients.model import FIELDS, Client, ClientType
from ringme_async.resources.clients.update import ClientUpdate

__all__ = [
    "client_from_json",
    "client_to_json",
    "decode_client",
    "decode_json",
    "encode_client",
    "encode_update",
    "id_in",
]

FIELD_NAMES = frozenset(FIELDS)
_ALL_NULL: Mapping[str, None] = dict.fromkeys(FIELDS)


def decode_json(body: bytes) -> JSON:
    """Decode JSON; integers keep all their digits, other numbers are floats.

    If a name occurs twice in an object, the last value counts.

    Args:
        body: UTF-8, with or without a byte order mark.

    Raises:
        DecodeError: The body is empty or no JSON (``garbled``), holds NaN, an infinity or a number
            too large for Python, or is nested deeper than 64 levels. ``field`` names the field of
            the outermost object, if any.
    """
    value = _decode(body)
    # Counting brackets is cheap, and nearly always avoids the walk through the value.
    if body.count(b"{") + body.count(b"[") > DEEPEST and _is_too_deep(value):
        raise nested_too_deep(body)
    return value


def decode_client(body: bytes) -> Client:
    """Decode a client's record.

    Raises:
        DecodeError: The body is no JSON object, or a field has the wrong JSON type. ``field`` and
            ``value`` name it; ``body`` keeps the whole body.
    """
    try:
        row = _read_row(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        row = None
    # Outside the `except`, so that the fast decoder's error is not chained.
    return _decode_any_client(body) if row is None else _client_of(row)


def _decode_any_client(body: bytes) -> Client:
    """Decode a record that lacks a field or has extra ones, or name its flaw."""
    record = _decode(body)
    try:
        return client_from_json(cast("dict[str, JSON]", record))
    except DecodeError as error:
        if _is_too_deep(record):
            raise nested_too_deep(body) from None
        error.body = body
        raise


def id_in(body: bytes) -> int | None:
    """Find the client id in a body, even a malformed one; None if it has none."""
    try:
        record = read_with_flaws(body)
    except (ValueError, RecursionError):
        return None
    found = cast("dict[str, object]", record).get("id") if isinstance(record, dict) else None
    return found if type(found) is int else None


def client_from_json(record: Mapping[str, JSONLike]) -> Client:
    """Make a client from a decoded record.

    Raises:
        DecodeError: The record is no object, or a field has the wrong JSON type; ``field`` and
            ``value`` name it.
    """
    if not isinstance(record, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DecodeError(f"a record must be a JSON object, not {shown(record)}", value=record)
    if "id" not in record:
        raise DecodeError("id is missing", field="id")
    return _structure({**_ALL_NULL, **record, "extra": _extra_of(record)}, Client)


def encode_client(client: Client) -> bytes:
    """Encode a client's record, as the same JSON that it was decoded from.

    Raises:
        InvalidRequest: A field of a hand-made client has no JSON form.
    """
    return _encode(client_to_json(client))


def client_to_json(client: Client) -> dict[str, JSON]:
    """Make a client's record: the same JSON that the client was decoded from.

    Fields that were absent stay absent, unless they have a value now. One value changes: an
    ``extension_len`` of ``"3"`` becomes ``3``. Fields stand in the order of ``Client``. The record
    of a hand-made client has all 28 fields.

    Raises:
        InvalidRequest: A field of a hand-made client has no JSON form, or this is no ``Client``.
    """
    if not isinstance(client, Client):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequest(f"client is a Client, not {shown(client)}")
    record: dict[str, JSON] = _unstructure(client)
    extra = client.extra
    if isinstance(extra, RecordExtra):
        for name in extra.absent:
            if record[name] is None:
                del record[name]
    for name, value in extra.to_json().items():
        if name in FIELD_NAMES:
            raise InvalidRequest(f"{name} is a field of Client: name it itself, not in extra")
        record[name] = value
    return record


def encode_update(update: ClientUpdate) -> bytes:
    """Encode the body of the PUT for an update.

    Raises:
        InvalidRequest: The update is empty.
    """
    changes = update.changes()
    if not changes:
        raise InvalidRequest("the update names nothing to change")
    return _encode(changes)


@frozen
class _JSONForm:
    """The JSON form of one declared type."""

    types: tuple[type, ...]
    expected: str
    write: Callable[[object], object] | None = None


def _write_moment(value: object) -> object:
    if isinstance(value, datetime) and value.tzinfo is None and value.microsecond == 0:
        return value.isoformat(" ")
    return value


def _write_yes_no(value: object) -> object:
    if value is True:
        return "yes"
    return "no" if value is False else value


def _write_type(value: object) -> object:
    return value.value if isinstance(value, ClientType) else value


def _write_geo_list(value: object) -> object:
    return str(value) if isinstance(value, GeoList) else value


_TEXT = (str, NoneType)

_JSON_FORMS: Mapping[object, _JSONForm] = {
    int: _JSONForm((int,), "an integer"),
    int | None: _JSONForm((int, NoneType), "an integer or null"),
    str | None: _JSONForm(_TEXT, "a string or null"),
    bool | None: _JSONForm((bool, NoneType), "true, false or null"),
    int | str | None: _JSONForm((int, str, NoneType), "an integer, a string or null"),
    bool | str | None: _JSONForm(_TEXT, "a string or null", _write_yes_no),
    datetime | str | None: _JSONForm(_TEXT, "a string or null", _write_moment),
    ClientType | str | None: _JSONForm(_TEXT, "a string or null", _write_type),
    GeoList | str | None: _JSONForm(_TEXT, "a string or null", _write_geo_list),
}
"""The JSON form of each declared type of ``Client``. Types are compared exactly: ``true`` is no
integer, although ``bool`` is an ``int``. The model itself interprets the values."""


def _reader(name: str, form: _JSONForm) -> Callable[[object, object], object]:
    types = form.types

    def read(value: object, _type: object) -> object:
        if type(value) in types:
            return value
        raise DecodeError(
            f"{name} must be {form.expected}, not {shown(value)}", field=name, value=value
        )

    return read


def _writer(name: str, form: _JSONForm) -> Callable[[object], object]:
    types, write = form.types, form.write

    def unstructure(value: object) -> object:
        written = value if write is None else write(value)
        if type(written) in types:
            return written
        raise InvalidRequest(f"{name} cannot be written as {form.expected}: {shown(value)}")

    return unstructure


_ATTRIBUTES = fields(resolve_types(Client))
_FIELD_FORMS = {a.name: _JSON_FORMS[a.type] for a in _ATTRIBUTES if a.name != "extra"}


def _make_hooks() -> tuple[
    Callable[[Mapping[str, object], type[Client]], Client],
    Callable[[Client], dict[str, Any]],
]:
    converter = Converter(detailed_validation=False)
    forms = _FIELD_FORMS.items()
    readers: dict[str, Any] = {n: override(struct_hook=_reader(n, f)) for n, f in forms}
    writers: dict[str, Any] = {n: override(unstruct_hook=_writer(n, f)) for n, f in forms}
    readers["extra"] = override(struct_hook=lambda extra, _type: extra)
    # Without defaults, cattrs generates a single constructor call.
    every: list[Any] = [a.evolve(default=NOTHING) for a in _ATTRIBUTES]
    structure: Any = make_dict_structure_fn_from_attrs(
        every, Client, converter, _cattrs_detailed_validation=False, **readers
    )
    unstructure = make_dict_unstructure_fn(Client, converter, extra=override(omit=True), **writers)
    return structure, unstructure


_structure, _unstructure = _make_hooks()

_Row = msgspec.defstruct(
    "_Row",
    [
        (name, Union[form.types])  # noqa: UP007 - no `X | Y` can be made of a tuple
        for name, form in _FIELD_FORMS.items()
    ],
    forbid_unknown_fields=True,
    gc=False,
)
"""A record of exactly the modelled fields, as nearly all are; decoded and checked in one pass."""

_read_row = msgspec.json.Decoder(_Row).decode

_Draft: Any = make_class(
    "_Draft",
    {a.name: field(default=a.default, converter=a.converter) for a in _ATTRIBUTES},
    slots=True,
    weakref_slot=False,
)
"""A mutable client: setting its fields takes a fifth of the time, as a frozen class sets each field
by a call."""


def _client_of(row: msgspec.Struct) -> Client:
    client: Client = _Draft(*astuple(row))
    client.__class__ = Client
    return client


def _extra_of(record: Mapping[str, JSONLike]) -> RecordExtra:
    unknown = {name: value for name, value in record.items() if name not in FIELD_NAMES}
    try:
        return RecordExtra(unknown, FIELD_NAMES.difference(record))
    except InvalidRequest as error:
        raise DecodeError(error.reason, value=unknown) from None


def _decode(body: bytes) -> JSON:
    try:
        return cast("JSON", msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return decode_leniently(body)


def _is_too_deep(value: JSON) -> bool:
    values = [value]
    for _ in range(DEEPEST):
        values = [inner for outer in values for inner in _children(outer)]
    return any(isinstance(inner, dict | list) for inner in values)


def _children(value: JSON) -> list[JSON]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _encode(value: JSON) -> bytes:
    try:
        return msgspec.json.encode(value)
    except ValueError:
        pass
    try:
        # json escapes a lone surrogate, which has no UTF-8 form.
        return json.dumps(value, separators=(",", ":")).encode("ascii")
    except ValueError as error:
        raise InvalidRequest(one_line(str(error))) from None
