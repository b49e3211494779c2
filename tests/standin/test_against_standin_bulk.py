"""The SDK's bulk calls against the stand-in: one outcome each, as the server's books have it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ringme_async import errors
from ringme_async.auth import ClientCredentials
from ringme_async.bulk import Done, Failed
from ringme_async.resources.clients.update import ClientUpdate
from ringme_async.tenant import Tenant
from ringme_async.transports import Timeouts
from tests.leaping import HOUR
from tests.scale import full_scale, is_full_scale

from .checks import Json, an_hour_later, assert_tells_no_secret, guarded, sdk

EVERY_KIND = (
    *("500", "502", "503", "504", "504_after", "html", "empty", "busy", "reset_before"),
    *("reset_after", "close_before", "close_after", "cut_head_before", "nonsense", "redirect"),
    *("cut", "cut_head", "garble", "bad_crc", "half_json", "wrong_type", "stall", "drip"),
    *("hangup", "clock_skew", "token_death"),
)
FAULTS: Json = {
    "seed": 11,
    "rates": dict.fromkeys(EVERY_KIND, 0.05 / len(EVERY_KIND)),
    "stall_seconds": 0.2,
    "drip_seconds": 0.2,
    "retry_after": ["", "0", "date+0", "nan"],
}
TROUBLED: Json = {
    "tenants": {"range": [1, 1990]},
    "blocked": {"divisible_by": 101},
    "rules": [{"tenants": {"divisible_by": 97}, "do": "503"}],
    "faults": FAULTS,
}


async def test_two_thousand_reads_with_faults_have_the_outcomes_that_the_server_counted() -> None:
    async with guarded(TROUBLED) as server, sdk(server) as ringme:
        report = await ringme.clients.get_many(range(1, 2001), concurrency=64)
        books = await server.books(tenants="failed")

    assert [outcome.index for outcome in report] == list(range(2000))
    assert [outcome.who for outcome in report] == list(range(1, 2001))
    failed = {outcome.who: outcome.error for outcome in report if isinstance(outcome, Failed)}
    assert {str(who) for who in failed} == set(books["tenants"])
    for outcome in report:
        if isinstance(outcome, Done):
            assert outcome.value.id == outcome.who
    doomed = {who for who in range(1, 2001) if not who % 97 or not who % 101 or who > 1990}
    assert doomed <= set(failed)
    # Tokens revoked by neighbours can use up a call's retries; its last error is then a 401.
    assert sum(isinstance(failed[who], errors.ServerError) for who in range(97, 1990, 97)) >= 15
    assert sum(isinstance(failed[who], errors.UserBlocked) for who in range(101, 1990, 101)) >= 15
    others = Counter(books["tenants"][str(who)]["last"] for who in set(failed) - doomed)
    assert set(others) <= {"redirect", "wrong_type", "401", "token_death"}
    assert others["401"] + others["token_death"] <= 3
    for error in failed.values():
        assert_tells_no_secret(error)
    assert sum(books["faults"].values()) > 60
    assert books["total"]["max_in_flight"] <= 64


async def test_five_hundred_changes_with_faults_leave_the_records_of_their_outcomes() -> None:
    wishes = {who: ClientUpdate(hold_music=who, timezone="Asia/Omsk") for who in range(1, 501)}
    config = {**TROUBLED, "faults": {**FAULTS, "seed": 5}, "unwritable": ["geo_list"]}
    wishes[13] = ClientUpdate(geo_list="RU")
    async with guarded(config) as server, sdk(server) as ringme:
        report = await ringme.clients.update_many(wishes, concurrency=64)
        books = await server.books()

    written: dict[Any, Json] = {}
    for write in books["writes"]:
        written.setdefault(write["tenant"], write["body"])
        assert write["body"] == {"hold_music": write["tenant"], "timezone": "Asia/Omsk"}
    assert len(report) == 500
    for outcome in report:
        match outcome:
            case Done(who=who, value=client):
                assert client.hold_music == who
                assert who in written
            case Failed(who=who, error=error):
                assert error.maybe_applied or who not in written
            case _:
                pytest.fail("nothing was left unattempted")
    assert isinstance(report[12], Failed)
    assert isinstance(report[12].error, errors.AccessDenied)


async def test_bulk_uses_a_ceiling_to_the_last_request_and_never_exceeds_it() -> None:
    own = {"tenants": {"range": [1, 4]}, "ceiling": 20}
    config = {"own_applications": own, "token_lifetime": 10 * HOUR, "latency": [0.0, 0.02]}
    tenants = [
        Tenant(auth=ClientCredentials(f"app-{number}", f"secret-{number}"), name=f"t{number}")
        for number in (1, 2, 3, 4)
    ] * 50
    done = 0
    async with (
        guarded(config) as server,
        sdk(server, None) as ringme,
        ringme.clients.get_many(tenants, concurrency=32) as run,
    ):
        async for outcome in run:
            assert outcome.ok
            done += 1
            if done in {4 * 20, 2 * 4 * 20}:
                await an_hour_later(server)
        books = await server.books()

    assert done == 200
    assert books["total"]["refused"] == {}
    assert books["logins"]["outcomes"] == {"200": 4}
    counted: dict[int, list[int]] = {}
    for window in books["windows"]:
        counted.setdefault(window["client"], []).append(window["counted"])
    assert counted == {number: [20, 20, 10] for number in (1, 2, 3, 4)}


async def test_a_stalling_tenant_does_not_delay_its_neighbours() -> None:
    config = {"rules": [{"tenants": [7], "do": "stall", "seconds": 120}]}
    ids = [7] * 30 + list(range(8, 208))
    done: set[object] = set()
    async with (
        guarded(config) as server,
        asyncio.timeout(100),
        sdk(server, timeout=HOUR, timeouts=Timeouts(attempt=HOUR)) as ringme,
        ringme.clients.get_many(ids, concurrency=16) as run,
    ):
        async for outcome in run:
            assert isinstance(outcome, Done)
            done.add(outcome.who)
            if len(done) == 200:
                break

    assert done == set(range(8, 208))


async def test_randomly_revoked_tokens_cost_no_value() -> None:
    # With this seed no two of the eight revoked tokens hit concurrent calls. Otherwise the speed of
    # the machine would decide which one a call meets first.
    faults = {"seed": 2432, "rates": {"token_death": 0.01}}
    async with guarded({"faults": faults, "latency": 0.02}) as server, sdk(server) as ringme:
        report = await ringme.clients.get_many(range(1, 1001), concurrency=64)

    assert sum(outcome.ok for outcome in report) == 1000


async def read_by_a_process_of_its_own(tenants: int) -> Json:
    """Read tenants in a new process, check it against the stand-in's books, and return its output."""
    config = {
        "tenants": {"range": [1, tenants]},
        "blocked": {"divisible_by": 1009},
        "rules": [{"tenants": {"divisible_by": 997}, "do": "503"}],
        "faults": FAULTS,
    }
    program = Path(__file__).with_name("scale_client.py")
    async with guarded(config) as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(program), server.base_url, str(tenants)),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        books = await server.books(tenants="failed")
    told: Json = json.loads(output)
    assert told["complete"]
    assert told["once"] == tenants
    assert told["mixed_up"] == 0
    assert set(told["failed"]) == set(books["tenants"])
    assert sum(books["faults"].values()) >= 0.04 * tenants
    return told


async def test_ten_times_as_many_tenants_take_no_more_memory() -> None:
    most = full_scale(100_000, scaled=20_000)

    few = await read_by_a_process_of_its_own(most // 10)
    many = await read_by_a_process_of_its_own(most)

    assert many["peak_kilobytes"] - few["peak_kilobytes"] <= 10 * 1024


@pytest.mark.skipif(not is_full_scale(), reason="takes minutes; nox -s scale runs it")
@pytest.mark.parametrize("ceiling", [100, 10])
async def test_twenty_applications_are_read_to_the_last_request_of_every_hour(
    ceiling: int,
) -> None:
    apps, reads = 20, 250
    own = {"tenants": {"range": [1, apps]}, "ceiling": ceiling}
    config = {"own_applications": own, "window_seconds": 10.0, "latency": [0.05, 0.1]}
    tenants = [
        Tenant(auth=ClientCredentials(f"app-{number}", f"secret-{number}"), name=f"t{number}")
        for number in range(1, apps + 1)
        for _ in range(reads)
    ]
    peak = 0
    async with (
        guarded(config) as server,
        sdk(server, None) as ringme,
        ringme.clients.get_many(tenants, concurrency=64) as run,
    ):
        async for outcome in run:
            assert outcome.ok
            peak = max(peak, run.progress.in_flight)
        books = await server.books()

    assert run.report.counts == {"done": apps * reads, "not_attempted": 0}
    assert books["total"]["refused"] == {}
    first: dict[int, int] = {}
    for window in books["windows"]:
        first.setdefault(window["client"], window["counted"])
    assert first == dict.fromkeys(range(1, apps + 1), ceiling)
    if ceiling == 100:
        assert peak >= 32
