"""Which request meets which fault."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from ringme_async.errors import ResponseLost, TransportError
from ringme_async.errors import ServerError as TheErrorOfTheSameName
from ringme_async.testing import FakeRingMe, faults
from ringme_async.transports import Headers, Request
from tests.testing.reach import ROOT, Caller


@pytest.fixture
def token(fake: FakeRingMe) -> str:
    fake.add_tenants(3)
    return fake.issue_token(fake.add_dealer())


async def code_of(inside: Caller, who: object, token: str) -> int:
    return (await inside.get(who, token)).status


async def test_a_fault_strikes_the_next_matching_requests(inside: Caller, token: str) -> None:
    fake = inside.fake
    fake.faults.next(faults.ServerError(503), times=2)
    assert fake.faults.left == 2
    assert [await code_of(inside, 1, token) for _ in range(4)] == [503, 503, 200, 200]
    assert fake.faults.left == 0
    assert fake.faults.struck == {faults.ServerError(503): 2}


async def test_faults_strike_in_the_order_they_were_set(inside: Caller, token: str) -> None:
    inside.fake.faults.next(faults.ServerError(503))
    inside.fake.faults.next(faults.ServerError(502))
    assert [await code_of(inside, 1, token) for _ in range(3)] == [503, 502, 200]


async def test_a_fault_can_strike_one_client_only(inside: Caller, token: str) -> None:
    inside.fake.faults.next(faults.ServerError(), tenant=2)
    assert [await code_of(inside, who, token) for who in (1, 2, 3)] == [200, 500, 200]
    inside.fake.faults.next(faults.ServerError(), tenant=inside.fake.tenant(3))
    assert [await code_of(inside, who, token) for who in (1, 2, 3)] == [200, 200, 500]


async def test_a_fault_for_a_client_strikes_its_requests_with_at_me(inside: Caller) -> None:
    fake = inside.fake
    application = fake.add_application(tenant=fake.add_tenant(id=12))
    fake.faults.next(faults.ServerError(), tenant=12)
    assert await code_of(inside, "@me", fake.issue_token(application)) == 500


async def test_a_fault_can_strike_one_method_only(inside: Caller, token: str) -> None:
    inside.fake.faults.next(faults.ServerError(), on="PUT")
    assert await code_of(inside, 1, token) == 200
    assert (await inside.put(1, token, {})).status == 500
    inside.fake.faults.next(faults.ServerError(), on="POST")
    assert (await inside.log_in(inside.fake.add_application())).status == 500


async def test_a_fault_can_strike_the_logins_of_one_client_only(inside: Caller) -> None:
    one, two = (inside.fake.add_application() for _ in range(2))
    inside.fake.faults.next(faults.ServerError(), on="/oauth/token", tenant=two.tenant)
    assert (await inside.log_in(one)).status == 200
    assert (await inside.log_in(two)).status == 500


async def test_a_fault_strikes_the_api_and_not_the_logins_by_default(
    inside: Caller, token: str
) -> None:
    inside.fake.faults.next(faults.ServerError())
    assert (await inside.log_in(inside.fake.add_application())).status == 200
    assert (await inside("GET", "/elsewhere")).status == 404
    assert (await inside("GET", f"{ROOT}/elsewhere/")).status == 500


async def test_a_fault_can_strike_always_until_cleared(inside: Caller, token: str) -> None:
    fake = inside.fake
    fake.faults.always(faults.ServerError(), tenant=1)
    fake.faults.random(status=1.0)
    assert [await code_of(inside, 1, token) for _ in range(5)] == [500] * 5
    assert fake.faults.left == 0
    fake.faults.clear()
    assert await code_of(inside, 1, token) == 200


@pytest.mark.jumping
async def test_a_fault_can_strike_for_a_while(inside: Caller, token: str) -> None:
    await asyncio.sleep(1000)
    inside.fake.faults.during(faults.ServerError(503), start=10, seconds=5)
    codes: list[int] = []
    for _ in range(18):
        codes.append(await code_of(inside, 1, token))
        await asyncio.sleep(1)
    assert codes == [200] * 10 + [503] * 5 + [200] * 3


async def test_random_faults_strike_as_often_as_their_chance(inside: Caller, token: str) -> None:
    inside.fake.faults.random(seed=3, status=0.1, busy=0.05, garbled=0.05)
    for _ in range(2_000):
        await _quietly(inside, token)
    struck: Counter[str] = Counter()
    for fault, times in inside.fake.faults.struck.items():
        struck[type(fault).__name__] += times
    assert 150 < struck["ServerError"] < 250
    assert 70 < struck["Busy"] < 130
    assert 70 < struck["GarbledBody"] + struck["GarbledGzip"] < 130


async def test_the_same_seed_strikes_the_same_requests() -> None:
    rows: list[list[str]] = []
    for seed in (1, 1, 2):
        fake = FakeRingMe()
        fake.faults.random(seed=seed, html=0.2, reset=0.2)
        for _ in range(50):
            await _lost_or_not(fake)
        rows.append([str(entry.fault) for entry in fake.requests])
    assert rows[0] == rows[1] != rows[2]


async def test_every_named_chance_strikes(inside: Caller, token: str) -> None:
    kinds = {
        "status": "ServerError",
        "html": "Html",
        "reset": "Reset",
        "stall": "Stall",
        "drip": "SlowDrip",
        "cut": "CutBody",
        "garbled": "Garbled",
        "busy": "Busy",
        "token_death": "TokenDeath",
        "bomb": "GzipBomb",
    }
    for kind, name in kinds.items():
        inside.fake.faults.random(**{kind: 1.0})  # type: ignore[arg-type]
        waiting = asyncio.create_task(_quietly(inside, token))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert type(inside.fake.requests[-1].fault).__name__.startswith(name)


async def test_custom_faults_can_strike_by_chance(inside: Caller, token: str) -> None:
    inside.fake.faults.random({faults.ServerError(599): 1.0}, on="PUT")
    assert await code_of(inside, 1, token) == 200
    assert (await inside.put(1, token, {})).status == 599


async def test_a_chance_of_zero_never_strikes(inside: Caller, token: str) -> None:
    inside.fake.faults.random()
    assert await code_of(inside, 1, token) == 200


@pytest.mark.parametrize("chances", [{"status": 0.6, "html": 0.6}, {"status": -0.1}])
def test_chances_add_up_to_one_at_most(fake: FakeRingMe, chances: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="add up to at most 1"):
        fake.faults.random(**chances)  # type: ignore[arg-type]


def test_an_error_is_refused_as_a_fault(fake: FakeRingMe) -> None:
    with pytest.raises(TypeError, match=r"ringme_async\.testing\.faults"):
        fake.faults.next(TheErrorOfTheSameName("no"))  # type: ignore[arg-type]


def test_a_fault_strikes_at_least_once(fake: FakeRingMe) -> None:
    with pytest.raises(ValueError, match="from 1 up"):
        fake.faults.next(faults.Busy(), times=0)


async def test_a_scheduled_fault_comes_before_a_random_one(inside: Caller, token: str) -> None:
    inside.fake.faults.random(html=1.0)
    inside.fake.faults.next(faults.ResetBefore())
    with pytest.raises(ResponseLost):
        await inside.get(1, token)
    assert await code_of(inside, 1, token) == 502


async def _quietly(inside: Caller, token: str) -> None:
    try:
        await inside.get(1, token)
    except TransportError:
        return


async def _lost_or_not(fake: FakeRingMe) -> None:
    headers = Headers({"accept-encoding": "gzip"})
    try:
        await fake(Request("GET", f"{fake.base_url}{ROOT}/client/1/client/", headers))
    except TransportError:
        return
