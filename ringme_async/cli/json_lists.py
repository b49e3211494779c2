"""Reads objects out of JSON lines, or out of one JSON array, each with the line it begins on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final, cast

from ringme_async import JSON
from ringme_async.cli.errors import Flaws

__all__ = ["json_objects"]

_BLANK: Final = re.compile(r"[ \t\r\n]*")
_NO_OBJECT: Final = "this is no JSON object"


def json_objects(text: str, flaws: Flaws) -> Iterator[tuple[int, Mapping[str, JSON]]]:
    """Read a list.

    Args:
        text: The list; it begins with a brace or a bracket.
        flaws: What is wrong with the lines; more is added.

    Yields:
        The number of the line that an object begins on, and the object.
    """
    if text.lstrip().startswith("["):
        return _elements(text, flaws)
    lines = [line for line in text.split("\n") if line.strip()]
    if lines[0].strip() == "{":
        # One object of many lines, as a program prints it for people.
        return _elements(f"[{text}]", flaws)
    return _lines(text, flaws)


def _lines(text: str, flaws: Flaws) -> Iterator[tuple[int, Mapping[str, JSON]]]:
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            value: object = json.loads(content, object_pairs_hook=_without_doubles)
        except json.JSONDecodeError as error:
            # Its message quotes nothing of what was read.
            flaws.add(line, f"this is no JSON: {error.msg} at column {error.colno}")
        except (ValueError, RecursionError) as error:
            flaws.add(line, _flaw_of(error))
        else:
            yield from _object(line, value, flaws)


def _elements(text: str, flaws: Flaws) -> Iterator[tuple[int, Mapping[str, JSON]]]:
    decoder = json.JSONDecoder(object_pairs_hook=_without_doubles)
    line, counted = 1, 0
    at = _after_blank(text, text.index("[") + 1)
    is_over = text[at : at + 1] == "]"
    while not is_over:
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, end = cast("tuple[object, int]", decoder.raw_decode(text, at))
        except json.JSONDecodeError as error:
            flaws.add(error.lineno, f"the JSON array is malformed from here on: {error.msg}")
            return
        except (ValueError, RecursionError) as error:
            flaws.add(line, f"the JSON array is malformed from here on: {_flaw_of(error)}")
            return
        yield from _object(line, value, flaws)
        at = _after_blank(text, end)
        is_over = text[at : at + 1] == "]"
        if not is_over and text[at : at + 1] != ",":
            line += text.count("\n", counted, at)
            flaws.add(line, "the JSON array is malformed from here on: a comma or ] is missing")
            return
        at = at if is_over else _after_blank(text, at + 1)
    at = _after_blank(text, at + 1)
    if at < len(text):
        flaws.add(line + text.count("\n", counted, at), "there is more after the JSON array")


def _after_blank(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    assert found is not None  # noqa: S101 - the pattern matches nothing, too
    return found.end()


def _object(line: int, value: object, flaws: Flaws) -> Iterator[tuple[int, Mapping[str, JSON]]]:
    if isinstance(value, dict):
        yield line, cast("Mapping[str, JSON]", value)
    else:
        flaws.add(line, _NO_OBJECT)


def _flaw_of(error: ValueError | RecursionError) -> str:
    return _NO_OBJECT if isinstance(error, RecursionError) else str(error)


def _without_doubles(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a field is there twice")
    return value
