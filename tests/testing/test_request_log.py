"""The journal of a fake, and the assertions on it."""

from __future__ import annotations

import asyncio

import attrs
import pytest

from ringme_async.errors import TransportError
from ringme_async.testing import FakeRingMe, JournalEntry, faults
from ringme_async.transports.memory import InMemoryTransport
from tests.testing.reach import ROOT, Caller, said


@pytest.fixture
def token(fake: FakeRingMe) -> str:
    fake.add_tenants(3)
    return fake.issue_token(fake.add_dealer("dealer-app"))


async def test_an_entry_has_the_request_and_its_answer(call: Caller, token: str) -> None:
    await call.put(2, token, {"timezone": "Asia/Omsk", "dial_rule_id": 19})
    entry = call.fake.requests[-1]
    assert (entry.number, entry.method, entry.tenant, entry.app) == (1, "PUT", 2, "dealer-app")
    assert entry.path == f"{ROOT}/client/2/client/"
    assert f"//{entry.host}" in call.url
    assert (entry.status, entry.fault, entry.applied) == (200, None, True)
    assert entry.sent == {"timezone": "Asia/Omsk", "dial_rule_id": 19}
    assert entry.changed == ("timezone",)
    assert entry.at <= asyncio.get_running_loop().time()


async def test_no_secret_is_in_the_journal(call: Caller, token: str) -> None:
    fake = call.fake
    application = fake.add_application("app", "the-secret", kind="password_credentials")
    fake.add_user("ann", "the-password", application.tenant)
    form = {
        "grant_type": "password",
        "client_id": "app",
        "client_secret": "the-secret",
        "username": "ann",
        "password": "the-password",
        "refresh_token": "the-refresh",
    }
    given = said(await call.ask_token(form))["access_token"]
    await call.get("@me", given)
    await call("GET", "/oauth/authorize?code=the-code")
    told = repr([attrs.asdict(entry) for entry in fake.requests])
    for secret in ("the-secret", "the-password", "the-refresh", "the-code", given):
        assert secret not in told
    assert fake.requests[0].sent["client_id"] == "app"
    assert fake.requests[0].sent["username"] == "ann"
    assert fake.requests[1].headers["authorization"] == "***"
    assert fake.requests[1].headers["accept-encoding"] == "gzip"
    shown = repr((application, fake.user("ann")))
    assert "the-secret" not in shown
    assert "the-password" not in shown


async def test_a_query_is_kept_without_its_fragment(inside: Caller, token: str) -> None:
    await inside("GET", f"{ROOT}/client/1/client/?a=1&b=?#part", token=token)
    assert inside.fake.requests[-1].query == "a=1&b=?"
    assert inside.fake.requests[-1].path == f"{ROOT}/client/1/client/"


async def test_the_journal_selects_requests(inside: Caller, token: str) -> None:
    fake = inside.fake
    own = fake.add_application(tenant=2)
    await inside.log_in(own)
    for who in (1, 2, 3, 2):
        await inside.get(who, token)
    await inside.put(2, token, {"hold_music": "x"})
    assert len(fake.requests) == fake.requests.total == 6
    assert [entry.method for entry in fake.requests.of(2)] == ["POST", "GET", "GET", "PUT"]
    assert len(fake.requests.of(fake.tenant(1))) == 1
    assert len(fake.requests.of(own)) == 1
    assert len(fake.requests.where(path="/oauth")) == 1
    assert len(fake.requests.where(method="GET", status=200)) == 4
    assert fake.requests[-1].status == 400
    assert [entry.number for entry in fake.requests[1:3]] == [2, 3]
    assert repr(fake.requests) == "<Journal of 6 requests>"
    assert repr(fake.requests.of(1)) == "<Journal of 1 request>"
    assert str(fake.requests.of(1)) == f"2: GET {ROOT}/client/1/client/ for 1 -> 200"
    assert str(fake.requests.of(99)) == "nothing"


async def test_the_journal_forgets_the_oldest_and_keeps_exact_counts() -> None:
    fake = FakeRingMe(journal=2)
    caller = Caller(InMemoryTransport(fake), fake.base_url, fake)
    token = fake.issue_token(fake.add_application(ceiling=3))
    for _ in range(4):
        await caller.get("@me", token)
    assert [entry.number for entry in fake.requests] == [3, 4]
    assert fake.requests.total == 4
    assert fake.answers == {200: 3, 429: 1}
    assert sum(fake.per_second.values()) == 4


async def test_the_journal_can_be_off() -> None:
    fake = FakeRingMe(journal=0)
    caller = Caller(InMemoryTransport(fake), fake.base_url, fake)
    application = fake.add_application(ceiling=1)
    token = fake.issue_token(application)
    await caller.get("@me", token)
    assert not fake.requests
    assert fake.requests.total == 1
    with pytest.raises(RuntimeError, match="journal=0"):
        fake.assert_updated(application.tenant)
    fake.assert_quiet()
    await caller.get("@me", token)
    with pytest.raises(AssertionError, match="429"):
        fake.assert_quiet()


async def test_entries_share_their_headers(inside: Caller, token: str) -> None:
    for _ in range(2):
        await inside.get(1, token)
    first, second = inside.fake.requests
    assert first.headers is second.headers
    for number in range(300):
        await inside("GET", "/", x_number=str(number))
    assert inside.fake.requests[-1].headers["x-number"] == "299"


@pytest.mark.jumping
async def test_the_journal_has_times_of_the_loop_s_clock(inside: Caller, token: str) -> None:
    for _ in range(3):
        await inside.get(1, token)
        await asyncio.sleep(1800)
    await inside.get(1, token)
    assert [entry.at for entry in inside.fake.requests] == [0, 1800, 3600, 5400]
    assert inside.fake.per_second == {0: 1, 1800: 1, 3600: 1, 5400: 1}


@pytest.mark.jumping
async def test_the_journal_knows_the_most_requests_in_flight(inside: Caller, token: str) -> None:
    inside.fake.latency = 1
    await asyncio.gather(*(inside.get(1, token) for _ in range(5)))
    await inside.get(1, token)
    assert (inside.fake.in_flight, inside.fake.most_in_flight) == (0, 5)


async def test_an_update_is_checked_by_the_last_value_sent(call: Caller, token: str) -> None:
    fake = call.fake
    await call.put(1, token, {"timezone": "Asia/Omsk", "hold_music": 1})
    await call.put(1, token, {"hold_music": None})
    fake.assert_updated(1)
    fake.assert_updated(1, timezone="Asia/Omsk", hold_music=None)
    fake.assert_updated(fake.tenant(1), timezone="Asia/Omsk")
    fake.assert_not_updated(2)
    with pytest.raises(AssertionError, match="hold_music=1"):
        fake.assert_updated(1, hold_music=1)
    with pytest.raises(AssertionError, match="client 1 was updated; what was sent"):
        fake.assert_not_updated(1)


async def test_the_message_shows_what_was_sent_instead(inside: Caller, token: str) -> None:
    fake = inside.fake
    await inside.put(1, token, {"timezone": "Asia/Tomsk"})
    await inside.put(1, token, {"timezone": "Nowhere"})
    await inside.put(2, token, {"timezone": "Asia/Omsk"})
    with pytest.raises(AssertionError) as caught:
        fake.assert_updated(1, timezone="Asia/Omsk")
    assert str(caught.value).splitlines() == [
        "client 1 was not updated with timezone='Asia/Omsk'; what was sent:",
        f"  1: PUT {ROOT}/client/1/client/ for 1 {{'timezone': 'Asia/Tomsk'}} -> 200",
        f"  2: PUT {ROOT}/client/1/client/ for 1 {{'timezone': 'Nowhere'}} -> 400",
    ]
    with pytest.raises(AssertionError, match=r"client 3 was not updated; .*\n  nothing at all"):
        fake.assert_updated(3)


async def test_an_update_to_true_is_not_one_to_1(inside: Caller) -> None:
    fake = FakeRingMe(later_revision=True)
    caller = Caller(InMemoryTransport(fake), fake.base_url, fake)
    token = fake.issue_token(fake.add_application(tenant=fake.add_tenant(id=1)))
    await caller.put(1, token, {"call_interactive_out_call": True})
    with pytest.raises(AssertionError):
        fake.assert_updated(1, call_interactive_out_call=1)
    fake.assert_updated(1, call_interactive_out_call=True)


async def test_a_refused_change_is_not_an_update(inside: Caller, token: str) -> None:
    inside.fake.faults.next(faults.ServerError(503), on="PUT")
    await inside.put(1, token, {"hold_music": 1})
    inside.fake.assert_not_updated(1)


async def test_an_applied_change_with_a_lost_answer_is_an_update(
    inside: Caller, token: str
) -> None:
    inside.fake.faults.next(faults.ResetAfter(), on="PUT")
    with pytest.raises(TransportError):
        await inside.put(1, token, {"hold_music": 1})
    inside.fake.assert_updated(1, hold_music=1)


async def test_a_change_lost_before_the_server_is_not_an_update(inside: Caller, token: str) -> None:
    inside.fake.faults.next(faults.ResetBefore(), on="PUT")
    with pytest.raises(TransportError):
        await inside.put(1, token, {"hold_music": 1})
    with pytest.raises(AssertionError) as caught:
        inside.fake.assert_updated(1, hold_music=1)
    assert "not looked at, ResetBefore()" in str(caught.value)
    assert inside.fake.answers == {0: 1}


async def test_assert_quiet_fails_after_a_refusal(inside: Caller, token: str) -> None:
    fake = inside.fake
    await inside.get(1, token)
    fake.faults.next(faults.ServerError(503))
    await inside.get(1, token)
    fake.assert_quiet()
    await inside.get(99, token)
    with pytest.raises(AssertionError) as caught:
        fake.assert_quiet()
    assert str(caught.value).splitlines() == [
        "refused requests: 1, broken rules: 0",
        f"  3: GET {ROOT}/client/99/client/ for 99 -> 404",
    ]


async def test_assert_quiet_fails_after_a_broken_rule(inside: Caller, token: str) -> None:
    fake = inside.fake
    fake.require_gzip = False
    await inside("GET", f"{ROOT}/client/1/client/", token=token, accept_encoding="identity")
    (violation,) = fake.violations
    assert (violation.rule, violation.number) == ("gzip", 1)
    with pytest.raises(AssertionError, match="gzip, request 1: there was no Accept-Encoding"):
        fake.assert_quiet()


async def test_a_long_list_is_cut_short(inside: Caller) -> None:
    for _ in range(1_005):
        await inside("GET", "/", accept_encoding="identity")
    with pytest.raises(AssertionError) as caught:
        inside.fake.assert_quiet()
    lines = str(caught.value).splitlines()
    assert lines[0] == "refused requests: 1000, broken rules: 1000"
    assert lines[21] == "  ... and 980 more"
    assert len(lines) == 43


def test_an_entry_is_frozen() -> None:
    assert attrs.has(JournalEntry)
    entry = JournalEntry(1, 0.0, "GET", "h", "/", "", None, None, None, None, {}, (), {})
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        entry.number = 2  # type: ignore[misc]
