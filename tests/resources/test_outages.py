"""Many clients while their host is down: refused, failing, or silent, for ten minutes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ringme_async import (
    BearerToken,
    ClientCredentials,
    ClientUpdate,
    ConnectError,
    InMemoryTransport,
    NotAttempted,
    Request,
    Response,
    RetryPolicy,
    RingMe,
    Tenant,
)
from ringme_async.events import Parked
from ringme_async.testing import FakeRingMe, faults
from tests.scripted import record

pytestmark = pytest.mark.jumping

TEN_MINUTES = 600.0
TENANTS = 2_000


def dealing(fake: FakeRingMe) -> RingMe:
    dealer = fake.add_dealer()
    auth = ClientCredentials(dealer.app_id, dealer.app_secret)
    return RingMe(fake.base_url, auth=auth, transport=InMemoryTransport(fake))


async def down(fake: FakeRingMe, *, after: float, seconds: float) -> None:
    await asyncio.sleep(after)
    async with fake.outage():
        await asyncio.sleep(seconds)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_ten_minutes_without_connections_cost_no_outcome() -> None:
    fake = FakeRingMe(latency=0.1)
    fake.add_tenants(TENANTS)
    async with dealing(fake) as ringme:
        outage = asyncio.ensure_future(down(fake, after=2.0, seconds=TEN_MINUTES))
        report = await ringme.clients.get_many(range(1, TENANTS + 1))
        await outage

    assert report.ok
    assert TEN_MINUTES < now() < TEN_MINUTES + 180


@pytest.mark.parametrize("fault", [faults.ServerError(), faults.Stall(100)], ids=repr)
async def test_ten_minutes_of_failures_or_silence_cost_no_outcome(
    fault: faults.Fault,
) -> None:
    fake = FakeRingMe(latency=0.1)
    fake.add_tenants(TENANTS)
    fake.faults.during(fault, start=2.0, seconds=TEN_MINUTES)
    async with dealing(fake) as ringme:
        report = await ringme.clients.get_many(range(1, TENANTS + 1))

    assert report.ok
    assert TEN_MINUTES < now() < TEN_MINUTES + 300


async def test_all_changes_are_made_after_an_outage() -> None:
    fake = FakeRingMe(latency=0.1)
    fake.add_tenants(1_000)
    async with dealing(fake) as ringme:
        outage = asyncio.ensure_future(down(fake, after=1.0, seconds=TEN_MINUTES))
        changes = {who: ClientUpdate(hold_music=who) for who in range(1, 1_001)}
        report = await ringme.clients.update_many(changes)
        await outage

    assert report.ok
    assert all(fake.records[who]["hold_music"] == who for who in range(1, 1_001))


async def test_a_plan_is_applied_through_an_outage() -> None:
    fake = FakeRingMe(latency=0.1)
    fake.add_tenants(300)
    async with dealing(fake) as ringme:
        plan = await ringme.clients.plan(
            dict.fromkeys(range(1, 301), ClientUpdate(timezone="Asia/Omsk"))
        )
        outage = asyncio.ensure_future(down(fake, after=0.5, seconds=TEN_MINUTES))
        report = await plan.apply()
        await outage

    assert report.ok


async def test_an_outage_does_not_delay_tenants_of_another_host() -> None:
    hosts = {"https://ill.example": FakeRingMe(latency=0.1), "https://well.example": FakeRingMe()}
    tenants: list[Tenant] = []
    for base_url, fake in hosts.items():
        fake.add_tenants(300)
        dealer = fake.add_dealer()
        auth = ClientCredentials(dealer.app_id, dealer.app_secret)
        tenants += [Tenant(n, auth=auth, base_url=base_url) for n in range(1, 301)]

    async def either(request: Request) -> Response:
        return await hosts["https://" + request.url.split("/")[2]](request)

    last = 0.0
    ill = hosts["https://ill.example"]
    outage = asyncio.ensure_future(down(ill, after=0.3, seconds=TEN_MINUTES))
    async with (
        RingMe(transport=InMemoryTransport(either)) as ringme,
        ringme.clients.get_many(tenants) as run,
    ):
        async for outcome in run:
            assert outcome.ok
            assert isinstance(outcome.who, Tenant)
            if outcome.who.base_url == "https://well.example":
                last = now()
    await outage

    assert last < 60


async def test_a_host_that_stays_away_is_given_up_after_half_an_hour() -> None:
    fake = FakeRingMe(latency=0.1)
    fake.add_tenants(500)
    async with dealing(fake) as ringme:
        outage = asyncio.ensure_future(down(fake, after=0.5, seconds=1e6))
        report = await ringme.clients.get_many(range(1, 501))
        outage.cancel()

    assert sum(report.counts.values()) == 500
    # 64 were in flight; then five tenants were asked at once, and one after each pause.
    assert report.counts["ConnectError"] <= 64 + 5 + 40
    assert report.counts["not_attempted"] > 250
    assert {type(failure.error) for failure in report.failures} == {ConnectError}
    assert 1_800 < now() < 2_400


async def test_a_host_whose_name_is_misspelt_is_not_waited_for_half_an_hour() -> None:
    fake = FakeRingMe()
    async with dealing(fake) as ringme, fake.outage():
        report = await ringme.clients.get_many(range(1, 501))

    assert report.counts["ConnectError"] + report.counts["not_attempted"] == 500
    assert report.counts["ConnectError"] < 20
    assert now() < 900


async def test_an_outage_fails_jobs_with_on_outage_fail() -> None:
    fake = FakeRingMe(latency=0.1)
    fake.add_tenants(500)
    async with dealing(fake) as ringme:
        await ringme.clients.get(1)
        async with fake.outage():
            report = await ringme.clients.get_many(range(1, 501), on_outage="fail")

    assert report.failed == 500
    assert now() < 600


@pytest.mark.parametrize("way", ["read", "update", "apply"])
async def test_broken_tenants_of_a_healthy_host_delay_no_neighbour_and_no_change_is_sent_twice(
    way: str,
) -> None:
    fake = FakeRingMe(latency=0.1, journal=10_000)
    fake.add_tenants(600)
    wishes = {who: ClientUpdate(hold_music=who) for who in range(1, 601)}
    async with dealing(fake) as ringme:
        plan = await ringme.clients.plan(wishes)
        for who in range(500, 560):
            fake.faults.always(faults.ServerError(), tenant=who)
        started = now()
        if way == "read":
            report = await ringme.clients.get_many(range(1, 601))
        elif way == "update":
            report = await ringme.clients.update_many(wishes)
        else:
            report = await plan.apply()

    assert {failure.who for failure in report.failures} == set(range(500, 560))
    assert report.counts["not_attempted"] == 0
    assert now() - started < 30
    puts = [one.tenant for one in fake.requests if one.method == "PUT" and one.status == 200]
    assert len(puts) == len(set(puts)) == (0 if way == "read" else 540)


async def test_a_failed_change_of_a_host_given_up_names_the_outage_and_no_deadline() -> None:
    fake = FakeRingMe(latency=0.1)
    fake.add_tenants(300)
    fake.faults.during(faults.Stall(1e9), start=0.35, seconds=1e9)
    async with dealing(fake) as ringme:
        report = await ringme.clients.update_many(
            {who: ClientUpdate(hold_music=who) for who in range(1, 301)}
        )

    assert report.failures
    for failure in report.failures:
        words = failure.reason if isinstance(failure, NotAttempted) else str(failure.error)
        assert "deadline of the run" not in words
        if isinstance(failure, NotAttempted):
            assert words.startswith("its host does not answer: ")


@pytest.mark.parametrize("kind", ["unresolved", "refused"])
async def test_a_wrong_host_name_delays_thirty_tenants_no_longer_than_one(kind: Any) -> None:
    async def nowhere(_: Request) -> Response:
        await asyncio.sleep(0.1)
        raise ConnectError("no such host", kind=kind)

    auth = BearerToken("token")
    retry = RetryPolicy(random=lambda: 1.0)
    async with RingMe(
        "https://x.example", auth=auth, transport=InMemoryTransport(nowhere), retry=retry
    ) as one:
        with pytest.raises(ConnectError):
            await one.clients.get(1)
        for_one = now()
        report = await one.clients.get_many(range(1, 31))

    assert report.counts["ConnectError"] + report.counts["not_attempted"] == 30
    # Two calls are in flight at the start, and one of them waits for the quota of the other.
    assert now() - for_one <= 2.5 * for_one
    assert (kind == "unresolved") is (for_one < 0.2)


async def test_a_probe_without_quota_is_neither_sent_nor_parked() -> None:
    asked: list[str] = []
    events: list[object] = []

    async def one_request_each(request: Request) -> Response:
        await asyncio.sleep(0.1)
        who = request.url.split("/")[-3]
        asked.append(who)
        if 20 <= int(who) < 50:
            return Response(500, {"content-type": "application/json"}, b"{}")
        limits = {"limit": "1", "remaining": "0", "reset": "3000"}
        headers = {f"x-ratelimit-{name}": value for name, value in limits.items()}
        body = record().body.replace(b'"id": 12,', f'"id": {who},'.encode())
        return Response(200, {"content-type": "application/json", **headers}, body)

    tenants = [Tenant(number, auth=BearerToken(f"token {number}")) for number in range(1, 101)]
    async with RingMe(
        "https://x.example",
        transport=InMemoryTransport(one_request_each),
        retry=RetryPolicy(attempts=1),
        observers=[events.append],
    ) as ringme:
        report = await ringme.clients.get_many(tenants, concurrency=8)

    assert report.counts["done"] == 70
    assert len(asked) == len(set(asked)) == 100
    assert not [event for event in events if isinstance(event, Parked)]
