"""Every row of a mirror can be queried as JSON, and every character comes back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringme_async import Client, Done
from ringme_async.mirror import Mirror, decode_json
from ringme_async.mirror.json_column import escaped, unescaped
from ringme_async.mirror.jsonl_file import json_text
from ringme_async.resources.clients.codec import client_from_json
from tests.mirror.databases import ask, clients_in, history_in
from tests.mirror.world import record_of

ODD = '\0\ud83d\ude00\udc00\u241b\\u0000d8ab\U0001f4de\u044f"/\n\x7f'
TEXTS = st.text(st.sampled_from(ODD), max_size=8) | st.text(max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
    # Two halves that stand side by side are one character once they have been JSON.
).map(lambda value: json.loads(json.dumps(value)))


def done(number: int, **fields: object) -> Done[Client]:
    return Done(number, 0, 1, client_from_json(record_of(number, **fields)))


@given(VALUES)
@settings(max_examples=500)
def test_json_comes_back_from_a_column_as_it_was(value: Any) -> None:
    for text in (json_text(value), json.dumps(value)):
        column = escaped(text)
        assert json.loads(unescaped(column)) == json.loads(text)
        assert decode_json(column) == json.loads(text)
        for character in json.dumps(json.loads(column), ensure_ascii=False).replace("\\\\", ""):
            assert not "\ud800" <= character <= "\udfff"
        assert "\\u0000" not in json.dumps(json.loads(column)).replace("\\\\", "")


@given(st.lists(TEXTS, min_size=2, max_size=2, unique=True))
def test_different_texts_are_different_in_a_column(texts: list[str]) -> None:
    first, second = (json.loads(escaped(json_text(text))) for text in texts)
    assert first != second


def queries(url: str) -> list[str]:
    if "postgres" in url:
        return [
            "SELECT record ->> 'later' AS later, record::jsonb ->> 'name' AS name FROM clients",
            "SELECT key, value FROM clients, json_each_text(record)",
            "SELECT before #>> '{}', after #>> '{}', before::jsonb, after::jsonb FROM history",
        ]
    return [
        "SELECT record ->> '$.later' AS later, record ->> '$.name' AS name FROM clients",
        "SELECT key, value FROM clients, json_each(record)",
        "SELECT before ->> '$', after ->> '$' FROM history",
    ]


@given(
    first=st.lists(VALUES, min_size=3, max_size=3), second=st.lists(VALUES, min_size=3, max_size=3)
)
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_every_row_can_be_queried_and_nothing_is_lost(
    first: list[Any], second: list[Any], url: str
) -> None:
    for values in (first, second):
        async with Mirror(url).open(resume=False) as session:
            for number, value in enumerate(values, 1):
                await session.write(str(number), done(number, later=value))
    rows = await clients_in(url)
    for number, value in enumerate(second, 1):
        assert rows[str(number)]["record"] == record_of(number, later=value)
    for query in queries(url):
        await ask(url, query)
    last: Mapping[str, Any] = {row["tenant"]: row["after"] for row in await history_in(url)}
    for number, (before, after) in enumerate(zip(first, second, strict=True), 1):
        if json.dumps(before, sort_keys=True) != json.dumps(after, sort_keys=True):
            assert last[str(number)] == after


async def test_reading_a_tenant_again_repairs_a_row_of_an_earlier_version(
    postgres_url: str,
) -> None:
    async with Mirror(postgres_url).open(resume=False) as session:
        await session.write("1", done(1, later="a\0b"))
    unescaped_again = "replace(record::text, '\u241b', '\\u')::json"
    await ask(postgres_url, f"UPDATE clients SET record = {unescaped_again}")
    with pytest.raises(Exception, match="unsupported Unicode escape"):
        await ask(postgres_url, "SELECT record ->> 'later' FROM clients")
    async with Mirror(postgres_url).open(resume=False) as session:
        await session.write("1", done(1, later="a\0b"))
        assert await session.finish(complete=True) == 0
    [row] = await ask(postgres_url, "SELECT record ->> 'later' AS later FROM clients")
    assert row["later"] == "a\u241b0000b"
