"""Tokens and quotas of the SDK against the stand-in: how many logins, how fast, and no refusals."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ringme_async import errors
from ringme_async.auth import Auth, ClientCredentials, PasswordCredentials, RefreshToken
from ringme_async.resources.clients.update import ClientUpdate
from ringme_async.tenant import Tenant
from ringme_async.transports import Request, Response
from ringme_async.transports.aiohttp import AiohttpTransport
from tests.leaping import HOUR, MINUTE, leap

from .checks import AUTH, Json, an_hour_later, assert_tells_no_secret, guarded, sdk, trouble
from .client import RunningStandIn


async def test_fifty_calls_with_a_cold_token_make_one_login() -> None:
    async with guarded({"login_latency": 0.2}) as server, sdk(server) as ringme:
        clients = await asyncio.gather(*(ringme.clients.get(who) for who in range(1, 51)))
        books = await server.books()

    assert [client.id for client in clients] == list(range(1, 51))
    assert books["logins"]["count"] == 1


async def test_fifty_calls_with_an_expired_token_make_one_more_login() -> None:
    async with guarded({"login_latency": 0.2}) as server, sdk(server) as ringme:
        await ringme.clients.get(1)
        await server.do("revoke_tokens")
        clients = await asyncio.gather(*(ringme.clients.get(who) for who in range(1, 51)))
        books = await server.books()

    assert len(clients) == 50
    assert books["logins"]["count"] == 2


async def test_constantly_expiring_tokens_cost_logins_and_no_value() -> None:
    config = {"token_uses": 10, "latency": [0.0, 0.02], "login_per_second": None}
    async with guarded(config) as server, sdk(server) as ringme:
        for part in range(0, 100, 5):
            got = await asyncio.gather(
                *(ringme.clients.get(who) for who in range(part + 1, part + 6))
            )
            assert [client.id for client in got] == list(range(part + 1, part + 6))
        books = await server.books()

    assert books["total"]["served"] == 100 + books["logins"]["count"]
    assert 10 <= books["logins"]["count"] <= 12


async def test_a_hundred_and_twenty_tenants_log_in_once_each_and_never_too_fast() -> None:
    config = {"own_applications": {"tenants": {"range": [1, 120]}}, "login_latency": 0.35}
    tenants = [
        Tenant(auth=ClientCredentials(f"app-{number}", f"secret-{number}"), name=f"t{number}")
        for number in range(1, 121)
    ]
    async with guarded(config) as server, sdk(server, None) as ringme:
        clients = await asyncio.gather(*(ringme.clients.get(tenant) for tenant in tenants))
        books = await server.books()

    assert [client.id for client in clients] == list(range(1, 121))
    logins = books["logins"]
    assert logins["outcomes"] == {"200": 120}
    assert logins["max_in_flight"] <= 6
    assert logins["max_in_a_second"] <= 20


class NotingLogins(AiohttpTransport):
    """Records when each login starts."""

    def __init__(self) -> None:
        super().__init__()
        self.logins: list[float] = []

    async def send(self, request: Request) -> Response:
        if request.url.endswith("/oauth/token"):
            self.logins.append(asyncio.get_running_loop().time())
        return await super().send(request)


async def test_instant_logins_are_spaced_too() -> None:
    tenants = [
        Tenant(auth=ClientCredentials(f"app-{number}", f"secret-{number}"))
        for number in range(1, 31)
    ]
    # Measured at the sender: a late server receives several logins at once.
    config: Json = {"own_applications": {"tenants": {}}, "login_per_second": None}
    transport = NotingLogins()
    async with guarded(config) as server:
        async with sdk(server, None, transport=transport) as ringme:
            await asyncio.gather(*(ringme.clients.get(tenant) for tenant in tenants))
        logins = (await server.books())["logins"]

    assert logins["outcomes"] == {"200": 30}
    assert len(transport.logins) == 30
    for first, twenty_on in zip(transport.logins, transport.logins[20:], strict=False):
        assert twenty_on - first >= 1.0


@pytest.mark.parametrize("status", [400, 401])
async def test_a_bad_secret_in_a_hundred_and_fifty_calls_makes_one_login(status: int) -> None:
    async with guarded({"wrong_secret_status": status, "login_latency": 0.1}) as server:
        async with sdk(server, ClientCredentials("dealer", "not-the-secret")) as ringme:
            calls = (ringme.clients.get(who) for who in range(1, 101))
            results: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
            for who in range(101, 151):
                with pytest.raises(errors.TokenError) as caught:
                    await ringme.clients.get(who)
                results.append(caught.value)
        books = await server.books()

    assert len(results) == 150
    assert len({id(error) for error in results}) == 150
    for error in results:
        assert isinstance(error, errors.TokenError)
        assert error.error == "invalid_client"
        assert_tells_no_secret(error, "not-the-secret")
    assert books["logins"]["outcomes"] == {f"{status} invalid_client": 1}
    assert books["total"]["received"] == 1


@pytest.mark.parametrize(
    "given",
    [
        {"expires_in": "missing"},
        {"expires_in": "string", "token_type": "bearer"},
        {"expires_in": 999_999_999_999, "token_type": "BEARER"},
        {"expires_in": 0},
        {"refresh_tokens": True},
    ],
)
async def test_every_form_of_a_token_answer_is_accepted(given: Json) -> None:
    async with guarded(given) as server, sdk(server) as ringme:
        for _ in range(3):
            assert (await ringme.clients.get(12)).id == 12


PEOPLE = {
    "app_id": "people",
    "secret": "hush-hush",
    "tenant": 7,
    "kind": "password",
    "users": {"ann": {"password": "pw-of-ann"}, "bob": {"password": "pw", "blocked": True}},
}
PUBLIC = {
    "app_id": "public",
    "secret": "hush-hush",
    "tenant": 8,
    "kind": "public",
    "refresh_token": "rf-first",
}


@pytest.mark.parametrize(
    ("auth", "own"),
    [
        (PasswordCredentials("people", "hush-hush", "ann", "pw-of-ann"), 7),
        (RefreshToken("public", "hush-hush", "rf-first"), 8),
    ],
    ids=["password", "refresh"],
)
async def test_users_and_public_applications_get_new_tokens_after_expiry(
    auth: Auth, own: int
) -> None:
    config = {"applications": [PEOPLE, PUBLIC], "refresh_tokens": True}
    async with guarded(config) as server, sdk(server, auth) as ringme:
        for _ in range(3):
            client = await ringme.clients.update("@me", ClientUpdate(hold_music=1))
            assert client.id == own
            await server.do("revoke_tokens")
        books = await server.books()

    assert books["logins"]["outcomes"] == {"200": 3}


async def test_a_wrong_password_and_a_blocked_user_are_told_apart() -> None:
    async with guarded({"applications": [PEOPLE]}) as server:
        wrong = PasswordCredentials("people", "hush-hush", "ann", "pw-of-eve")
        async with sdk(server, wrong) as ringme:
            with pytest.raises(errors.TokenError) as caught:
                await ringme.clients.get("@me")
        async with sdk(server, PasswordCredentials("people", "hush-hush", "bob", "pw")) as ringme:
            with pytest.raises(errors.UserBlocked):
                await ringme.clients.get("@me")

    assert caught.value.error == "invalid_grant"
    assert_tells_no_secret(caught.value, "pw-of-eve")


@pytest.mark.parametrize(
    "kind",
    [
        *("500", "503", "html", "empty", "busy", "reset_before", "reset_after", "close_after"),
        *("cut", "cut_head", "nonsense", "garble", "bad_crc", "half_json", "drip", "hangup"),
    ],
)
async def test_a_login_that_fails_once_is_retried(server: RunningStandIn, kind: str) -> None:
    await trouble(server, {"on": ["token"], "do": kind, "times": 2, "seconds": 0.1})
    async with sdk(server) as ringme:
        clients = await asyncio.gather(*(ringme.clients.get(who) for who in range(1, 11)))
    books = await server.books()

    assert len(clients) == 10
    assert books["logins"]["count"] == (1 if kind in {"drip", "hangup"} else 3)


@pytest.mark.parametrize("kind", ["503", "html", "reset_after", "garble", "stall", "bomb"])
async def test_a_login_that_always_fails_ends_each_call_in_one_error(
    server: RunningStandIn, kind: str
) -> None:
    await trouble(server, {"on": ["token"], "do": kind, "seconds": 120})
    async with asyncio.timeout(2 * MINUTE), sdk(server, timeout=MINUTE) as ringme:
        calls = [asyncio.create_task(ringme.clients.get(who)) for who in range(1, 11)]
        if kind == "stall":
            while not (await server.books())["logins"]["count"]:
                await asyncio.sleep(0)
            leap(MINUTE)
        results: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
    books = await server.books()

    for error in results:
        assert isinstance(error, errors.RingMeError)
        assert_tells_no_secret(error)
    assert books["logins"]["max_in_flight"] == 1
    assert books["logins"]["count"] <= 4


async def test_a_used_up_quota_is_an_error_without_another_request() -> None:
    async with guarded({"ceiling": 3}) as server, sdk(server) as ringme:
        for who in (1, 2, 3):
            await ringme.clients.get(who)
        for _ in range(5):
            with pytest.raises(errors.RateLimited) as caught:
                await ringme.clients.get(4)
            assert 3500 < caught.value.reset_after < 3610
        books = await server.books()

    assert books["total"]["refused"] == {}
    assert books["total"]["received"] == 1 + 3


async def test_a_quota_used_up_by_another_application_is_respected() -> None:
    other = {"app_id": "other", "secret": "hush-hush", "tenant": 1, "reach": {}}
    mine = {"app_id": "dealer", "secret": "hush-hush", "tenant": 1, "reach": {}, "ceiling": 4}
    async with guarded({"applications": [mine, other]}) as server:
        async with (
            sdk(server) as ringme,
            sdk(server, ClientCredentials("other", "hush-hush")) as neighbour,
        ):
            await ringme.clients.get(1)
            for who in (1, 2, 3, 4):
                await neighbour.clients.get(who)
            for _ in range(3):
                with pytest.raises(errors.RateLimited, match="used up"):
                    await ringme.clients.get(2)
        books = await server.books()

    assert books["total"]["refused"] == {"429 rate_limit_exceeded": 1}


async def test_waiting_for_the_quota_gives_every_value_and_meets_no_refusal() -> None:
    config = {"ceiling": 10, "token_lifetime": 10 * HOUR, "latency": [0.0, 0.05]}
    ids = set[int | None]()
    async with (
        guarded(config) as server,
        sdk(server, AUTH, on_quota="wait", timeout=10 * HOUR) as ringme,
    ):
        calls = [ringme.clients.get(who) for who in range(1, 26)]
        for call in asyncio.as_completed(calls):
            ids.add((await call).id)
            if not len(ids) % 10:
                await an_hour_later(server)
        books = await server.books()

    assert ids == set(range(1, 26))
    assert books["total"]["refused"] == {}
    assert [window["counted"] for window in books["windows"]] == [10, 10, 5]
