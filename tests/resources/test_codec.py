"""Bytes to clients and back: nothing the server said is lost, nothing it must not say gets in."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from attrs.exceptions import FrozenInstanceError
from hypothesis import example, given
from hypothesis import strategies as st

from ringme_async._internal.frozen_json import FrozenJSON
from ringme_async.errors import DecodeError, InvalidRequest
from ringme_async.resources.clients.codec import (
    client_from_json,
    client_to_json,
    decode_client,
    encode_client,
    encode_update,
)
from ringme_async.resources.clients.geo_list import GeoList
from ringme_async.resources.clients.model import FIELDS, Client, ClientType
from ringme_async.resources.clients.update import ClientUpdate
from tests.records import (
    EXAMPLE,
    FLAGS,
    INTEGERS,
    LATER,
    TEXTS,
    any_json,
    exactly,
    records,
)


def body_with(**fields: object) -> bytes:
    return json.dumps({"id": 12, **fields}).encode()


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def test_the_example_of_the_api_page_is_decoded_to_typed_values() -> None:
    client = decode_client(EXAMPLE)

    assert client == Client(
        id=12,
        name="ringme_test",
        type=ClientType.LEGAL_ENTITY,
        domain="sip.ringme.ru",
        domain_prefix="00001",
        prefix="0001",
        extension_len=3,
        create_date=datetime(2020, 3, 16, 9, 29, 57),
        timezone="Europe/Moscow",
        email="admin@domain.com",
        dial_rule_id=19,
        did_as_transfer_caller_id="default",
        short_local_caller_id=True,
        presence=False,
        record_format="mp3",
        record_stereo=False,
        reg_status_log=False,
    )


def test_fields_of_a_later_revision_land_in_extra() -> None:
    client = decode_client(LATER)

    assert client.geo_list == GeoList("RU BY")
    assert client.extra == {
        "call_interactive_url": "https://hooks.example.com/call",
        "call_interactive_method": "POST",
        "call_interactive_timeout": 5,
        "call_interactive_out_call": False,
    }


@pytest.mark.parametrize("body", [EXAMPLE, LATER], ids=["this revision", "the later one"])
def test_a_recorded_body_is_written_as_it_was_read(body: bytes) -> None:
    assert exactly(json.loads(encode_client(decode_client(body)))) == exactly(json.loads(body))


@given(record=records(), ascii_only=st.booleans())
@example(record={"id": 1, "extension_len": "3"}, ascii_only=True)
@example(record={"id": 1, "name": "\ud800"}, ascii_only=True)
@example(record=dict.fromkeys(FIELDS[1:]) | {"id": 1, "x": 10**400}, ascii_only=True)
def test_reading_and_writing_gives_back_the_same_json(
    record: dict[str, Any], ascii_only: bool
) -> None:
    text = json.dumps(record, ensure_ascii=ascii_only)
    try:
        body = text.encode()
    except UnicodeEncodeError:
        body = json.dumps(record).encode()

    client = decode_client(body)
    written = json.loads(encode_client(client))

    length = client.extension_len
    if isinstance(record.get("extension_len"), str) and isinstance(length, int):
        assert str(length) == record["extension_len"]
        record["extension_len"] = length
    assert exactly(written) == exactly(record)
    assert exactly(client_to_json(client)) == exactly(record)
    assert decode_client(encode_client(client)) == client
    assert pickle.loads(pickle.dumps(client)) == client
    assert exactly(client_to_json(pickle.loads(pickle.dumps(client)))) == exactly(record)


def what_comes_of(read: Callable[[Any], Client], given: object) -> object:
    """Return the decoded value with its types, or the error."""
    try:
        return exactly(client_to_json(read(given)))
    except DecodeError as error:
        return error.field, str(error)


@given(
    record=records(),
    odd=st.dictionaries(st.sampled_from(FIELDS), any_json, max_size=1),
)
def test_a_body_of_only_modelled_fields_is_read_like_any_record(
    record: dict[str, Any], odd: dict[str, Any]
) -> None:
    modelled = {name: value for name, value in record.items() if name in FIELDS}
    body = json.dumps(dict.fromkeys(FIELDS) | modelled | odd).encode()
    assert what_comes_of(decode_client, body) == what_comes_of(client_from_json, json.loads(body))


def test_a_decoded_client_has_the_class_of_a_hand_made_one() -> None:
    body = json.dumps(dict.fromkeys(FIELDS) | {"id": 12, "name": "x"}).encode()
    client = decode_client(body)
    assert type(client) is Client
    assert client == Client(id=12, name="x")
    with pytest.raises(FrozenInstanceError):
        client.name = "y"  # type: ignore[misc]


def test_absent_and_null_fields_read_alike_and_are_written_apart() -> None:
    absent, null = decode_client(body_with()), decode_client(body_with(hold_music=None))

    assert absent == null
    assert hash(absent) == hash(null)
    assert client_to_json(absent) == {"id": 12}
    assert client_to_json(null) == {"id": 12, "hold_music": None}


def test_a_field_that_was_absent_is_written_once_it_has_a_value() -> None:
    client = evolve(decode_client(body_with()), hold_music=5)

    assert client_to_json(client) == {"id": 12, "hold_music": 5}


def test_an_unknown_field_in_place_of_a_missing_one_is_read() -> None:
    record: dict[str, Any] = dict.fromkeys(FIELDS) | {"id": 12, "newer": 1}
    del record["hold_music"]

    client = client_from_json(record)

    assert client.extra == {"newer": 1}
    assert client_to_json(client) == record


def test_a_field_named_extra_is_an_unknown_field() -> None:
    client = decode_client(body_with(extra={"a": 1}))

    assert client.extra == {"extra": {"a": 1}}
    assert client_to_json(client) == {"id": 12, "extra": {"a": 1}}


def test_the_last_value_of_a_repeated_name_counts() -> None:
    assert decode_client(b'{"id": 1, "id": 2, "name": "a", "name": null}') == Client(id=2)


@pytest.mark.parametrize("wire", [3, "3"])
def test_the_length_of_extensions_is_read_from_either_wire_form(wire: object) -> None:
    client = decode_client(body_with(extension_len=wire))

    assert client.extension_len == 3
    assert client_to_json(client)["extension_len"] == 3


WRONG = [
    *((name, "5") for name in INTEGERS),
    *((name, 3.0) for name in ("id", "extension_len", *INTEGERS)),
    *((name, True) for name in ("id", "extension_len", *INTEGERS, *TEXTS)),
    *((name, 0) for name in (*FLAGS, *TEXTS)),
    *((name, "true") for name in FLAGS),
    *((name, []) for name in FIELDS),
    *((name, {"a": 1}) for name in FIELDS),
    ("id", None),
    ("id", "12"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_json_type_is_an_error_that_names_field_and_value(name: str, value: object) -> None:
    body = body_with(**{name: value})

    with pytest.raises(DecodeError, match=f"^{name} must be ") as caught:
        decode_client(body)

    assert caught.value.field == name
    assert caught.value.value == value
    assert caught.value.body == body
    assert repr(value) in str(caught.value)


def test_every_field_has_a_type_that_is_checked() -> None:
    assert {name for name, _ in WRONG} == set(FIELDS)


def test_a_record_without_an_id_is_an_error_that_names_it() -> None:
    with pytest.raises(DecodeError, match="id is missing") as caught:
        decode_client(b'{"name": "x"}')

    assert caught.value.field == "id"


def test_an_errors_message_is_short_and_in_one_line_whatever_the_value() -> None:
    with pytest.raises(DecodeError) as caught:
        decode_client(body_with(name=["a\nb" * 10_000] * 100))

    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"12", b"null", b"true", b"[{}]"])
def test_a_record_that_is_no_object_is_an_error(body: bytes) -> None:
    with pytest.raises(DecodeError, match="a record must be a JSON object") as caught:
        decode_client(body)

    assert caught.value.field is None
    assert caught.value.body == body


@given(st.binary(max_size=8), st.integers(min_value=0, max_value=len(EXAMPLE)))
def test_a_garbled_record_ends_in_a_client_or_in_a_decode_error(junk: bytes, place: int) -> None:
    body = EXAMPLE[:place] + junk + EXAMPLE[place + len(junk) :]
    try:
        client = decode_client(body)
    except DecodeError:
        return
    assert decode_client(encode_client(client)) == client


def test_a_record_as_deep_as_allowed_can_be_used_like_any_other() -> None:
    client = decode_client(b'{"id": 1, "x": ' + nested(63).encode() + b"}")

    assert pickle.loads(pickle.dumps(client)) == client
    assert decode_client(encode_client(client)) == client
    assert hash(client) == hash(client_from_json(client_to_json(client)))
    assert "x" in repr(client)


@pytest.mark.parametrize("name", ["x", "name"])
def test_a_record_that_is_too_deep_is_an_error_that_can_be_pickled(name: str) -> None:
    body = b'{"id": 1, "%b": %b}' % (name.encode(), nested(600).encode())

    with pytest.raises(DecodeError, match="nested deeper than 64 levels") as caught:
        decode_client(body)

    assert pickle.loads(pickle.dumps(caught.value)).body == body
    assert caught.value.__suppress_context__


def test_a_decoded_record_that_is_no_json_is_an_error() -> None:
    with pytest.raises(DecodeError, match="x is no JSON value: nan"):
        client_from_json({"id": 1, "x": float("nan")})


def test_a_client_made_by_hand_is_written_with_all_its_fields() -> None:
    record = client_to_json(Client(id=12, name="x", presence=True, type=ClientType.LEGAL_ENTITY))

    assert list(record) == list(FIELDS)
    assert {name: value for name, value in record.items() if value is not None} == {
        "id": 12,
        "name": "x",
        "presence": "yes",
        "type": "J",
    }


def test_extra_fields_of_a_client_made_by_hand_are_written_too() -> None:
    client = Client(id=12, extra=FrozenJSON({"newer": [1, {"a": None}]}))

    assert json.loads(encode_client(client))["newer"] == [1, {"a": None}]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "12"),
        ("id", True),
        ("name", 5),
        ("name", b"x"),
        ("record_stereo", "yes"),
        ("presence", 1),
        ("create_date", datetime(2020, 3, 16, tzinfo=UTC)),
        ("create_date", datetime(2020, 3, 16) + timedelta(microseconds=1)),
        ("hold_music", 1.0),
    ],
)
def test_a_client_made_by_hand_that_has_no_wire_form_is_refused(name: str, value: Any) -> None:
    client = Client(**{"id": 12, name: value})

    with pytest.raises(InvalidRequest, match=f"^{name} cannot be written as "):
        encode_client(client)


def test_an_integer_too_long_to_be_written_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="integer string conversion"):
        encode_client(Client(id=10**5_000))


def test_a_modelled_field_has_no_place_in_extra() -> None:
    with pytest.raises(InvalidRequest, match="name is a field of Client"):
        client_to_json(Client(id=12, extra=FrozenJSON({"name": "x"})))


def test_an_update_is_written_with_its_fields_and_nothing_else() -> None:
    update = ClientUpdate(hold_music=None, geo_list="RU BY", extra={"call_interactive_timeout": 5})

    assert json.loads(encode_update(update)) == {
        "hold_music": None,
        "geo_list": "RU BY",
        "call_interactive_timeout": 5,
    }


def test_an_update_that_names_nothing_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="names nothing to change"):
        encode_update(ClientUpdate())
