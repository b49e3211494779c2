"""A report as rows of a table, for pandas, Parquet and spreadsheets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import Enum
from typing import cast

from attrs import fields, has

from ringme_async._internal.frozen_json import FrozenJSON
from ringme_async._internal.text import shown
from ringme_async.bulk.outcome import Done, Failed, Outcome
from ringme_async.errors import InvalidRequest
from ringme_async.tenant import Tenant, Who, client_id_in_path

__all__ = ["records_of"]

_PLAIN_TYPES = (bool, int, float, datetime)


def records_of(outcomes: Iterable[Outcome[object]]) -> list[dict[str, object]]:
    """Return one row for each outcome; all rows have the same columns in the same order."""
    rows = [_row(outcome) for outcome in outcomes]
    columns = dict.fromkeys(column for row in rows for column in row)
    return [{column: row.get(column) for column in columns} for row in rows]


def _row(outcome: Outcome[object]) -> dict[str, object]:
    row: dict[str, object] = {
        "tenant": _name_of(outcome.who),
        "index": outcome.index,
        "outcome": "done",
        "attempts": outcome.attempts,
        "error": None,
        "message": None,
        "maybe_applied": False,
    }
    match outcome:
        case Done(value=value):
            row |= _cells("value", value)
        case Failed(error=error):
            row |= {
                "outcome": "failed",
                "error": type(error).__name__,
                "message": str(error),
                "maybe_applied": error.maybe_applied,
            }
        case _:
            row |= {"outcome": "not_attempted", "message": outcome.reason}
    return row


def _name_of(who: Who) -> str:
    if isinstance(who, Tenant):
        return str(who.client_id) if who.name is None else who.name
    try:
        return client_id_in_path(who)
    except InvalidRequest:
        # A malformed element may be of any type and size.
        return shown(who)


def _cells(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Spread a value over the columns of its fields, or put it into one of its own."""
    kind = type(value)
    if has(kind):
        for one in fields(kind):
            yield from _cells(one.name, getattr(value, one.name))
    else:
        yield name, _plain(value)


def _plain(value: object) -> object:
    """Convert a value to one that a column of a table can hold."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, _PLAIN_TYPES):
        return value
    if isinstance(value, FrozenJSON):
        return json.dumps(value.to_json(), ensure_ascii=False) if value else None
    if isinstance(value, tuple):
        return " ".join(map(str, cast("tuple[object, ...]", value)))
    return str(value)
