"""Runs in real processes, killed at random moments and resumed to the end."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ringme_async import ClientCredentials, ClientUpdate, RingMe
from ringme_async.mirror import Journal, Mirror, OutputInUse, apply_plan
from ringme_async.mirror import sql_connection as connection
from tests.leaping import HOUR
from tests.mirror.databases import clients_in, history_in, runs_in
from tests.mirror.world import by_tenant, lines_of
from tests.mirror.zygote import Zygote, running_zygote
from tests.standin import RunningStandIn, running_standin

TENANTS = list(range(1, 101))
LATENCY = 0.025
KILLS = 4
LONGEST = 0.15
# How many answers a process gets before its last chance: too few to come to its end, however late
# its kill may be.
SHARE = 20
BLOCKED = [13, 57]
DEALER = {"app_id": "dealer", "secret": "hush-hush", "tenant": 1, "reach": {}}


@pytest.fixture(scope="module")
def server() -> Iterator[RunningStandIn]:
    config = {
        "applications": [DEALER],
        "login_per_second": None,
        "login_at_once": None,
        "tenants": {"range": [1, 2_000]},
        "blocked": BLOCKED,
        "latency": LATENCY,
        "stored_as": {"Asia/Calcutta": "Asia/Kolkata"},
        "extra": {"later": {"text": "\u0437\u0432\u0443\u043a \U0001f4de"}},
    }
    with running_standin(config) as server:
        yield server


@pytest.fixture(scope="module")
def records() -> dict[str, Any]:
    """What the server holds of those who can be read, as far as it was looked up or changed."""
    return {}


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with running_zygote() as zygote:
        yield zygote


@pytest.fixture
async def ringme(server: RunningStandIn) -> AsyncIterator[RingMe]:
    auth = ClientCredentials("dealer", "hush-hush")
    async with RingMe(server.base_url, auth=auth) as ringme:
        yield ringme


async def run_with_kills(
    zygote: Zygote,
    server: RunningStandIn,
    seed: str,
    done: Callable[[], Any],
    runs: Callable[[], Any] | None = None,
    **order: Any,
) -> None:
    """Start, kill, resume, kill again, and at last resume to the end.

    Whoever is in the output at a kill is not asked for again. With ``runs``, which counts them, the
    first kill waits until a new one has begun: to resume is to go on with the latest.
    """
    before = None if runs is None else await runs()
    chance = random.Random(seed)
    settled: dict[str, int] = {}
    for kill in range(KILLS):
        await answer_no_more_than(server, SHARE)
        pid = zygote.start(url=server.base_url, resume=kill > 0, **order)
        while runs is not None and await runs() == before:
            await asyncio.sleep(0.001)
        await asyncio.sleep(chance.uniform(0, LONGEST))
        os.kill(pid, signal.SIGKILL)
        assert zygote.wait() == -signal.SIGKILL
        asked = await asked_by_tenant(server)
        for tenant in await done():
            settled.setdefault(tenant, asked[tenant])
    await server.do("set_rules", rules=[])
    zygote.start(url=server.base_url, resume=True, **order)
    assert zygote.wait() == 0
    asked = await asked_by_tenant(server)
    assert {tenant: asked[tenant] for tenant in settled} == settled


async def answer_no_more_than(server: RunningStandIn, number: int) -> None:
    rule = {"do": "stall", "skip": number, "seconds": HOUR}
    await server.do("set_rules", rules=[rule])


async def asked_by_tenant(server: RunningStandIn) -> dict[str, int]:
    books = await server.books()
    return {tenant: ledger["received"] for tenant, ledger in books["tenants"].items()}


async def whole_lines(path: Path) -> list[str]:
    content = path.read_bytes() if path.exists() else b""
    return [json.loads(line)["tenant"] for line in content.split(b"\n")[:-1]]


@pytest.fixture
async def expected(server: RunningStandIn, records: dict[str, Any]) -> dict[str, Any]:
    """The records of an uninterrupted run."""
    if not records:
        for tenant in TENANTS:
            if tenant not in BLOCKED:
                records[str(tenant)] = await server.do("record", tenant=tenant)
    return records


@pytest.mark.parametrize("seed", range(6))
async def test_json_lines_equal_those_of_an_uninterrupted_run(
    zygote: Zygote, server: RunningStandIn, expected: dict[str, Any], tmp_path: Path, seed: int
) -> None:
    path = tmp_path / "clients.jsonl"
    await run_with_kills(
        zygote,
        server,
        f"lines {seed}",
        lambda: whole_lines(path),
        into=str(path),
        tenants=TENANTS,
    )
    lines = by_tenant(path)
    assert {tenant: line["client"] for tenant, line in lines.items()} == expected
    assert len({line["run"] for line in lines.values()}) == 1
    failures = by_tenant(tmp_path / "clients.failures.jsonl")
    assert {tenant: line["status"] for tenant, line in failures.items()} == {
        str(tenant): "user_blocked" for tenant in BLOCKED
    }
    assert sorted(os.listdir(tmp_path)) == ["clients.failures.jsonl", "clients.jsonl"]


async def a_mirror_equals_that_of_an_undisturbed_run(
    zygote: Zygote, server: RunningStandIn, expected: dict[str, Any], url: str, seed: str
) -> None:
    zygote.start(url=server.base_url, resume=False, into=url, tenants=TENANTS)
    assert zygote.wait() == 0
    chance = random.Random(seed)
    changed = {}
    for tenant in chance.sample(sorted(expected), 14):
        music = chance.randrange(1_000_000)
        await server.do("change", tenant=int(tenant), fields={"hold_music": music})
        changed[tenant] = (expected[tenant]["hold_music"], music)
        expected[tenant]["hold_music"] = music

    async def done() -> list[str]:
        unfinished = [run["id"] for run in await runs_in(url) if not run["finished"]]
        return [key for key, row in (await clients_in(url)).items() if row["run"] in unfinished]

    async def runs_begun() -> int:
        return len(await runs_in(url))

    await run_with_kills(zygote, server, seed, done, runs_begun, into=url, tenants=TENANTS)
    runs = await runs_in(url)
    rows = await clients_in(url)
    read = {key: row["record"] for key, row in rows.items() if row["record"] is not None}
    assert read == expected
    assert {key: row["last_error"][:11] for key, row in rows.items() if row["last_error"]} == {
        str(tenant): "UserBlocked" for tenant in BLOCKED
    }
    changes = {row["tenant"]: (row["before"], row["after"]) for row in await history_in(url)}
    assert changes == changed
    assert len(await history_in(url)) == len(changed)
    books = [(row["read"], row["failed"], row["changed"]) for row in runs]
    assert books == [(98, 2, 0), (98, 2, len(changed))]
    assert all(row["finished"] for row in runs)


@pytest.mark.parametrize("seed", range(4))
async def test_a_mirror_in_sqlite_equals_that_of_an_uninterrupted_run(
    zygote: Zygote,
    server: RunningStandIn,
    expected: dict[str, Any],
    sqlite_url: str,
    tmp_path: Path,
    seed: int,
) -> None:
    await a_mirror_equals_that_of_an_undisturbed_run(
        zygote, server, expected, sqlite_url, f"sqlite {seed}"
    )
    assert os.listdir(tmp_path) == ["clients.db"]


async def test_a_mirror_in_postgres_equals_that_of_an_uninterrupted_run(
    zygote: Zygote, server: RunningStandIn, expected: dict[str, Any], postgres_url: str
) -> None:
    await a_mirror_equals_that_of_an_undisturbed_run(
        zygote, server, expected, postgres_url, "postgres"
    )


@pytest.mark.parametrize("seed", range(4))
async def test_a_plan_is_applied_whole_without_a_false_conflict(
    zygote: Zygote, server: RunningStandIn, ringme: RingMe, tmp_path: Path, seed: int
) -> None:
    first = 1_001 + 100 * seed
    tenants = range(first, first + 60)
    behind, by_somebody, differing = first + 7, first + 23, first + 42
    wish = ClientUpdate(timezone="Asia/Omsk", hold_music=5)
    await server.do("change", tenant=differing, fields={"timezone": "Asia/Omsk"})
    plan = await ringme.clients.plan(dict.fromkeys(tenants, wish))
    plan.save(tmp_path / "plan.json")
    await server.do("change", tenant=behind, fields={"hold_music": 6})
    await server.do("change", tenant=by_somebody, fields=wish.changes())

    path = tmp_path / "apply.jsonl"
    await run_with_kills(
        zygote,
        server,
        f"apply {seed}",
        lambda: whole_lines(path),
        into=str(path),
        plan=str(tmp_path / "plan.json"),
    )

    lines = by_tenant(path)
    assert sorted(lines) == [str(tenant) for tenant in tenants if tenant != behind]
    failures = lines_of(tmp_path / "apply.failures.jsonl")
    assert [(line["tenant"], line["error"]) for line in failures] == [(str(behind), "Conflict")]
    for tenant in tenants:
        record = await server.do("record", tenant=tenant)
        conflict = tenant == behind
        assert record["hold_music"] == (6 if conflict else 5)
        assert record["timezone"] == ("Europe/Moscow" if conflict else "Asia/Omsk")
    whole, rest = wish.changes(), {"hold_music": 5}
    sent: dict[int, list[Any]] = {}
    for write in (await server.books())["writes"]:
        sent.setdefault(write["tenant"], []).append(write["body"])
    for tenant in tenants:
        bodies = sent.get(tenant, [])
        if tenant in {behind, by_somebody}:
            assert bodies == []
        else:
            assert bodies
            assert all(body == (rest if tenant == differing else whole) for body in bodies)


@pytest.mark.parametrize("seed", range(2))
async def test_kills_with_a_rewriting_server_report_no_false_conflict(
    zygote: Zygote, server: RunningStandIn, ringme: RingMe, tmp_path: Path, seed: int
) -> None:
    first = 1_501 + 100 * seed
    tenants = range(first, first + 60)
    behind = first + 7
    wish = ClientUpdate(timezone="Asia/Calcutta")
    plan = await ringme.clients.plan(dict.fromkeys(tenants, wish))
    plan.save(tmp_path / "plan.json")
    await server.do("change", tenant=behind, fields={"timezone": "Asia/Tomsk"})

    path = tmp_path / "apply.jsonl"
    await run_with_kills(
        zygote,
        server,
        f"forms {seed}",
        lambda: whole_lines(path),
        into=str(path),
        plan=str(tmp_path / "plan.json"),
    )
    report = await apply_plan(plan, path, resume=True)

    failures = by_tenant(tmp_path / "apply.failures.jsonl")
    sure = [name for name, line in failures.items() if not line["maybe_applied"]]
    assert (report.conflicts, sure) == (1, [str(behind)])
    # No more than were under way at a kill.
    assert report.failed == 1 + report.unclear <= 1 + KILLS * SHARE
    lines = by_tenant(path)
    assert sorted({*lines, *failures}) == sorted(map(str, tenants))
    assert all(line["rewritten"] == {"timezone": "Asia/Kolkata"} for line in lines.values())


async def test_a_killed_run_releases_its_output(
    zygote: Zygote, server: RunningStandIn, tmp_path: Path
) -> None:
    path = tmp_path / "clients.jsonl"
    await answer_no_more_than(server, SHARE)
    pid = zygote.start(url=server.base_url, resume=False, into=str(path), tenants=TENANTS)
    while not lines_of(path):
        await asyncio.sleep(0.001)
    with pytest.raises(OutputInUse):
        async with Journal(path).open(resume=True):
            pass
    os.kill(pid, signal.SIGKILL)
    assert zygote.wait() == -signal.SIGKILL
    async with Journal(path).open(resume=True) as session:
        assert session.is_done(lines_of(path)[0]["tenant"])


async def test_a_killed_run_releases_its_database(
    zygote: Zygote,
    server: RunningStandIn,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Mirror(url).open(resume=False):
        pass
    await answer_no_more_than(server, SHARE)
    pid = zygote.start(url=server.base_url, resume=False, into=url, tenants=TENANTS)
    while not await clients_in(url):
        await asyncio.sleep(0.001)
    with monkeypatch.context() as patch, pytest.raises(OutputInUse):
        patch.setattr(connection, "_LOCK_ATTEMPTS", 1)
        async with Mirror(url).open(resume=True):
            pass
    os.kill(pid, signal.SIGKILL)
    assert zygote.wait() == -signal.SIGKILL
    async with Mirror(url).open(resume=True) as session:
        assert session.is_done(next(iter(await clients_in(url))))
