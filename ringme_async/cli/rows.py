"""Reads lists that people keep: CSV as Excel writes it, or JSON lines."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, cast

from attrs import field, frozen

from ringme_async import JSON
from ringme_async.cli.text import meant
from ringme_async.cli.wrong import CouldNotStart, Flaws, WrongUsage

__all__ = ["Row", "Rows", "read_rows"]

# UTF-16 is what Excel calls Unicode Text.
_MARKS: Final = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_DELIMITERS: Final = ";,\t"


@frozen
class Row:
    """One line of a list.

    Attributes:
        line: Its number; the first one's, if it is spread over several.
        cells: What stands in it, by column; a cell of a CSV that is empty is left out.
    """

    line: int
    cells: Mapping[str, JSON] = field(repr=False)


@frozen
class Rows:
    """A list.

    Attributes:
        rows: Its lines; empty ones are left out.
        flaws: What is wrong with the others, to which more may be added.
        is_csv: Whether all its values are text.
    """

    rows: Sequence[Row] = field(repr=False)
    flaws: Flaws
    is_csv: bool


def read_rows(path: str, encoding: str, known: Sequence[str]) -> Rows:
    """Read a list.

    It is JSON lines if it begins with a brace, else CSV with a header, whose cells are separated by
    semicolons, commas or tabs.

    Args:
        path: The file.
        encoding: Of its text; a byte order mark at its start, of UTF-8 or UTF-16, overrules it.
        known: The columns that have a meaning; with a dot at its end, whatever begins so.

    Raises:
        CouldNotStart: The file cannot be read, is in another encoding, or has no proper header.
        WrongUsage: There is no such encoding.
    """
    text = _text_of(path, encoding)
    flaws = Flaws(path)
    is_csv = not text.lstrip().startswith("{")
    rows = _csv_rows(text, flaws, known) if is_csv else _json_rows(text, flaws, known)
    return Rows(list(rows), flaws, is_csv)


def _text_of(path: str, encoding: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise CouldNotStart(f"{path}: {error.strerror or error}") from None
    for mark, marked in _MARKS.items():
        if content.startswith(mark):
            encoding = marked
    try:
        return content.decode(encoding)
    except LookupError:
        raise WrongUsage(f"there is no encoding {encoding!r:.40}") from None
    except UnicodeError as error:
        where = content.count(b"\n", 0, getattr(error, "start", 0)) + 1
        hint = "" if encoding == "cp1251" else "; if Excel has written it, try --encoding cp1251"
    raise CouldNotStart(f"{os.fspath(path)}, line {where}: this is no {encoding}{hint}")


def _csv_rows(text: str, flaws: Flaws, known: Sequence[str]) -> Iterator[Row]:
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    columns: list[str] | None = None
    start = 1
    while True:
        try:
            cells = next(lines, None)
        except csv.Error as error:
            flaws.add(start, f"the CSV is malformed from here on: {error}")
            return
        if cells is None:
            return
        line, start = start, lines.line_num + 1
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            continue
        if columns is None:
            columns = _columns(cells, flaws.path, known)
        elif any(cells[len(columns) :]):
            flaws.add(line, f"it has {len(cells)} cells, and the header {len(columns)}")
        else:
            pairs = zip(columns, cells, strict=False)
            yield Row(line, {column: cell for column, cell in pairs if cell})


def _delimiter(text: str) -> str:
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(_DELIMITERS, key=header.count)


def _columns(cells: list[str], path: str, known: Sequence[str]) -> list[str]:
    columns = [cell.lower() for cell in cells]
    while not columns[-1]:
        columns.pop()
    unknown = _unknown(columns, known)
    if len(unknown) == len(columns):
        # What stands here is not shown: it may be the first tenant, with the secret.
        raise CouldNotStart(f"{path}: the first line is to name the columns, and names none")
    if unknown:
        raise CouldNotStart(f"{path}: unknown columns: {_told(unknown, known)}")
    if len(set(columns)) < len(columns):
        raise CouldNotStart(f"{path}: a column is named twice")
    return columns


def _json_rows(text: str, flaws: Flaws, known: Sequence[str]) -> Iterator[Row]:
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            cells = _json_object(content)
        except json.JSONDecodeError as error:
            # Its message quotes nothing of what was read.
            flaws.add(line, f"this is no JSON: {error.msg} at column {error.colno}")
            continue
        except ValueError as error:
            flaws.add(line, str(error))
            continue
        unknown = _unknown(cells, known)
        if unknown:
            flaws.add(line, f"unknown fields: {_told(unknown, known)}")
        else:
            yield Row(line, cells)


def _json_object(content: str) -> Mapping[str, JSON]:
    try:
        value: object = json.loads(content, object_pairs_hook=_without_doubles)
    except RecursionError:
        value = None
    if not isinstance(value, dict):
        raise ValueError("this is no JSON object")
    return cast("Mapping[str, JSON]", value)


def _without_doubles(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a field is there twice")
    return value


def _unknown(columns: Iterable[str], known: Sequence[str]) -> list[str]:
    beginnings = tuple(one for one in known if one.endswith("."))
    return [one for one in columns if one not in known and not one.startswith(beginnings)]


def _told(unknown: Sequence[str], known: Sequence[str]) -> str:
    names = ", ".join(f"{name!r:.40}{meant(name, known)}" for name in unknown[:10])
    there_are = ", ".join(f"{one}NAME" if one.endswith(".") else one for one in known)
    return f"{names}; there are {there_are}"
