"""Reads a plan's list of changes completely, before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias, cast

from ringme_async import JSON, ClientUpdate, InvalidRequest, Who
from ringme_async.cli.columns import Columns
from ringme_async.cli.errors import CouldNotStart
from ringme_async.cli.inputs import input_name
from ringme_async.cli.rows import Row, read_rows
from ringme_async.cli.tenants_file import TenantsFile
from ringme_async.cli.update_options import LOCKED, WRITABLE, any_value, update_of, value_of

__all__ = ["Changes", "read_changes"]

Changes: TypeAlias = Sequence[tuple[Who, ClientUpdate]]

_EXTRA: Final = "extra"
_EXTRA_DOT: Final = "extra."
_WHO: Final = ("tenant", "client_id")
_COLUMNS: Final = Columns((*_WHO, *WRITABLE, _EXTRA), _EXTRA_DOT, LOCKED)
_CLIENT_ID: Final = re.compile(r"[0-9]{1,20}|@me", re.ASCII)


def read_changes(
    path: str, encoding: str, tenants: TenantsFile | None, *, has_auth: bool
) -> Changes:
    """Read a list of changes: CSV, JSON lines or a JSON array.

    A line names either a ``tenant`` from the list of tenants, or a ``client_id`` for the credentials
    of the settings. The other columns have the names of the writable fields. An empty cell, or a
    missing name in an object, leaves the field alone; ``null`` clears it. Columns such as
    ``extra.colour``, or an object ``extra``, hold fields that the SDK does not know.

    Args:
        path: The file; ``-`` for standard input.
        encoding: The encoding of its text.
        tenants: The list of tenants, if there is one.
        has_auth: Whether the settings have credentials.

    Raises:
        CouldNotStart: The file cannot be read, or lines are wrong; the error names all of them.
        WrongUsage: There is no such encoding.
    """
    found = read_rows(path, encoding, _COLUMNS)
    by_name: Mapping[str | None, Who] = (
        {tenant.name: tenant for tenant in tenants.tenants} if tenants else {}
    )
    changes: list[tuple[Who, ClientUpdate]] = []
    lines: dict[tuple[str, str], int] = {}
    for row in found.rows:
        try:
            key = _key(row)
            who = _who(key, by_name, has_auth=has_auth)
            update = _update(row, is_csv=found.is_csv)
        except InvalidRequest as error:
            found.errors.add(row.line, error.reason)
            continue
        known = lines.setdefault(key, row.line)
        if known == row.line:
            changes.append((who, update))
        else:
            found.errors.add(row.line, f"{key[0]} {key[1]!r:.100} is on line {known} already")
    found.errors.raise_if_any()
    if not changes:
        raise CouldNotStart(f"{input_name(path)}: there is no change in it")
    return changes


def _key(row: Row) -> tuple[str, str]:
    given = [column for column in _WHO if row.cells.get(column) is not None]
    if len(given) != 1:
        raise InvalidRequest("a line is for either a tenant or a client_id")
    column = given[0]
    value = row.cells[column]
    if column == "client_id":
        text = str(value) if type(value) is int else value
        if not isinstance(text, str) or not _CLIENT_ID.fullmatch(text):
            raise InvalidRequest(f"client_id is a number or @me, not {value!r:.60}")
        # 012 and 12 are the same client: without this, a repeated one would pass unseen.
        return column, text if text == "@me" else str(int(text))
    if not isinstance(value, str):
        raise InvalidRequest("tenant is no text")
    return column, value


def _who(key: tuple[str, str], by_name: Mapping[str | None, Who], *, has_auth: bool) -> Who:
    column, text = key
    if column == "client_id":
        if not has_auth:
            raise InvalidRequest("a client_id needs credentials in the settings")
        return text
    if not by_name:
        raise InvalidRequest("a tenant by its name needs a list of tenants: --tenants FILE")
    if text not in by_name:
        raise InvalidRequest(f"there is no tenant {text!r:.100} in the list of tenants")
    return by_name[text]


def _update(row: Row, *, is_csv: bool) -> ClientUpdate:
    updates = {name: value for name, value in row.cells.items() if name in WRITABLE}
    extra = {
        name.removeprefix(_EXTRA_DOT): value
        for name, value in row.cells.items()
        if name.startswith(_EXTRA_DOT)
    }
    if is_csv:
        if _EXTRA in row.cells:
            raise InvalidRequest("a column of another field is called extra.NAME")
        updates = {name: value_of(name, str(value)) for name, value in updates.items()}
        extra = {name: any_value(str(value)) for name, value in extra.items()}
    elif _EXTRA in row.cells:
        extra |= _object(row.cells[_EXTRA])
    update = update_of(updates, extra)
    if not update:
        raise InvalidRequest("it names nothing to change")
    return update


def _object(value: JSON) -> Mapping[str, JSON]:
    if not isinstance(value, dict):
        raise InvalidRequest("extra is no object")
    return cast("Mapping[str, JSON]", value)
