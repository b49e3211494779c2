"""The API page, section 3: gzip, the hourly counter and the two kinds of 429."""

from __future__ import annotations

import asyncio

import pytest

from ringme_async.testing import FakeApplication, FakeRingMe
from ringme_async.transports.memory import InMemoryTransport
from tests.testing.reach import ROOT, Caller, limits, said


def in_memory(fake: FakeRingMe) -> Caller:
    return Caller(InMemoryTransport(fake), fake.base_url, fake)


async def spend(call: Caller, application: FakeApplication, times: int) -> list[int]:
    token = call.fake.issue_token(application)
    return [(await call.get("@me", token)).status for _ in range(times)]


async def test_the_page_s_example_of_four_ceilings_on_one_counter(call: Caller) -> None:
    fake = call.fake
    fake.add_tenant(id=12)
    first, *others = (
        fake.add_application(tenant=12, ceiling=ceiling) for ceiling in (100, 1000, 1000, 1000)
    )
    for application, times in zip([first, *others], [55, 5, 35, 5], strict=True):
        assert await spend(call, application, times) == [200] * times
    assert await spend(call, first, 2) == [429, 429]
    assert await spend(call, others[0], 900) == [200] * 900
    for application in others:
        assert await spend(call, application, 1) == [429]
    assert fake.books[first.app_id].served == 55
    assert fake.books[first.app_id].refused == 2
    assert fake.books[others[0].app_id].served == 905


async def test_every_answer_of_the_api_carries_the_three_headers(call: Caller) -> None:
    fake = call.fake
    fake.add_tenant(id=12)
    token = fake.issue_token(fake.add_application(tenant=12, ceiling=9))
    assert limits(await call.get(12, token))[:2] == (9, 8)
    assert limits(await call.put(12, token, {"hold_music": 1}))[:2] == (9, 7)
    assert limits(await call.put(12, token, {"hold_music": "1"}))[:2] == (9, 6)
    assert limits(await call.get(999, token))[:2] == (9, 5)
    assert limits(await call("GET", f"{ROOT}/nothing/", token=token))[:2] == (9, 4)
    assert limits(await call("DELETE", f"{ROOT}/client/12/client/", token=token))[:2] == (9, 3)
    fake.revoke_tokens()
    assert limits(await call.get(12, token))[:2] == (9, 3)
    assert limits(await call.get(12, None)) == (10_000, 10_000, 3600)


async def test_a_request_over_the_limit_is_429_with_its_status(call: Caller) -> None:
    fake = call.fake
    token = fake.issue_token(fake.add_application(ceiling=1))
    await call.get("@me", token)
    answer = await call.get("@me", token)
    assert answer.status == 429
    assert said(answer)["status"] == "rate_limit_exceeded"
    limit, remaining, reset = limits(answer)
    assert (limit, remaining) == (1, 0)
    assert 3000 < reset <= 3600
    assert [one.rule for one in fake.violations] == ["hourly_limit"]


@pytest.mark.jumping
async def test_a_window_begins_with_its_first_request_and_resets_at_its_end() -> None:
    fake = FakeRingMe(quota_window=100)
    call = in_memory(fake)
    application = fake.add_application(ceiling=2)
    token = fake.issue_token(application)
    await asyncio.sleep(50)
    assert limits(await call.get("@me", token)) == (2, 1, 100)
    await asyncio.sleep(60.5)
    assert limits(await call.get("@me", token)) == (2, 0, 40)
    refused = await call.get("@me", token)
    assert (refused.status, limits(refused)) == (429, (2, 0, 40))
    await asyncio.sleep(39)
    assert limits(await call.get("@me", token)) == (2, 0, 1)
    await asyncio.sleep(1)
    assert limits(await call.get("@me", token)) == (2, 1, 100)
    windows = fake.books[application.app_id].windows
    assert [(one.started, one.served, one.refused) for one in windows] == [
        (50, 2, 2),
        (150.5, 1, 0),
    ]


@pytest.mark.jumping
async def test_the_length_of_a_window_can_be_changed(inside: Caller) -> None:
    fake = inside.fake
    fake.quota_window = 10
    assert fake.quota_window == 10
    token = fake.issue_token(fake.add_application())
    assert limits(await inside.get("@me", token))[2] == 10


@pytest.mark.jumping
async def test_an_uncounted_request_shows_the_whole_next_window(inside: Caller) -> None:
    token = inside.fake.issue_token(inside.fake.add_application(ceiling=5), lifetime=10)
    await inside.get("@me", token)
    await asyncio.sleep(4000)
    expired = await inside.get("@me", token)
    assert (expired.status, limits(expired)) == (401, (5, 5, 3600))


async def test_a_used_up_limit_does_not_affect_other_clients(call: Caller) -> None:
    fake = call.fake
    one, two = (fake.add_application(ceiling=1) for _ in range(2))
    assert await spend(call, one, 2) == [200, 429]
    assert await spend(call, two, 1) == [200]


async def test_a_dealer_has_its_own_counter(call: Caller) -> None:
    fake = call.fake
    fake.add_tenants(3)
    own = fake.add_application(tenant=1, ceiling=1)
    dealer = fake.add_dealer(ceiling=3)
    token = fake.issue_token(dealer)
    codes = [(await call.get(who, token)).status for who in (1, 2, 3, 1)]
    assert codes == [200, 200, 200, 429]
    assert await spend(call, own, 1) == [200]


async def test_logins_do_not_count(call: Caller) -> None:
    application = call.fake.add_application(ceiling=1)
    answer = await call.log_in(application)
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
    assert (await call.get("@me", said(answer)["access_token"])).status == 200


@pytest.mark.jumping
async def test_requests_of_another_application_can_be_counted(inside: Caller) -> None:
    fake = inside.fake
    application = fake.add_application(ceiling=10)
    fake.spend(application.tenant, 8)
    token = fake.issue_token(application)
    assert limits(await inside.get("@me", token))[1] == 1
    fake.spend(application.tenant.id, 100)
    refused = await inside.get("@me", token)
    assert (refused.status, limits(refused)[1]) == (429, 0)


async def test_the_request_counts_omit_silent_applications(inside: Caller) -> None:
    fake = inside.fake
    silent, busy = (fake.add_application() for _ in range(2))
    await spend(inside, busy, 2)
    assert list(fake.books) == [busy.app_id]
    assert len(fake.books) == 1
    assert silent.app_id not in fake.books
    assert fake.books.of(silent).served == 0


@pytest.mark.jumping
async def test_the_request_counts_keep_a_thousand_windows(inside: Caller) -> None:
    fake = inside.fake
    fake.quota_window = 1
    application = fake.add_application()
    token = fake.issue_token(application, lifetime=10_000)
    for _ in range(1_003):
        await inside.get("@me", token)
        await asyncio.sleep(1)
    book = fake.books[application.app_id]
    assert (book.served, len(book.windows), book.windows[0].started) == (1_003, 1_000, 3)


@pytest.mark.parametrize(
    "wish", [None, "", "identity", "deflate, br", "gzip;q=0", "gzip; q=0.000", "*", "xgzip"]
)
@pytest.mark.parametrize("path", [f"{ROOT}/client/@me/client/", "/oauth/token", "/elsewhere"])
async def test_gzip_is_mandatory_on_every_request(
    inside: Caller, wish: str | None, path: str
) -> None:
    answer = await Caller(_Bare(inside.fake), inside.url, inside.fake)(
        "GET", path, accept_encoding=wish
    )
    assert answer.status == 406
    assert said(answer)["message"]
    assert [one.rule for one in inside.fake.violations] == ["gzip"]


@pytest.mark.parametrize("wish", ["gzip", "GZIP", "deflate, gzip;q=0.5", "gzip;q=1.0, *;q=0"])
async def test_gzip_can_be_accepted_in_many_spellings(call: Caller, wish: str) -> None:
    token = call.fake.issue_token(call.fake.add_application())
    answer = await call("GET", f"{ROOT}/client/@me/client/", token=token, accept_encoding=wish)
    assert answer.status == 200
    assert not call.fake.violations


async def test_missing_gzip_can_be_recorded_without_a_refusal(inside: Caller) -> None:
    fake = inside.fake
    fake.require_gzip = False
    assert not fake.require_gzip
    token = fake.issue_token(fake.add_application())
    caller = Caller(_Bare(fake), inside.url, fake)
    answer = await caller("GET", f"{ROOT}/client/@me/client/", token=token, accept_encoding=None)
    assert answer.status == 200
    assert [one.rule for one in fake.violations] == ["gzip"]


@pytest.mark.jumping
async def test_concurrent_writes_to_one_client_can_be_refused() -> None:
    fake = FakeRingMe(one_write_at_a_time=True, latency=1.0)
    fake.add_tenants(2)
    call = in_memory(fake)
    application = fake.add_dealer(ceiling=10)
    token = fake.issue_token(application)
    both = await asyncio.gather(
        call.put(1, token, {"hold_music": 1}),
        call.put(1, token, {"hold_music": 2}),
        call.put(2, token, {"hold_music": 3}),
        call.get(1, token),
    )
    assert [answer.status for answer in both] == [200, 429, 200, 200]
    assert said(both[1]).keys() == {"message"}
    assert "x-ratelimit-reset" not in both[1].headers
    assert fake.records[1]["hold_music"] == 1
    assert fake.books[application.app_id].served == 3
    assert (await call.put(1, token, {"hold_music": 2})).status == 200


class _Bare:
    """Adds nothing to a request, as a transport would."""

    def __init__(self, fake: FakeRingMe) -> None:
        self.send = fake.__call__

    async def aclose(self) -> None:
        pass
