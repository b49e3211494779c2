"""The stand-in's faults, checked with plain aiohttp: each has its effect and no other."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from .client import RunningStandIn
from .faults import gzip_bomb
from .plain import Json, Plain, until


@pytest.fixture
async def shared(server: RunningStandIn) -> AsyncIterator[Plain]:
    async with aiohttp.ClientSession() as session:
        yield Plain(server, session)


async def fresh(wire: Plain, rules: list[Json], **faults: Any) -> None:
    await wire.server.do("set_rules", rules=rules)
    await wire.server.do("set_faults", **faults)
    await wire.server.do("reset_books")


@pytest.mark.parametrize(
    ("kind", "status", "applied"),
    [
        ("503", 503, 0),
        ("504_after", 504, 1),
        ("html", 502, 0),
        ("empty", 503, 0),
        ("busy", 429, 0),
        ("redirect", 307, 0),
        ("token_death", 401, 0),
        ("status_418", 418, 0),
    ],
)
async def test_a_fault_with_a_status_changes_a_record_only_if_it_says_so(
    shared: Plain, kind: str, status: int, applied: int
) -> None:
    await fresh(shared, [{"do": kind, "retry_after": "date+2"}])
    token = await shared.server.do("issue_token", app="dealer")
    url = f"{shared.server.base_url}/api/ver1.0/client/12/client/"
    async with shared.session.put(
        url,
        json={"hold_music": 1},
        headers={"Authorization": f"Bearer {token}"},
        allow_redirects=False,
    ) as answer:
        await answer.read()
        books = await shared.server.books()

    assert answer.status == status
    assert ("Retry-After" in answer.headers) == (status in {429, 502, 503, 504})
    assert len(books["writes"]) == applied
    assert books["tenants"]["12"]["last"] == kind
    assert not books["tenants"]["12"]["ok"]


@pytest.mark.parametrize(
    ("kind", "error", "applied"),
    [
        ("reset_before", aiohttp.ClientOSError, 0),
        ("reset_after", aiohttp.ClientOSError, 1),
        ("close_before", aiohttp.ServerDisconnectedError, 0),
        ("close_after", aiohttp.ServerDisconnectedError, 1),
        ("cut_head_before", aiohttp.ServerDisconnectedError, 0),
        ("cut_head", aiohttp.ServerDisconnectedError, 1),
        ("nonsense", aiohttp.ClientResponseError, 0),
        ("cut", aiohttp.ClientPayloadError, 1),
        ("garble", (aiohttp.ClientPayloadError, ValueError), 1),
        ("bad_crc", aiohttp.ClientPayloadError, 1),
        ("half_json", json.JSONDecodeError, 1),
    ],
)
async def test_a_connection_fault_breaks_the_answer_and_not_the_counts(
    shared: Plain, kind: str, error: type[Exception] | tuple[type[Exception], ...], applied: int
) -> None:
    await fresh(shared, [{"do": kind}])
    token = await shared.server.do("issue_token", app="dealer")

    with pytest.raises(error):
        await shared.call("12", token, body={"hold_music": 1})

    # aiohttp repeats a PUT by itself when the connection breaks, so there can be two.
    books = await shared.server.books()
    assert bool(books["writes"]) == bool(applied)
    assert books["tenants"]["12"]["last"] == kind
    assert books["total"]["in_flight"] == 0


async def test_stall_drip_hangup_and_skew_deliver_the_whole_answer(shared: Plain) -> None:
    kinds = ("stall", "drip", "hangup", "clock_skew")
    rules = [{"tenants": [at], "do": kind, "seconds": 0.05} for at, kind in enumerate(kinds, 1)]
    await fresh(shared, rules)
    token = await shared.server.do("issue_token", app="dealer")

    answers = [await shared.call(str(at), token) for at in (1, 2, 3, 4)]

    assert [(status, record["id"]) for status, record, _ in answers] == [
        (200, 1),
        (200, 2),
        (200, 3),
        (200, 4),
    ]
    books = await shared.server.books(tenants="failed")
    assert books["tenants"] == {}
    assert books["faults"] == dict.fromkeys(kinds, 1)


async def test_an_answer_after_a_disconnect_is_counted_as_abandoned(shared: Plain) -> None:
    await fresh(shared, [{"do": "stall", "seconds": 120}])
    token = await shared.server.do("issue_token", app="dealer")

    waiting = asyncio.create_task(shared.call("12", token))
    await until(shared, lambda books: books["total"]["in_flight"] == 1)
    waiting.cancel()
    await asyncio.wait([waiting])

    books = await until(shared, lambda books: not books["total"]["in_flight"])
    assert waiting.cancelled()
    assert books["tenants"]["12"]["last"] == "abandoned"


async def test_random_faults_follow_the_seed_in_any_order(shared: Plain) -> None:
    rates = {"500": 0.2, "busy": 0.2}
    seen = []
    for order in (range(1, 41), range(40, 0, -1)):
        await fresh(shared, [], seed=7, rates=rates)
        token = await shared.server.do("issue_token", app="dealer")
        seen.append({who: (await shared.call(str(who), token))[0] for who in order})

    assert seen[0] == seen[1]
    assert set(seen[0].values()) == {200, 429, 500}


def test_the_bomb_is_well_formed_gzip() -> None:
    bomb = b"".join(gzip_bomb(5 * 2**20))

    assert gzip.decompress(bomb) == bytes(5 * 2**20)
    assert len(bomb) < 10_000
    assert zlib.decompressobj(31).decompress(bomb, 100) == bytes(100)
