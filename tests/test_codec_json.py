"""Bytes that are JSON, that are nearly so, and that are not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringme_async.codec import decode_client, decode_json
from ringme_async.errors import DecodeError
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
        (b"<html>502</html>", "Expecting value"),
        (b'{"id": NaN}', "NaN is no JSON"),
        (b'{"id": 1, "x": Infinity}', "Infinity is no JSON"),
        (b'{"id": 1, "x": -Infinity}', "-Infinity is no JSON"),
        (b'{"id": 1, "x": 1e999}', "no float can hold 1e999"),
        (b'{"id": 1, "x": "\\ud800", "y": -1e999}', "no float can hold -1e999"),
        pytest.param(b'{"id": 1' + b"0" * 5_000 + b"}", "integer string", id="long integer"),
        (b'{"id": 1, "name": "\xff"}', "utf-8"),
        (b'{"id": 1, "name": "\xed\xa0\x80"}', "utf-8"),
        ('{"id": 1}'.encode("utf-16"), "utf-8"),
        (b'\xef\xbb\xbf\xef\xbb\xbf{"id": 1}', "BOM"),
        (b'{"id": 1, "name": "a\nb"}', "control character"),
        (b'{"id": 01}', "Expecting"),
        pytest.param(
            b'{"id": 1, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            "nested too deeply",
            id="deep and whole",
        ),
        pytest.param(b"[" * 100_000, "nested too deeply", id="deep and cut off"),
        pytest.param(b'{"a":' * 100_000, "nested too deeply", id="deep objects, cut off"),
    ],
)
@pytest.mark.parametrize("decode", [decode_json, decode_client])
def test_a_body_that_is_no_json_is_an_error_that_says_why(
    decode: Any, body: bytes, why: str
) -> None:
    with pytest.raises(DecodeError, match=why) as caught:
        decode(body)

    assert caught.value.body == body
    assert caught.value.__cause__ is None
    assert str(caught.value).isprintable()


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
def test_odd_but_right_json_is_read_as_it_stands(body: bytes, value: object) -> None:
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
