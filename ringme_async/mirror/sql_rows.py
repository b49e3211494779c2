"""Turns a batch of outcomes into rows for the tables of a mirror."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias

from attrs import define, field, frozen

from ringme_async import JSON, Client, Done, Failed, client_to_json
from ringme_async.mirror.jsonl_file import json_text

__all__ = ["Batch", "Row", "TimedOutcome", "rows_of"]

Row: TypeAlias = dict[str, Any]

_LARGEST_ID: Final = 2**63 - 1


@frozen
class TimedOutcome:
    """An outcome and its time of arrival."""

    at: datetime
    outcome: Done[Client] | Failed


@define
class Batch:
    """Rows, by the statement that writes them."""

    unknown: list[Row] = field(factory=list[Row])
    read: list[Row] = field(factory=list[Row])
    failed: list[Row] = field(factory=list[Row])
    history: list[Row] = field(factory=list[Row])


def rows_of(
    run: str, outcomes: Iterable[tuple[str, TimedOutcome]], records: Mapping[str, str | None]
) -> Batch:
    """Compare outcomes with the stored records.

    Args:
        run: The id of the run.
        outcomes: The outcomes, each with its tenant's key.
        records: The record of each tenant that has a row; None if it was never read.
    """
    batch = Batch()
    for key, timed in outcomes:
        if key not in records:
            batch.unknown.append({"tenant": key})
        if isinstance(timed.outcome, Failed):
            batch.failed.append(_failed_row(run, key, timed.at, timed.outcome))
            continue
        client = timed.outcome.value
        record = client_to_json(client)
        text = json_text(record)
        batch.read.append(_read_row(run, key, timed.at, client, text))
        before = records.get(key)
        if before is not None and before != text:
            common = {"tenant": key, "at": timed.at, "run": run}
            batch.history.extend({**common, **row} for row in _differences(before, record))
    return batch


def _read_row(run: str, key: str, at: datetime, client: Client, record: str) -> Row:
    return {
        "key": key,
        # An id too large for the column is still in the record.
        "client_id": client.id if abs(client.id) <= _LARGEST_ID else None,
        "record": record,
        "read_at": at,
        "run": run,
        "last_error": None,
        "last_error_at": None,
        "error_run": None,
    }


def _failed_row(run: str, key: str, at: datetime, failed: Failed) -> Row:
    words = _plain(f"{type(failed.error).__name__}: {failed.error}")
    return {"key": key, "last_error": words, "last_error_at": at, "error_run": run}


def _differences(before: str, after: Mapping[str, JSON]) -> Iterator[Row]:
    """Yield a row for each differing field; a missing field equals null."""
    old: Mapping[str, JSON] = json.loads(before)
    for name in after | old.keys():
        was, now = old.get(name), after.get(name)
        if _comparable(was) != _comparable(now):
            yield {"field": _plain(name), "before": json_text(was), "after": json_text(now)}


def _comparable(value: JSON) -> str:
    # As text, since 1 == 1.0 == True in Python.
    return json.dumps(value, sort_keys=True)


def _plain(text: str) -> str:
    """Escape characters that a text column refuses."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\u0000")
