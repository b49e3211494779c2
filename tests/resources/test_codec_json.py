"""Bytes that are JSON, that are nearly so, and that are not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringme_async._internal.lenient_json import nested_too_deep
from ringme_async.errors import DecodeError
from ringme_async.resources.clients.codec import client_to_json, decode_client, decode_json
from ringme_async.resources.clients.model import FIELDS, Client
from tests.records import any_json, exactly


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "empty"),
        (b" ", "Expecting value"),
        (b"{", "Expecting property name"),
        (b'{"id": 12', "Expecting"),
        (b'{"id": 12}}', "Extra data"),
        (b'{"id": 12, "x": 1e999', "Expecting"),
        (b"<html>502</html>", "Expecting value"),
        (b"<html>\xff</html>", "utf-8"),
        ('{"id": 1}'.encode("utf-16"), "utf-8"),
        (b'\xef\xbb\xbf\xef\xbb\xbf{"id": 1}', "BOM"),
        (b'{"id": 01}', "Expecting"),
    ],
)
@pytest.mark.parametrize("decode", [decode_json, decode_client])
def test_a_body_that_is_no_json_is_an_error_that_says_why(
    decode: Any, body: bytes, why: str
) -> None:
    with pytest.raises(DecodeError, match=why) as caught:
        decode(body)

    assert caught.value.garbled
    assert caught.value.field is None
    assert caught.value.body == body
    assert caught.value.__cause__ is None
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("body", "field", "why"),
    [
        (b'{"id": NaN}', "id", "NaN is no JSON"),
        (b'{"id": 1, "x": Infinity}', "x", "Infinity is no JSON"),
        (b'{"id": 1, "x": [{"y": -Infinity}]}', "x", "-Infinity is no JSON"),
        (b'{"id": 1, "hold_music": 1e999}', "hold_music", "no float can hold 1e999"),
        (b'{"id": 1, "x": "\\ud800", "y": -1e999}', "y", "no float can hold -1e999"),
        (b'\xef\xbb\xbf{"id": 1, "x": 1e999}', "x", "no float can hold 1e999"),
        pytest.param(b'{"id": 1' + b"0" * 5_000 + b"}", "id", "5001 digits", id="long integer"),
        (b'{"a": "[{", "id": 1, "name": "\xff"}', "name", "utf-8"),
        (b'{"id": 1, "name": "\xed\xa0\x80", "x": 1}', "name", "utf-8"),
        (b'{"id": 1, "x": {"name": "a\nb"}, "y": 1}', "x", "control character"),
        pytest.param(
            b'{"id": 1, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            "x",
            "nested deeper than 64 levels",
            id="deep and whole",
        ),
        pytest.param(
            b'{"x": {"y": [1]}, "a\nb": "c", "z": ' + nested(100_000).encode() + b"}",
            "z",
            "nested deeper than 64 levels",
            id="deep, behind a control character",
        ),
        pytest.param(b"[" * 100_000, None, "nested deeper", id="deep and cut off"),
        pytest.param(b'[{"a": 1}, ' + b"[" * 100_000, None, "nested deeper", id="deep list"),
        pytest.param(b'{"a":' * 100_000, "a", "nested deeper", id="deep objects, cut off"),
        (b"1e999", None, "no float can hold 1e999"),
        (b'[1, {"a": NaN}]', None, "NaN is no JSON"),
    ],
)
@pytest.mark.parametrize("decode", [decode_json, decode_client])
def test_a_value_that_cannot_be_read_is_an_error_that_names_its_field(
    decode: Any, body: bytes, field: str | None, why: str
) -> None:
    with pytest.raises(DecodeError, match=why) as caught:
        decode(body)

    # What the server means to send it will send again.
    assert not caught.value.garbled
    assert caught.value.field == field
    assert caught.value.body == body
    assert caught.value.__cause__ is None
    assert str(caught.value).isprintable()


UNREADABLE = ("1e400", "-1E+999", "NaN", "-Infinity", "1" * 5_000, nested(65), '{"a": [NaN]}')
snippets = any_json.map(json.dumps) | st.sampled_from(
    ["1e2", "-0.0", '"\\ud800"', '"\\udc80"', '" {[\\" "', nested(30), *UNREADABLE]
)
pairs = st.tuples(st.sampled_from([*FIELDS, "x", "a.b", "", '"', "\ud800", "{"]), snippets)


def outcome_of(body: bytes) -> Client | DecodeError:
    try:
        return decode_client(body)
    except DecodeError as error:
        return error


@given(st.lists(pairs, max_size=8), st.sampled_from([b"", b"\xef\xbb\xbf"]))
def test_any_record_is_read_without_loss_or_names_a_field_that_is_wrong(
    pairs: list[tuple[str, str]], mark: bytes
) -> None:
    fields = ", ".join(f"{json.dumps(name)}: {text}" for name, text in [*pairs, ("id", "12")])
    body = mark + f"{{{fields}}}".encode()
    read_or_error = outcome_of(body)
    if isinstance(read_or_error, DecodeError):
        field = read_or_error.field
        assert not read_or_error.garbled
        assert field in FIELDS or {text for name, text in pairs if name == field} & {*UNREADABLE}
        assert field in dict(pairs)
        return
    assert not {*dict(pairs).values()} & {*UNREADABLE}
    read, written = json.loads(body.decode("utf-8-sig")), client_to_json(read_or_error)
    if isinstance(read.get("extension_len"), str):
        # Known not to be given back as it was.
        del read["extension_len"], written["extension_len"]
    assert exactly(written) == exactly(read)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b' \r\n\t{"a": 1}\n', {"a": 1}),
        (b'"\\ud800"', "\ud800"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'["\\udc00", 1.5, -2e-3]', ["\udc00", 1.5, -0.002]),
        (b"18446744073709551617", 2**64 + 1),
        (b"-9223372036854775809", -(2**63) - 1),
        pytest.param(str(10**400).encode(), 10**400, id="large integer"),
        (b"1e2", 100.0),
        (b"null", None),
    ],
)
def test_unusual_but_valid_json_is_read_unchanged(body: bytes, value: object) -> None:
    decoded = decode_json(body)

    assert decoded == value
    assert type(decoded) is type(value)


@given(any_json)
def test_any_json_is_decoded_exactly(value: Any) -> None:
    assert exactly(decode_json(json.dumps(value).encode())) == exactly(value)


@given(
    st.binary(max_size=60) | st.text('{}[]":,0123456789.eE+-ntf\\u', max_size=40).map(str.encode)
)
def test_any_bytes_end_in_a_value_or_in_a_decode_error(body: bytes) -> None:
    try:
        value = decode_json(body)
    except DecodeError:
        return
    assert exactly(decode_json(json.dumps(value).encode())) == exactly(value)


def test_sixty_four_levels_are_read_and_one_more_is_an_error() -> None:
    assert decode_json(nested(64).encode()) is not None
    with pytest.raises(DecodeError, match="nested deeper than 64 levels"):
        decode_json(nested(65).encode())


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert decode_json(b"[" + b"[]," * 100 + b"{}]") == [[]] * 100 + [{}]


def test_a_body_that_only_a_deep_stack_cannot_read_names_no_field() -> None:
    assert nested_too_deep(b'[{"a": 1}]').field is None
