"""Decode JSON that the fast decoder refuses, or name the field that is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import isfinite
from typing import Final, cast

from attrs import frozen

from ringme_async._internal.frozen_json import DEEPEST, JSON
from ringme_async.errors import DecodeError, one_line

__all__ = ["decode_leniently", "nested_too_deep", "read_with_flaws"]

_TOKEN: Final = re.compile(
    r'(?P<text>"[^"\\]*(?:\\.[^"\\]*)*")(?P<name>\s*:)?|(?P<open>[\[{])|(?P<close>[\]}])', re.DOTALL
)
_CONTROL: Final = "Invalid control character"


@frozen
class _Flaw:
    """A placeholder for a value that is no JSON, or that Python cannot hold."""

    text: str
    why: str


def decode_leniently(body: bytes) -> JSON:
    """Decode JSON with a byte order mark or a lone surrogate, rare but valid.

    Raises:
        DecodeError: The body is no JSON (``garbled``), or holds an invalid value; ``field`` names
            its place.
    """
    if not body:
        raise DecodeError("the body is empty, where JSON belongs", body=body, garbled=True)
    try:
        value = _loads(body.decode("utf-8-sig"), strict=True)
    except RecursionError:
        flaw = nested_too_deep(body)
    except ValueError as error:
        flaw = _error_of(error, body)
    else:
        found = _flaw_in(value)
        if found is None:
            return cast("JSON", value)
        name, wrong = found
        flaw = _flawed(name, wrong.why, body, wrong.text)
    raise flaw


def read_with_flaws(body: bytes) -> object:
    """Decode anything in the form of JSON, invalid values included.

    Raises:
        ValueError: The body has not the form of JSON.
        RecursionError: The nesting is too deep.
    """
    return _loads(body.decode("utf-8-sig", "surrogateescape"), strict=False)


def nested_too_deep(body: bytes) -> DecodeError:
    """Make the error of a body that is nested too deep."""
    why = f"nested deeper than {DEEPEST} levels"
    name = _field_at(body.decode("utf-8-sig", "replace"), None)
    where = "the body" if name is None else one_line(name, 60)
    return DecodeError(f"{where} is {why}", field=name, body=body)


def _loads(text: str, *, strict: bool) -> object:
    return json.loads(
        text, parse_float=_float, parse_int=_int, parse_constant=_constant, strict=strict
    )


def _float(text: str) -> float | _Flaw:
    number = float(text)
    return number if isfinite(number) else _Flaw(text, f"no float can hold {one_line(text, 40)}")


def _int(text: str) -> int | _Flaw:
    try:
        return int(text)
    except ValueError:
        return _Flaw(text, f"Python reads no integer of {len(text)} digits")


def _constant(text: str) -> _Flaw:
    return _Flaw(text, f"{text} is no JSON")


def _error_of(error: ValueError, body: bytes) -> DecodeError:
    """Make the error of a body, telling damaged JSON from invalid values."""
    reason = one_line(str(error))
    try:
        read_with_flaws(body)
    except RecursionError:
        return nested_too_deep(body)
    except ValueError:
        return DecodeError(f"the body is not JSON: {reason}", body=body, garbled=True)
    # The form is JSON, so only characters of a string are invalid.
    text = body.decode("utf-8-sig", "surrogateescape")
    if isinstance(error, json.JSONDecodeError):
        place = error.pos
    else:
        place = next(at for at, char in enumerate(text) if "\udc80" <= char <= "\udcff")
    return _flawed(_field_at(text, place), reason, body)


def _flawed(name: str | None, why: str, body: bytes, value: str | None = None) -> DecodeError:
    where = "" if name is None else f"{one_line(name, 60)}: "
    return DecodeError(f"{where}{why}", field=name, value=value, body=body)


def _flaw_in(value: object) -> tuple[str | None, _Flaw] | None:
    """Find the first flaw, and its field in the outermost object."""
    if isinstance(value, dict):
        for name, inner in cast("dict[str, object]", value).items():
            for flaw in _flaws(inner):
                return name, flaw
        return None
    return next(((None, flaw) for flaw in _flaws(value)), None)


def _flaws(value: object) -> Iterator[_Flaw]:
    # Recursion could meet the limit: the decoder may nest deeper than this code.
    left = [value]
    while left:
        found = left.pop()
        if isinstance(found, _Flaw):
            yield found
        elif isinstance(found, dict):
            left.extend(cast("dict[str, object]", found).values())
        elif isinstance(found, list):
            left.extend(cast("list[object]", found))


def _field_at(text: str, place: int | None) -> str | None:
    """Name the outermost field at a place; without a place, where it gets too deep."""
    name: str | None = None
    level, in_object = 0, text.lstrip().startswith("{")
    for token in _TOKEN.finditer(text):
        if level > DEEPEST if place is None else token.start() > place:
            break
        if token["open"]:
            level += 1
        elif token["close"]:
            level -= 1
        elif token["name"] and level == 1:
            name = token["text"]
    return json.loads(name, strict=False) if name is not None and in_object else None
