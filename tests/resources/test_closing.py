"""A ``RingMe`` that is closed while runs are under way in it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest

from ringme_async import (
    BearerToken,
    BulkReport,
    BulkRun,
    Client,
    ClientCredentials,
    ClientUpdate,
    Done,
    Failed,
    InMemoryTransport,
    NotAttempted,
    ResponseLost,
    RingMe,
    RingMeClosed,
)
from ringme_async.calls.lifetime import Lifetime
from ringme_async.testing import FakeRingMe
from tests.scripted import Answer, ScriptedTransport, asked_for, never, record, refusal

pytestmark = pytest.mark.jumping

OMSK = ClientUpdate(timezone="Asia/Omsk")


def now() -> float:
    return asyncio.get_running_loop().time()


def dealing(fake: FakeRingMe) -> RingMe:
    dealer = fake.add_dealer(ceiling=100)
    auth = ClientCredentials(dealer.app_id, dealer.app_secret)
    return RingMe(fake.base_url, auth=auth, transport=InMemoryTransport(fake))


async def closed_under(ringme: RingMe, run: BulkRun[Client], after: float) -> BulkReport[Client]:
    async def read() -> BulkReport[Client]:
        return await run

    reading = asyncio.ensure_future(read())
    await asyncio.sleep(after)
    await ringme.aclose()
    return await reading


async def test_a_parked_job_is_not_attempted_and_the_run_ends_at_once() -> None:
    fake = FakeRingMe()
    fake.add_tenants(500)
    pulled: list[int] = []

    def ids() -> Iterator[int]:
        for number in range(1, 501):
            pulled.append(number)
            yield number

    ringme = dealing(fake)
    report = await closed_under(ringme, ringme.clients.get_many(ids(), max_waiting=50), after=60)

    assert now() < 61
    assert Counter(type(outcome) for outcome in report) == {
        Done: 100,
        NotAttempted: len(pulled) - 100,
    }
    assert [outcome.who for outcome in report] == pulled
    assert not report.ok
    reasons = {outcome.reason for outcome in report if isinstance(outcome, NotAttempted)}
    assert reasons == {"the RingMe was closed"}


async def test_a_job_that_waits_for_a_host_ends_at_once() -> None:
    fake = FakeRingMe(latency=0.1)
    fake.add_tenants(500)
    ringme = dealing(fake)
    async with fake.outage():
        run = ringme.clients.get_many(range(1, 501))
        report = await closed_under(ringme, run, after=40)

    assert now() < 41
    assert run.progress.pulled == len(report)
    assert not any(outcome.ok for outcome in report)


async def test_jobs_in_flight_fail_and_no_more_are_pulled() -> None:
    transport = ScriptedTransport([asked_for, asked_for, never])
    ringme = RingMe("https://a.example", auth=BearerToken("t"), transport=transport)

    run = ringme.clients.get_many(range(100), concurrency=8, max_waiting=20)
    report = await closed_under(ringme, run, after=1)

    assert now() == 1.0
    assert len(report.values()) == 2
    assert len(report) < 40
    assert {type(failure.error) for failure in report.failures} == {RingMeClosed}
    assert len(report) == run.progress.pulled


async def test_a_change_that_may_have_been_made_and_was_parked_says_so() -> None:
    refused = refusal(429, "rate_limit_exceeded", x_ratelimit_reset="1800")
    script: list[Answer] = [ResponseLost("cut off", sent=True), refused]
    transport = ScriptedTransport(script)
    ringme = RingMe("https://a.example", auth=BearerToken("t"), transport=transport)

    run = ringme.clients.update_many({12: OMSK})
    (outcome,) = await closed_under(ringme, run, after=30)

    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, RingMeClosed)
    assert outcome.error.maybe_applied


async def test_a_run_after_closing_fails_at_its_first_element() -> None:
    ringme = RingMe("https://a.example", auth=BearerToken("t"), transport=ScriptedTransport([]))
    await ringme.aclose()

    report = await ringme.clients.get_many(range(1_000_000), concurrency=4)

    assert {type(failure.error) for failure in report.failures} == {RingMeClosed}
    assert len(report) <= 8


async def test_an_unfinished_plan_names_the_clients_that_were_not_read() -> None:
    transport = ScriptedTransport([record(id=0), never])
    ringme = RingMe("https://a.example", auth=BearerToken("t"), transport=transport)
    changes = dict.fromkeys(range(20_000), OMSK)
    planning = asyncio.ensure_future(ringme.clients.plan(changes))
    await asyncio.sleep(1)
    await ringme.aclose()
    plan = await planning

    assert len(plan) == 1
    assert [failure.who for failure in plan.failures] == list(range(1, 20_000))
    assert plan.failures[-1] == NotAttempted(19_999, 19_999, reason="the RingMe was closed")


def test_a_run_of_a_loop_that_has_ended_is_left_alone() -> None:
    told: list[str] = []
    lifetime = Lifetime("<RingMe>", lambda: None)

    async def begin() -> None:
        lifetime.on_close(told.append)

    async def close() -> None:
        lifetime.close()

    asyncio.run(begin())
    asyncio.run(close())

    assert told == []
