"""Many clients at once: every tenant accounted for, and no limit passed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from ringme_async import (
    BearerToken,
    Client,
    ClientCredentials,
    ClientUpdate,
    DeadlineExceeded,
    Done,
    Failed,
    InMemoryTransport,
    InvalidRequest,
    NotAttempted,
    RateLimited,
    Request,
    Response,
    RetryPolicy,
    RingMe,
    Tenant,
    TokenError,
    UserBlocked,
)
from ringme_async.testing import FakeApplication, FakeRingMe, faults
from tests.scripted import ScriptedTransport, asked_for, never, refusal

pytestmark = pytest.mark.jumping

OMSK = ClientUpdate(timezone="Asia/Omsk")


def credentials(application: FakeApplication) -> ClientCredentials:
    return ClientCredentials(application.app_id, application.app_secret)


def with_own_applications(fake: FakeRingMe, number: int, **options: Any) -> list[Tenant]:
    applications = [fake.add_application(**options) for _ in range(number)]
    return [
        Tenant(auth=credentials(application), name=f"tenant {place}")
        for place, application in enumerate(applications)
    ]


def dealing(fake: FakeRingMe, **options: Any) -> RingMe:
    dealer = fake.add_dealer(**options)
    return RingMe(fake.base_url, auth=credentials(dealer), transport=InMemoryTransport(fake))


class TestReading:
    async def test_gives_an_outcome_for_each_element_in_input_order(self) -> None:
        fake = FakeRingMe()
        fake.add_tenants(100)
        fake.block(7)
        async with dealing(fake) as ringme:
            report = await ringme.clients.get_many([*range(1, 101), 999, "../../admin", 7])

        assert len(report) == 103
        assert [outcome.index for outcome in report] == list(range(103))
        assert report.counts == {
            "done": 99,
            "not_attempted": 0,
            "UserBlocked": 2,
            "ClientNotFound": 1,
            "InvalidRequest": 1,
        }
        assert [client.id for client in report.values()] == [n for n in range(1, 101) if n != 7]

    async def test_names_each_element_as_in_the_input(self) -> None:
        fake = FakeRingMe()
        fake.add_tenants(2)
        acme = Tenant(2, name="acme")
        async with dealing(fake) as ringme:
            report = await ringme.clients.get_many([1, "2", acme])

        assert [outcome.who for outcome in report] == [1, "2", acme]

    async def test_can_be_followed_as_it_goes(self) -> None:
        fake = FakeRingMe()
        fake.add_tenants(50)
        fake.block(5)
        seen: Counter[str] = Counter()
        async with (
            dealing(fake) as ringme,
            ringme.clients.get_many(range(1, 51), concurrency=8) as run,
        ):
            async for outcome in run:
                match outcome:
                    case Done(value=client):
                        assert isinstance(client, Client)
                        seen["done"] += 1
                    case Failed(error=error):
                        assert isinstance(error, UserBlocked)
                        seen["failed"] += 1
                    case NotAttempted():
                        seen["left"] += 1

        assert seen == {"done": 49, "failed": 1}
        assert (run.progress.done, run.progress.failed, run.progress.total) == (49, 1, 50)

    async def test_takes_an_async_iterable(self) -> None:
        async def ids() -> AsyncIterator[int]:
            for number in range(1, 11):
                await asyncio.sleep(1)
                yield number

        fake = FakeRingMe()
        fake.add_tenants(10)
        async with dealing(fake) as ringme:
            report = await ringme.clients.get_many(ids())

        assert len(report.values()) == 10

    async def test_refuses_an_argument_out_of_bounds_before_anything_is_sent(self) -> None:
        fake = FakeRingMe()
        async with dealing(fake) as ringme:
            with pytest.raises(InvalidRequest, match="concurrency"):
                ringme.clients.get_many([1], concurrency=0)

        assert fake.requests.total == 0

    async def test_ends_at_the_deadline_of_the_run_with_an_outcome_for_each_element(self) -> None:
        transport = ScriptedTransport([never])
        async with RingMe(
            "https://a.example", auth=BearerToken("t"), transport=transport
        ) as ringme:
            report = await ringme.clients.get_many(
                range(10), concurrency=2, deadline=5, timeout=100
            )

        assert asyncio.get_running_loop().time() == 5.0
        cut_short = [o for o in report if isinstance(o, Failed)]
        assert [type(outcome.error) for outcome in cut_short] == [DeadlineExceeded] * len(cut_short)
        assert len(cut_short) + report.counts["not_attempted"] == 10
        assert all(outcome.error.attempts == 1 for outcome in cut_short)

    async def test_starts_the_clock_of_a_call_when_it_gets_its_slot(self) -> None:
        fake = FakeRingMe(latency=4.0)
        fake.add_tenants(20)
        async with dealing(fake) as ringme:
            report = await ringme.clients.get_many(range(1, 21), concurrency=1, timeout=9)

        assert report.ok


class TestChanging:
    async def test_sends_each_client_its_own_change(self) -> None:
        fake = FakeRingMe()
        fake.add_tenants(3)
        changes = {1: OMSK, 2: ClientUpdate(hold_music=5), 3: ClientUpdate(geo_list="RU BY")}
        async with dealing(fake) as ringme:
            report = await ringme.clients.update_many(changes)

        assert report.ok
        fake.assert_updated(1, timezone="Asia/Omsk")
        fake.assert_updated(2, hold_music=5)
        fake.assert_updated(3, geo_list="RU BY")

    async def test_makes_the_changes_of_one_client_one_at_a_time_in_input_order(self) -> None:
        fake = FakeRingMe(one_write_at_a_time=True, latency=lambda random: random.random())
        fake.add_tenants(2)
        changes = [(1 + n % 2, ClientUpdate(hold_music=n)) for n in range(40)]
        async with dealing(fake) as ringme:
            report = await ringme.clients.update_many(changes)

        assert report.ok
        assert (fake.records[1]["hold_music"], fake.records[2]["hold_music"]) == (38, 39)
        fake.assert_quiet()

    @pytest.mark.parametrize("element", [5, (5,), (5, {"timezone": "x"}), (5, ClientUpdate())])
    async def test_fails_a_malformed_element_and_goes_on(self, element: Any) -> None:
        fake = FakeRingMe()
        fake.add_tenants(1)
        async with dealing(fake) as ringme:
            report = await ringme.clients.update_many([element, (1, OMSK)])

        assert report.counts == {"done": 1, "not_attempted": 0, "InvalidRequest": 1}


class TestConcurrency:
    async def test_auto_finds_the_concurrency(self) -> None:
        fake = FakeRingMe(latency=0.05)
        fake.add_tenants(1_500)
        levels: list[int] = []
        async with (
            dealing(fake) as ringme,
            ringme.clients.get_many(range(1, 1_501), concurrency="auto", max_concurrency=32) as run,
        ):
            async for outcome in run:
                assert outcome.ok
                levels.append(run.progress.concurrency)

        assert (levels[0], levels[-1]) == (8, 32)

    async def test_auto_finds_the_concurrency_of_changes_and_plans_too(self) -> None:
        fake = FakeRingMe()
        fake.add_tenants(40)
        async with dealing(fake) as ringme:
            report = await ringme.clients.update_many(
                dict.fromkeys(range(1, 41), OMSK), concurrency="auto"
            )
            plan = await ringme.clients.plan(
                dict.fromkeys(range(1, 41), ClientUpdate(hold_music=5)), concurrency="auto"
            )
            applied = await plan.apply(concurrency="auto", max_concurrency=4)

        assert len(report.values()) == len(applied.values()) == 40

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"concurrency": 8, "max_concurrency": 16}, "max_concurrency"),
            ({"max_concurrency": 16}, "max_concurrency"),
            ({"concurrency": "auto", "max_concurrency": 0}, "max_concurrency"),
            ({"concurrency": "car"}, "concurrency"),
        ],
    )
    async def test_out_of_range_is_refused(self, options: Any, told: str) -> None:
        async with dealing(FakeRingMe()) as ringme:
            with pytest.raises(InvalidRequest, match=told):
                ringme.clients.get_many([1], **options)


class TestQuotas:
    @pytest.mark.parametrize("ceiling", [100, 10])
    async def test_of_many_applications_are_used_to_the_last_request_and_never_passed(
        self, ceiling: int
    ) -> None:
        fake = FakeRingMe(quota_window=10.0, latency=lambda random: random.uniform(0.01, 0.1))
        tenants = with_own_applications(fake, 20, ceiling=ceiling)
        peak = 0
        async with (
            RingMe(fake.base_url, transport=InMemoryTransport(fake)) as ringme,
            ringme.clients.get_many(
                [tenant for tenant in tenants for _ in range(250)], concurrency=64
            ) as run,
        ):
            async for outcome in run:
                assert outcome.ok
                peak = max(peak, run.progress.in_flight)

        assert run.progress.done == 5_000
        fake.assert_quiet()
        first = [fake.books[tenant.auth.app_id].windows[0] for tenant in tenants]  # type: ignore[union-attr]
        assert [window.served for window in first] == [ceiling] * 20
        if ceiling == 100:
            assert peak >= 32

    async def test_that_are_used_up_delay_no_other_tenant(self) -> None:
        fake = FakeRingMe(latency=0.05)
        poor = with_own_applications(fake, 1, ceiling=5)[0]
        rich = with_own_applications(fake, 9)
        when: dict[str, float] = {}
        async with (
            RingMe(fake.base_url, transport=InMemoryTransport(fake)) as ringme,
            ringme.clients.get_many([poor] * 50 + rich * 20, concurrency=8) as run,
        ):
            async for outcome in run:
                assert isinstance(outcome.who, Tenant)
                when[str(outcome.who.name)] = asyncio.get_running_loop().time()
                if run.progress.done == 5 + 9 * 20:
                    break

        assert max(when.values()) < 60
        assert run.progress.parked > 0

    async def test_that_are_used_up_fail_when_asked_to(self) -> None:
        fake = FakeRingMe()
        tenant = with_own_applications(fake, 1, ceiling=5)[0]
        async with RingMe(fake.base_url, transport=InMemoryTransport(fake)) as ringme:
            report = await ringme.clients.get_many([tenant] * 8, on_quota="fail")

        assert report.counts == {"done": 5, "not_attempted": 0, "RateLimited": 3}
        assert all(isinstance(failure.error, RateLimited) for failure in report.failures)
        fake.assert_quiet()

    async def test_spent_by_another_application_park_refused_jobs(self) -> None:
        fake = FakeRingMe(quota_window=100.0)
        home = fake.add_tenant()
        ours = fake.add_application(tenant=home, ceiling=20)
        other = fake.add_application(tenant=home, ceiling=20)
        transport = InMemoryTransport(fake)
        async with (
            RingMe(fake.base_url, auth=credentials(ours), transport=transport) as ringme,
            RingMe(
                fake.base_url, auth=credentials(other), transport=InMemoryTransport(fake)
            ) as theirs,
        ):
            await ringme.clients.get("@me")
            await theirs.clients.get_many(["@me"] * 15)
            report = await ringme.clients.get_many(["@me"] * 15, concurrency=4)

        assert report.ok
        assert asyncio.get_running_loop().time() > 100


class TestCredentials:
    async def test_of_its_own_for_each_tenant_make_one_login_each_at_the_hosts_pace(self) -> None:
        fake = FakeRingMe(latency=0.05)
        tenants = with_own_applications(fake, 120)
        async with RingMe(fake.base_url, transport=InMemoryTransport(fake)) as ringme:
            report = await ringme.clients.get_many(tenants)

        assert report.ok
        assert fake.logins == 120
        fake.assert_quiet()

    async def test_that_are_bad_make_one_login_for_all_their_items(self) -> None:
        fake = FakeRingMe()
        tenant = with_own_applications(fake, 1)[0]
        bad = Tenant(auth=ClientCredentials(tenant.auth.app_id, "wr0ng"))  # type: ignore[union-attr]
        async with RingMe(fake.base_url, transport=InMemoryTransport(fake)) as ringme:
            report = await ringme.clients.get_many([bad] * 150)

        assert report.counts == {"done": 0, "not_attempted": 0, "TokenError": 150}
        assert all(isinstance(failure.error, TokenError) for failure in report.failures)
        assert fake.requests.total == 1

    async def test_whose_tokens_die_in_mid_run_cost_no_outcome(self) -> None:
        fake = FakeRingMe(latency=0.05)
        fake.add_tenants(500)
        async with (
            dealing(fake) as ringme,
            ringme.clients.get_many(range(1, 501), concurrency=16) as run,
        ):
            async for _ in run:
                if run.progress.done % 50 == 0:
                    fake.revoke_tokens()

        assert run.report.ok
        assert run.progress.done == 500

    @pytest.mark.parametrize("concurrency", [8, 64])
    async def test_that_go_bad_in_mid_run_fail_their_items_and_make_few_logins(
        self, concurrency: int
    ) -> None:
        fake = FakeRingMe(latency=0.01)
        fake.add_tenants(150)

        async def let_in_for_a_while(request: Request) -> Response:
            if "/oauth/" not in request.url and asyncio.get_running_loop().time() > 0.035:
                await asyncio.sleep(0.01)
                return refusal(401)
            return await fake(request)

        auth = credentials(fake.add_dealer())
        transport = InMemoryTransport(let_in_for_a_while)
        async with RingMe(fake.base_url, auth=auth, transport=transport) as ringme:
            report = await ringme.clients.get_many(range(1, 151), concurrency=concurrency)

        assert report.counts["done"] + report.counts["Unauthorized"] == 150
        assert report.counts["done"] > 0
        assert fake.logins < 75


async def test_a_run_under_random_faults_has_an_outcome_for_every_tenant() -> None:
    fake = FakeRingMe(latency=0.02)
    fake.add_tenants(2_000)
    fake.block(77)
    dealer = fake.add_dealer()
    fake.faults.random(seed=1, reset=0.02, stall=0.005, token_death=0.01)
    async with RingMe(
        fake.base_url,
        auth=credentials(dealer),
        transport=InMemoryTransport(fake),
        retry=RetryPolicy(attempts=8, random=Random(1).random),
    ) as ringme:
        report = await ringme.clients.get_many(range(1, 2_001), timeout=600)

    assert [failure.who for failure in report.failures] == [77]
    assert len(report.values()) == 1_999


async def test_one_stalled_tenant_does_not_hold_up_the_others() -> None:
    async def run(stalled: bool) -> float:
        fake = FakeRingMe(latency=0.1)
        tenants = with_own_applications(fake, 50)
        if stalled:
            fake.faults.next(faults.Stall(30), times=10_000, tenant=tenants_id(fake, tenants[0]))
        started = asyncio.get_running_loop().time()
        others = 0
        async with (
            RingMe(fake.base_url, transport=InMemoryTransport(fake)) as ringme,
            ringme.clients.get_many(tenants * 40) as bulk,
        ):
            async for outcome in bulk:
                others += outcome.who != tenants[0]
                if others == 49 * 40:
                    break
        return asyncio.get_running_loop().time() - started

    undisturbed = await run(stalled=False)
    disturbed = await run(stalled=True)

    assert disturbed <= undisturbed * 1.05


def tenants_id(fake: FakeRingMe, tenant: Tenant) -> int:
    return fake.application(tenant.auth.app_id).tenant.id  # type: ignore[union-attr]


async def test_scripted_records_can_be_read_in_bulk_with_a_fixed_token() -> None:
    transport = ScriptedTransport([asked_for])
    async with RingMe("https://a.example", auth=BearerToken("t"), transport=transport) as ringme:
        report = await ringme.clients.get_many([1, 2, 3], ordered=True)

    assert len(report.values()) == 3
