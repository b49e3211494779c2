"""What a batch of outcomes changes in the tables of a mirror."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias

from attrs import define, field, frozen

from ringme_async import JSON, Client, Done, Failed, client_to_json
from ringme_async.mirror.jsonl_file import json_text

__all__ = ["Batch", "Row", "Taken", "rows_of"]

Row: TypeAlias = dict[str, Any]

_LARGEST_ID: Final = 2**63 - 1


@frozen
class Taken:
    """An outcome and the moment it came."""

    at: datetime
    outcome: Done[Client] | Failed


@define
class Batch:
    """Rows, by what is to be done with them."""

    unknown: list[Row] = field(factory=list[Row])
    read: list[Row] = field(factory=list[Row])
    failed: list[Row] = field(factory=list[Row])
    history: list[Row] = field(factory=list[Row])


def rows_of(
    run: str, taken: Iterable[tuple[str, Taken]], records: Mapping[str, str | None]
) -> Batch:
    """Compare what has come with what is there.

    Args:
        run: The id of the run.
        taken: The outcomes, each with its tenant's key.
        records: The record of each tenant that has a row; None if it was never read.
    """
    batch = Batch()
    for key, one in taken:
        if key not in records:
            batch.unknown.append({"tenant": key})
        if isinstance(one.outcome, Failed):
            batch.failed.append(_failure(run, key, one.at, one.outcome))
            continue
        client = one.outcome.value
        record = client_to_json(client)
        text = json_text(record)
        batch.read.append(_reading(run, key, one.at, client, text))
        before = records.get(key)
        if before is not None and before != text:
            told = {"tenant": key, "at": one.at, "run": run}
            batch.history.extend({**told, **row} for row in _differences(before, record))
    return batch


def _reading(run: str, key: str, at: datetime, client: Client, record: str) -> Row:
    return {
        "key": key,
        # An id that no database has room for is in the record.
        "client_id": client.id if abs(client.id) <= _LARGEST_ID else None,
        "record": record,
        "read_at": at,
        "run": run,
        "last_error": None,
        "last_error_at": None,
        "error_run": None,
    }


def _failure(run: str, key: str, at: datetime, failed: Failed) -> Row:
    words = _plain(f"{type(failed.error).__name__}: {failed.error}")
    return {"key": key, "last_error": words, "last_error_at": at, "error_run": run}


def _differences(before: str, after: Mapping[str, JSON]) -> Iterator[Row]:
    """Tell which fields differ; one that is missing is as good as null."""
    old: Mapping[str, JSON] = json.loads(before)
    for name in after | old.keys():
        was, now = old.get(name), after.get(name)
        if _canonical(was) != _canonical(now):
            yield {"field": _plain(name), "before": json_text(was), "after": json_text(now)}


def _canonical(value: JSON) -> str:
    # As text, 1 and 1.0 and true are different.
    return json.dumps(value, sort_keys=True)


def _plain(text: str) -> str:
    """Escape what a column of text does not take."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\u0000")
