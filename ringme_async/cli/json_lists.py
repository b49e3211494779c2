"""Reads objects from JSON lines or one JSON array, each with its line number."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final, cast

from ringme_async import JSON
from ringme_async.cli.errors import LineErrors

__all__ = ["json_objects"]

_BLANK: Final = re.compile(r"[ \t\r\n]*")
_NO_OBJECT: Final = "this is no JSON object"


def json_objects(text: str, errors: LineErrors) -> Iterator[tuple[int, Mapping[str, JSON]]]:
    """Read a list.

    Args:
        text: The list; it begins with a brace or a bracket.
        errors: Collects the errors of lines.

    Yields:
        The number of an object's first line, and the object.
    """
    if text.lstrip().startswith("["):
        return _elements(text, errors)
    lines = [line for line in text.split("\n") if line.strip()]
    if lines[0].strip() == "{":
        # One object of many lines, as a pretty printer writes it.
        return _elements(f"[{text}]", errors)
    return _lines(text, errors)


def _lines(text: str, errors: LineErrors) -> Iterator[tuple[int, Mapping[str, JSON]]]:
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            value: object = json.loads(content, object_pairs_hook=_unique_fields)
        except json.JSONDecodeError as error:
            # The message quotes no input, which may hold a secret.
            errors.add(line, f"this is no JSON: {error.msg} at column {error.colno}")
        except (ValueError, RecursionError) as error:
            errors.add(line, _message_of(error))
        else:
            yield from _object(line, value, errors)


def _elements(text: str, errors: LineErrors) -> Iterator[tuple[int, Mapping[str, JSON]]]:
    decoder = json.JSONDecoder(object_pairs_hook=_unique_fields)
    line, counted = 1, 0
    at = _after_blank(text, text.index("[") + 1)
    is_over = text[at : at + 1] == "]"
    while not is_over:
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, end = cast("tuple[object, int]", decoder.raw_decode(text, at))
        except json.JSONDecodeError as error:
            errors.add(error.lineno, f"the JSON array is malformed from here on: {error.msg}")
            return
        except (ValueError, RecursionError) as error:
            errors.add(line, f"the JSON array is malformed from here on: {_message_of(error)}")
            return
        yield from _object(line, value, errors)
        at = _after_blank(text, end)
        is_over = text[at : at + 1] == "]"
        if not is_over and text[at : at + 1] != ",":
            line += text.count("\n", counted, at)
            errors.add(line, "the JSON array is malformed from here on: a comma or ] is missing")
            return
        at = at if is_over else _after_blank(text, at + 1)
    at = _after_blank(text, at + 1)
    if at < len(text):
        errors.add(line + text.count("\n", counted, at), "there is more after the JSON array")


def _after_blank(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    assert found is not None  # noqa: S101 - the pattern matches nothing, too
    return found.end()


def _object(
    line: int, value: object, errors: LineErrors
) -> Iterator[tuple[int, Mapping[str, JSON]]]:
    if isinstance(value, dict):
        yield line, cast("Mapping[str, JSON]", value)
    else:
        errors.add(line, _NO_OBJECT)


def _message_of(error: ValueError | RecursionError) -> str:
    return _NO_OBJECT if isinstance(error, RecursionError) else str(error)


def _unique_fields(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a field is there twice")
    return value
