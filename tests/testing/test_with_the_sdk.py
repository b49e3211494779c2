"""The SDK on the fake, as in a user's tests."""

from __future__ import annotations

import asyncio

import pytest

from ringme_async import (
    BearerToken,
    ClientCredentials,
    ClientUpdate,
    InMemoryTransport,
    PasswordCredentials,
    RateLimited,
    RefreshToken,
    RingMe,
    Tenant,
    UserBlocked,
)
from ringme_async.testing import FakeRingMe, faults


async def test_a_client_is_read_and_changed_in_memory(fake: FakeRingMe) -> None:
    fake.add_tenant(id=12)
    application = fake.add_application(tenant=12)
    auth = ClientCredentials(application.app_id, application.app_secret)
    async with RingMe(fake.base_url, auth=auth, transport=InMemoryTransport(fake)) as ringme:
        me = await ringme.clients.get("@me")
        assert me.timezone == "Europe/Moscow"
        me = await ringme.clients.update("@me", ClientUpdate(timezone="Asia/Omsk"))
    assert me.timezone == "Asia/Omsk"
    fake.assert_updated(12, timezone="Asia/Omsk")
    fake.assert_quiet()
    assert fake.logins == 1


async def test_a_client_is_read_and_changed_over_a_socket(fake: FakeRingMe) -> None:
    fake.add_tenant(id=12)
    application = fake.add_application(tenant=12)
    auth = ClientCredentials(application.app_id, application.app_secret)
    async with fake.serve() as url, RingMe(url, auth=auth) as ringme:
        await ringme.clients.update("@me", ClientUpdate(hold_music=None, geo_list="RU BY"))
        assert str((await ringme.clients.get(12)).geo_list) == "RU BY"
    fake.assert_updated(12, hold_music=None, geo_list="RU BY")
    fake.assert_quiet()


async def test_every_kind_of_credentials_logs_in(fake: FakeRingMe) -> None:
    fake.add_tenant(id=12)
    trusted = fake.add_application(tenant=12)
    with_user = fake.add_application(kind="password_credentials", tenant=12)
    public = fake.add_application(kind="public", tenant=12)
    fake.add_user("ann", "pass", 12)
    for auth in (
        BearerToken(fake.issue_token(trusted)),
        ClientCredentials(trusted.app_id, trusted.app_secret),
        PasswordCredentials(with_user.app_id, with_user.app_secret, "ann", "pass"),
        RefreshToken(public.app_id, public.app_secret, fake.issue_refresh_token(public)),
    ):
        async with RingMe(fake.base_url, auth=auth, transport=InMemoryTransport(fake)) as ringme:
            assert (await ringme.clients.get("@me")).id == 12
    fake.assert_quiet()


@pytest.mark.jumping
async def test_a_dealer_s_run_takes_as_many_hours_as_its_ceiling_requires(
    fake: FakeRingMe,
) -> None:
    fake.add_tenants(100)
    fake.latency = lambda random: random.uniform(0.01, 0.2)
    dealer = fake.add_dealer(ceiling=30)
    auth = ClientCredentials(dealer.app_id, dealer.app_secret)
    async with RingMe(fake.base_url, auth=auth, transport=InMemoryTransport(fake)) as ringme:
        report = await ringme.clients.get_many(range(1, 101), concurrency=16)
    assert [client.id for client in report.values()] == list(range(1, 101))
    assert [page.served for page in fake.books[dealer.app_id].windows] == [30, 30, 30, 10]
    fake.assert_quiet()
    assert 3 * 3600 < asyncio.get_running_loop().time() < 3 * 3600 + 60


@pytest.mark.jumping
async def test_tenants_with_their_own_applications_keep_the_login_limits(
    fake: FakeRingMe,
) -> None:
    fake.latency = lambda random: random.uniform(0.05, 0.5)
    tenants = [
        Tenant(auth=ClientCredentials(each.app_id, each.app_secret), name=str(each.tenant.id))
        for each in (fake.add_application() for _ in range(60))
    ]
    async with RingMe(fake.base_url, transport=InMemoryTransport(fake)) as ringme:
        report = await ringme.clients.get_many(tenants, concurrency=32)
    assert len(report.values()) == 60
    assert fake.logins == 60
    assert fake.most_logins_in_flight <= 6
    assert fake.most_logins_per_second <= 20
    fake.assert_quiet()


@pytest.mark.jumping
async def test_a_run_survives_faults_and_the_fake_counts_them(fake: FakeRingMe) -> None:
    fake.add_tenants(200)
    fake.block(13)
    fake.faults.random(seed=7, reset=0.02, html=0.01, busy=0.01, stall=0.01, token_death=0.01)
    dealer = fake.add_dealer()
    auth = ClientCredentials(dealer.app_id, dealer.app_secret)
    async with RingMe(fake.base_url, auth=auth, transport=InMemoryTransport(fake)) as ringme:
        report = await ringme.clients.get_many(range(1, 201), concurrency=16)
    assert [outcome.who for outcome in report.failures] == [13]
    assert isinstance(report.failures[0].error, UserBlocked)
    assert sum(fake.faults.struck.values()) > 5
    assert fake.in_flight == 0


@pytest.mark.jumping
async def test_a_limit_used_up_by_another_application_is_an_error(fake: FakeRingMe) -> None:
    application = fake.add_application(ceiling=10)
    fake.spend(application.tenant, 10)
    auth = ClientCredentials(application.app_id, application.app_secret)
    async with RingMe(fake.base_url, auth=auth, transport=InMemoryTransport(fake)) as ringme:
        with pytest.raises(RateLimited) as caught:
            await ringme.clients.get("@me")
    assert caught.value.reset_after == 3600


async def test_a_write_with_a_lost_answer_is_sent_once_more(fake: FakeRingMe) -> None:
    fake.add_tenant(id=12)
    token = fake.issue_token(fake.add_application(tenant=12))
    fake.faults.next(faults.ResetAfter(), on="PUT", tenant=12)
    transport = InMemoryTransport(fake)
    async with RingMe(fake.base_url, auth=BearerToken(token), transport=transport) as ringme:
        await ringme.clients.update(12, ClientUpdate(timezone="Asia/Omsk"))
    assert [entry.changed for entry in fake.requests.of(12)] == [("timezone",), ()]
