"""Reads lists: CSV as Excel writes it, JSON lines, or a JSON array."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from attrs import field, frozen

from ringme_async import JSON
from ringme_async.cli.columns import Columns
from ringme_async.cli.errors import CouldNotStart, LineErrors, WrongUsage
from ringme_async.cli.inputs import input_name, read_input
from ringme_async.cli.json_lists import json_objects

__all__ = ["Row", "Rows", "read_rows"]

# Excel's "Unicode Text" is UTF-16.
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
        line: The number of its first line.
        cells: Its values, by column, without the empty cells of a CSV.
    """

    line: int
    cells: Mapping[str, JSON] = field(repr=False)


@frozen
class Rows:
    """A list.

    Attributes:
        rows: Its lines, without empty ones.
        errors: The errors of lines; the caller may add more.
        is_csv: Whether the list is CSV, so that all values are text.
    """

    rows: Sequence[Row] = field(repr=False)
    errors: LineErrors
    is_csv: bool


def read_rows(path: str, encoding: str, known: Columns) -> Rows:
    """Read a list.

    A list that begins with a brace is JSON lines, and one with a bracket a JSON array. Any other is
    CSV with a header, separated by semicolons, commas or tabs.

    Args:
        path: The file; ``-`` for standard input.
        encoding: The encoding of its text; a byte order mark of UTF-8 or UTF-16 overrules it.
        known: The columns that it may have.

    Raises:
        CouldNotStart: The file cannot be read, is in another encoding, or has no proper header.
        WrongUsage: There is no such encoding.
    """
    name = input_name(path)
    text = _text_of(path, encoding)
    errors = LineErrors(name)
    is_csv = not text.lstrip().startswith(("{", "["))
    rows = _csv_rows(text, errors, known) if is_csv else _json_rows(text, errors, known)
    return Rows(list(rows), errors, is_csv)


def _text_of(path: str, encoding: str) -> str:
    content = read_input(path)
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
    raise CouldNotStart(f"{input_name(path)}, line {where}: this is no {encoding}{hint}")


def _csv_rows(text: str, errors: LineErrors, known: Columns) -> Iterator[Row]:
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    columns: list[str] | None = None
    start = 1
    while True:
        try:
            cells = next(lines, None)
        except csv.Error as error:
            errors.add(start, f"the CSV is malformed from here on: {error}")
            return
        if cells is None:
            return
        line, start = start, lines.line_num + 1
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            continue
        if columns is None:
            columns = _columns(cells, errors.path, known)
        elif any(cells[len(columns) :]):
            errors.add(line, f"it has {len(cells)} cells, and the header {len(columns)}")
        else:
            pairs = zip(columns, cells, strict=False)
            yield Row(line, {column: cell for column, cell in pairs if cell})


def _delimiter(text: str) -> str:
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(_DELIMITERS, key=header.count)


def _columns(cells: list[str], path: str, known: Columns) -> list[str]:
    columns = [known.folded(cell) for cell in cells]
    while not columns[-1]:
        columns.pop()
    if len(known.unknown(columns)) == len(columns):
        # Without the line itself, which may be the first tenant, with its secret.
        raise CouldNotStart(f"{path}: the first line is to name the columns, and names none")
    message = known.error_in(columns)
    if message:
        raise CouldNotStart(f"{path}: {message}")
    return columns


def _json_rows(text: str, errors: LineErrors, known: Columns) -> Iterator[Row]:
    for line, cells in json_objects(text, errors):
        message = known.error_in([*cells], "field")
        if message:
            errors.add(line, message)
        else:
            yield Row(line, cells)
