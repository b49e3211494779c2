"""The stand-in itself, checked with plain aiohttp."""

from __future__ import annotations

import asyncio

import pytest

from tests.leaping import MINUTE

from .config import BadConfig, Config
from .faults import FaultBox
from .plain import DEALER, Json, plain, until


async def test_both_paths_give_a_compressed_record_with_the_counter() -> None:
    async with plain({"applications": [{**DEALER, "ceiling": 100}]}) as wire:
        status, granted = await wire.login(client_id="dealer")
        token = granted["access_token"]

        one = await wire.call("12", token)
        other = await wire.call("12", token, form="client_info/{}")
        own = await wire.call("@me", token)
        books = await wire.server.books()

    assert (status, granted["token_type"], granted["expires_in"]) == (200, "Bearer", 3600)
    assert one[0] == other[0] == 200
    assert one[1] == other[1]
    assert len(one[1]) == 28
    assert one[2]["Content-Encoding"] == "gzip"
    assert [each[2]["X-RateLimit-Remaining"] for each in (one, other, own)] == ["99", "98", "97"]
    assert own[1]["id"] == 1
    assert books["tenants"]["12"]["served"] == 2
    assert books["violations"] == {}


async def test_a_change_sets_its_fields_and_null_clears() -> None:
    async with plain({"applications": [DEALER], "unwritable": ["timezone"]}) as wire:
        token = await wire.server.do("issue_token", app="dealer")

        first = await wire.call("3", token, body={"hold_music": 5, "geo_list": "RU BY"})
        second = await wire.call("3", token, body={"hold_music": None})
        refused = [
            (await wire.call("3", token, body=body))[:2]
            for body in (
                {"name": "mine"},
                {"disk_space_notify_threshold": 140},
                {"hold_music": True},
                {"geo_list": "Russia"},
                {"timezone": "Asia/Omsk"},
            )
        ]
        books = await wire.server.books()

    assert (first[1]["hold_music"], first[1]["geo_list"]) == (5, "RU BY")
    assert (second[1]["hold_music"], second[1]["geo_list"]) == (None, "RU BY")
    assert [status for status, _ in refused] == [400, 400, 400, 400, 403]
    assert "geo_list" in refused[3][1]["message"]
    assert [each["body"] for each in books["writes"]] == [
        {"hold_music": 5, "geo_list": "RU BY"},
        {"hold_music": None},
    ]


async def test_each_refusal_of_the_page_has_its_code_and_word() -> None:
    config = {
        "tenants": {"range": [1, 20]},
        "blocked": [5],
        "applications": [
            DEALER,
            {"app_id": "own", "secret": "hush-hush", "tenant": 2},
            {"app_id": "reader", "secret": "hush-hush", "tenant": 3, "access": "read"},
        ],
        "rules": [{"tenants": [6], "do": "user_access_type_deny"}, {"tenants": [7], "do": "busy"}],
    }
    async with plain(config) as wire:
        dealer, own, reader = [
            await wire.server.do("issue_token", app=app) for app in ("dealer", "own", "reader")
        ]
        answers = [
            await wire.call("12", "made-up"),
            await wire.call("5", dealer),
            await wire.call("12", own),
            await wire.call("3", reader, body={"hold_music": 1}),
            await wire.call("6", dealer),
            await wire.call("99", dealer),
            await wire.call("abc", dealer),
            await wire.call("7", dealer),
            await wire.call("12", dealer, form="{}/extension"),
        ]

    assert [(status, said.get("status")) for status, said, _ in answers] == [
        (401, None),
        (403, "user_blocked"),
        (403, "access_denied"),
        (403, "app_access_type_deny"),
        (403, "user_access_type_deny"),
        (404, "client_not_found"),
        (404, "client_not_found"),
        (429, None),
        (404, None),
    ]


async def test_one_counter_serves_all_applications_of_a_client_and_each_has_its_ceiling() -> None:
    applications = [
        {"app_id": f"a{number}", "secret": "hush-hush", "tenant": 1, "ceiling": ceiling}
        for number, ceiling in enumerate((100, 1000, 1000, 1000))
    ]
    async with plain({"applications": applications}) as wire:
        tokens = [await wire.server.do("issue_token", app=f"a{number}") for number in range(4)]
        for token, times in zip(tokens, (55, 5, 35, 5), strict=True):
            for _ in range(times):
                assert (await wire.call("@me", token))[0] == 200
        refused = await wire.call("@me", tokens[0])
        passed = await wire.call("@me", tokens[1])
        books = await wire.server.books()

    assert (refused[0], refused[1]["status"]) == (429, "rate_limit_exceeded")
    assert refused[2]["X-RateLimit-Remaining"] == "0"
    assert 3500 < int(refused[2]["X-RateLimit-Reset"]) < 3600
    assert passed[0] == 200
    assert passed[2]["X-RateLimit-Remaining"] == "899"
    (window,) = books["windows"]
    assert window["counted"] == 101
    assert window["refused"] == {"a0": 1}


async def test_logins_beyond_either_limit_are_refused_and_recorded() -> None:
    config = {"own_applications": {"tenants": {}}, "login_latency": MINUTE}
    async with plain(config) as wire:
        wire.session.connector._limit = 0  # type: ignore[union-attr]
        many = asyncio.gather(
            *(
                wire.login(client_id=f"app-{number}", client_secret=f"secret-{number}")
                for number in range(1, 11)
            )
        )
        await until(wire, lambda books: books["logins"]["max_in_flight"] == 10)
        await wire.server.do("let_pass", seconds=MINUTE)
        statuses = [status for status, _ in await many]
        at_once = await wire.server.books()
        await wire.server.do("reset_books")
        await wire.server.do("set_config", login_latency=0.0, login_at_once=None)
        await wire.server.do("stand_still")
        more = await asyncio.gather(
            *(
                wire.login(client_id=f"app-{number}", client_secret=f"secret-{number}")
                for number in range(1, 41)
            )
        )
        in_a_second = await wire.server.books()

    assert sorted(statuses) == [200] * 6 + [429] * 4
    assert at_once["logins"]["outcomes"] == {"200": 6, "429 too many at once": 4}
    assert at_once["logins"]["max_in_flight"] == 10
    assert sorted(status for status, _ in more) == [200] * 20 + [429] * 20
    assert in_a_second["logins"]["max_in_a_second"] == 40
    assert in_a_second["logins"]["outcomes"]["429 too many a second"] == 20


async def test_the_token_endpoint_checks_which_application_may_use_a_grant() -> None:
    config = {
        "applications": [
            DEALER,
            {
                "app_id": "people",
                "secret": "hush-hush",
                "tenant": 2,
                "kind": "password",
                "users": {"ann": {"password": "pw"}},
            },
            {
                "app_id": "public",
                "secret": "hush-hush",
                "tenant": 3,
                "kind": "public",
                "refresh_token": "r0",
            },
        ],
        "refresh_tokens": True,
        "expires_in": "string",
    }
    async with plain(config) as wire:
        ann = {"client_id": "people", "grant_type": "password", "username": "ann"}
        renew = {"client_id": "public", "grant_type": "refresh_token"}
        answers = [
            await wire.login(**ann, password="pw"),
            await wire.login(**ann, password="no"),
            await wire.login(client_id="people"),
            await wire.login(**renew, refresh_token="r0"),
            await wire.login(**renew, refresh_token="r0"),
            await wire.login(client_id="dealer", client_secret="no"),
            await wire.login(client_id="dealer", grant_type="magic"),
        ]
        again = await wire.login(**renew, refresh_token=answers[3][1]["refresh_token"])

    assert [(status, said.get("error")) for status, said in answers] == [
        (200, None),
        (400, "invalid_grant"),
        (400, "unauthorized_client"),
        (200, None),
        (400, "invalid_grant"),
        (401, "invalid_client"),
        (400, "unsupported_grant_type"),
    ]
    assert answers[0][1]["expires_in"] == "3600"
    assert again[0] == 200


async def test_a_token_ends_by_time_by_use_and_by_command() -> None:
    async with plain({"applications": [DEALER], "token_uses": 2}) as wire:
        worn = await wire.server.do("issue_token", app="dealer")
        uses = [(await wire.call("12", worn))[0] for _ in range(3)]
        late = await wire.server.do("issue_token", app="dealer", lifetime=0)
        revoked = await wire.server.do("issue_token", app="dealer")
        killed = await wire.server.do("revoke_tokens")
        dead = [(await wire.call("12", token))[0] for token in (late, revoked)]

    assert uses == [200, 200, 401]
    assert killed == 1
    assert dead == [401, 401]


async def test_broken_rules_of_a_client_are_recorded() -> None:
    async with plain({"applications": [DEALER]}) as wire:
        token = await wire.server.do("issue_token", app="dealer")
        url = f"{wire.server.base_url}/api/ver1.0/client/12/client/"
        bearer = ("Authorization", f"Bearer {token}")
        for headers, query in (
            ([bearer, ("Accept-Encoding", "identity")], ""),
            ([bearer, bearer], ""),
            ([bearer, ("Cookie", "a=b")], ""),
            ([bearer], "?access_token=x"),
        ):
            async with wire.session.get(url + query, headers=headers):
                pass
        async with wire.session.put(url, data=b"timezone=x", headers=[bearer]):
            pass
        async with wire.session.post(f"{wire.server.base_url}/oauth/token", json={}):
            pass
        async with wire.session.get(
            f"http://127.0.0.1:{wire.server.other_port}/", headers=[bearer]
        ):
            pass
        books = await wire.server.books()

    assert books["violations"] == {
        "no Accept-Encoding: gzip": 1,
        "two Authorization headers": 1,
        "a cookie": 1,
        "a credential in the query": 1,
        "wrong content type": 2,
    }
    assert books["other_host"]["requests"] == books["other_host"]["credentials"] == 1


async def test_a_dealer_can_have_a_hundred_thousand_tenants_of_a_later_revision() -> None:
    config = {
        "tenants": {"range": [1, 100_000]},
        "applications": [DEALER],
        "later_revision": True,
        "extension_len": "mixed",
        "absent": ["language"],
        "extra": {"colour": "blue"},
        "records": {"99999": {"timezone": "Asia/Omsk"}},
    }
    async with plain(config) as wire:
        token = await wire.server.do("issue_token", app="dealer")
        odd = (await wire.call("99999", token))[1]
        even = (await wire.call("100000", token))[1]
        none = (await wire.call("100001", token))[0]
        changed = await wire.call("100000", token, body={"call_interactive_timeout": 5})

    assert (odd["extension_len"], even["extension_len"]) == ("3", 3)
    assert (odd["timezone"], even["timezone"]) == ("Asia/Omsk", "Europe/Moscow")
    assert odd["call_interactive_method"] == "GET"
    assert odd["colour"] == "blue"
    assert "language" not in odd
    assert none == 404
    assert changed[1]["call_interactive_timeout"] == 5


async def test_writes_of_one_tenant_can_be_made_to_exclude_each_other() -> None:
    config = {"applications": [DEALER], "exclusive_writes": True, "latency": MINUTE}
    async with plain(config) as wire:
        token = await wire.server.do("issue_token", app="dealer")
        both = asyncio.gather(
            *(wire.call("12", token, body={"hold_music": number}) for number in (1, 2))
        )
        await until(wire, lambda books: books["total"]["in_flight"] == 2)
        await wire.server.do("let_pass", seconds=MINUTE)
        statuses = [status for status, _, _ in await both]
        await wire.server.do("set_config", latency=0.0)
        alone = await wire.call("12", token, body={"hold_music": 3})

    assert sorted(statuses) == [200, 429]
    assert alone[0] == 200


@pytest.mark.parametrize(
    "config",
    [{"tenant": 1}, {"rules": [{"do": "explode"}]}, {"faults": {"rates": {"oops": 1}}}],
)
def test_a_typo_in_the_configuration_is_an_error(config: Json) -> None:
    with pytest.raises((BadConfig, TypeError)):
        FaultBox((made := Config.of(config)).faults, made.rules)
