"""The API page, sentence by sentence, at the fake in both of its ways and at the stand-in."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest

from ringme_async.transports import Response
from tests.testing.reach import ROOT, limits, said
from tests.testing.servers import BLOCKED, FORM, SERVERS, Side, form_of
from tests.testing.test_records import EXAMPLE, WRITABLE

FORMS = ["/client/{}/client/", "/client/client_info/{}/"]
JSON_BODY = {"content-type": "application/json"}


@pytest.fixture(params=SERVERS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Side]:
    async with SERVERS[request.param]() as side:
        yield side


async def get(server: Side, who: object, name: str, form: str = FORMS[0]) -> Response:
    bearer = {"authorization": f"Bearer {await server.token(name)}"}
    return await server.send("GET", ROOT + form.format(who), bearer)


async def put(
    server: Side, who: object, name: str, fields: dict[str, Any], form: str = FORMS[0]
) -> Response:
    headers = {"authorization": f"Bearer {await server.token(name)}", **JSON_BODY}
    return await server.send("PUT", ROOT + form.format(who), headers, json.dumps(fields).encode())


async def log_in(server: Side, **form: str) -> Response:
    return await server.send("POST", "/oauth/token", FORM, urlencode(form).encode())


def assert_refused(answer: Response, code: int, word: str | None = None) -> None:
    assert answer.status == code
    assert said(answer)["message"]
    if word is not None:
        assert said(answer)["status"] == word


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("who", ["2", "@me"])
async def test_a_client_is_read_by_either_path(server: Side, who: str, form: str) -> None:
    record = said(await get(server, who, "two", form))
    assert record.keys() == EXAMPLE.keys()
    assert record["id"] == 2


@pytest.mark.parametrize("form", FORMS)
async def test_a_change_is_answered_with_the_whole_record(server: Side, form: str) -> None:
    before = said(await get(server, 2, "two"))
    answer = await put(server, 2, "two", WRITABLE, form)
    assert answer.status == 200
    assert said(answer) == {**before, **WRITABLE} == said(await get(server, 2, "two"))


async def test_omitted_fields_stay_and_null_clears(server: Side) -> None:
    await put(server, 2, "two", {"geo_list": "RU BY", "hold_music": 5})
    record = said(await put(server, 2, "two", {"hold_music": None}))
    assert (record["geo_list"], record["hold_music"]) == ("RU BY", None)


@pytest.mark.parametrize("field", sorted(EXAMPLE.keys() - WRITABLE.keys()))
async def test_read_only_fields_are_refused(server: Side, field: str) -> None:
    before = said(await get(server, 2, "two"))
    assert_refused(await put(server, 2, "two", {field: EXAMPLE[field]}), 400)
    assert said(await get(server, 2, "two")) == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"hold_music": "x"},
        {"disk_space_notify_threshold": 101},
        {"geo_list": "Russia"},
        {"timezone": "Mars/Olympus"},
        {"disk_space_notify_email": "nobody"},
    ],
    ids=str,
)
async def test_a_wrong_value_is_refused_and_nothing_is_changed(
    server: Side, wrong: dict[str, Any]
) -> None:
    assert_refused(await put(server, 2, "two", {"dial_rule_id": 77, **wrong}), 400)
    assert said(await get(server, 2, "two"))["dial_rule_id"] == EXAMPLE["dial_rule_id"]


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer nonsense"}], ids=str)
async def test_a_request_without_a_token_gets_no_record(
    server: Side, headers: dict[str, str]
) -> None:
    assert_refused(await server.send("GET", ROOT + FORMS[0].format(2), headers), 401)


async def test_a_token_can_be_revoked_early_and_replaced(server: Side) -> None:
    await get(server, 2, "two")
    await server.revoke("two")
    assert_refused(await get(server, 2, "two"), 401)
    server.tokens.clear()
    assert (await get(server, 2, "two")).status == 200


async def test_an_unknown_client_and_path_are_not_found(server: Side) -> None:
    assert_refused(await get(server, 7, "dealer"), 404, "client_not_found")
    assert_refused(await get(server, 2, "dealer", "/clients/{}/"), 404)


async def test_an_application_reaches_its_own_client_and_a_dealer_s_reaches_all(
    server: Side,
) -> None:
    assert_refused(await get(server, 1, "two"), 403, "access_denied")
    assert said(await get(server, 1, "dealer"))["id"] == 1


async def test_blocked_clients_are_refused(server: Side) -> None:
    assert_refused(await get(server, "@me", "blocked"), 403, "user_blocked")
    assert_refused(await get(server, BLOCKED, "dealer"), 403, "user_blocked")
    assert_refused(await get(server, "@me", "cid"), 403, "user_blocked")


async def test_an_access_level_for_reading_cannot_write(server: Side) -> None:
    for name, word in (("read", "app_access_type_deny"), ("bob", "user_access_type_deny")):
        assert (await get(server, "@me", name)).status == 200
        assert_refused(await put(server, "@me", name, {"hold_music": 1}), 403, word)


async def test_an_access_level_of_none_cannot_read(server: Side) -> None:
    assert_refused(await get(server, "@me", "none"), 403, "app_access_type_deny")


async def test_one_counter_is_shared_and_each_application_has_its_ceiling(server: Side) -> None:
    """Client 1 has two applications, with the ceilings 3 and 8."""
    told = [limits(await get(server, "@me", "low"))[:2] for _ in range(2)]
    told += [limits(await get(server, "@me", "own"))[:2]]
    assert told == [(3, 2), (3, 1), (8, 5)]
    refused = await get(server, "@me", "low")
    assert_refused(refused, 429, "rate_limit_exceeded")
    limit, remaining, reset = limits(refused)
    assert (limit, remaining) == (3, 0)
    assert 3500 < reset <= 3600
    assert [(await get(server, "@me", "own")).status for _ in range(6)] == [200] * 5 + [429]
    assert (await get(server, "@me", "two")).status == 200


async def test_gzip_is_mandatory(server: Side) -> None:
    bearer = {"authorization": f"Bearer {await server.token('two')}"}
    answer = await server.send(
        "GET", ROOT + FORMS[0].format(2), {**bearer, "accept-encoding": "identity"}
    )
    assert_refused(answer, 406)


@pytest.mark.parametrize("name", ["two", "ann"])
async def test_a_login_gives_a_bearer_token(server: Side, name: str) -> None:
    answer = await log_in(server, **form_of(name))
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    told = said(answer)
    assert told["access_token"]
    assert (told["token_type"].lower(), told["expires_in"]) == ("bearer", 3600)


@pytest.mark.parametrize(
    ("name", "wrong", "error"),
    [
        ("two", {"client_secret": "no"}, "invalid_client"),
        ("two", {"client_id": "no"}, "invalid_client"),
        ("two", {"grant_type": "no"}, "unsupported_grant_type"),
        ("two", {"grant_type": "password"}, "unauthorized_client"),
        ("ann", {"password": "no"}, "invalid_grant"),
        ("ann", {"username": "no"}, "invalid_grant"),
    ],
)
async def test_a_wrong_login_is_an_oauth_error(
    server: Side, name: str, wrong: dict[str, str], error: str
) -> None:
    answer = await log_in(server, **{**form_of(name), **wrong})
    assert answer.status in {400, 401}
    assert said(answer)["error"] == error
    assert said(answer)["error_description"]
