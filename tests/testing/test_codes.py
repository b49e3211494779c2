"""The API page, section 4: codes."""

from __future__ import annotations

import pytest

from ringme_async.testing import FakeRingMe
from ringme_async.transports import Response
from tests.testing.reach import ROOT, Caller, said


def word(answer: Response) -> tuple[int, str | None]:
    assert said(answer)["message"]
    return answer.status, said(answer).get("status")


async def test_a_missing_token_is_401_with_a_challenge(call: Caller) -> None:
    answer = await call.get("@me", None)
    assert word(answer) == (401, None)
    assert answer.headers["www-authenticate"] == 'Bearer realm="ringme"'


@pytest.mark.parametrize("header", ["Bearer no", "Bearer ", "Basic YTpi", "no"])
async def test_a_wrong_token_is_401_with_invalid_token(call: Caller, header: str) -> None:
    answer = await call("GET", f"{ROOT}/client/@me/client/", authorization=header)
    assert word(answer) == (401, None)
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_bearer_may_have_any_letter_case(call: Caller) -> None:
    token = call.fake.issue_token(call.fake.add_application())
    path = f"{ROOT}/client/@me/client/"
    assert (await call("GET", path, authorization=f"bEARER {token}")).status == 200


async def test_another_client_is_denied_and_a_missing_one_is_not_found(call: Caller) -> None:
    fake = call.fake
    fake.add_tenants(2)
    token = fake.issue_token(fake.add_application(tenant=1))
    assert word(await call.get(2, token)) == (403, "access_denied")
    assert word(await call.get(3, token)) == (404, "client_not_found")


async def test_a_dealer_reaches_its_tenants_alone(call: Caller) -> None:
    fake = call.fake
    fake.add_tenants(3)
    some = fake.issue_token(fake.add_dealer(tenants=[1, fake.tenant(2)]))
    every = fake.issue_token(fake.add_dealer())
    assert [(await call.get(who, some)).status for who in (1, 2, 3)] == [200, 200, 403]
    assert [(await call.get(who, every)).status for who in (1, 2, 3)] == [200, 200, 200]
    assert said(await call.get("@me", every))["name"] == "dealer"
    fake.add_tenant(id=4)
    assert (await call.get(4, every)).status == 200


async def test_a_blocked_client_is_403_for_itself_and_for_its_dealer(call: Caller) -> None:
    fake = call.fake
    fake.add_tenants(2)
    own = fake.issue_token(fake.add_application(tenant=1))
    dealer = fake.issue_token(fake.add_dealer())
    fake.block(1)
    assert word(await call.get(1, own)) == (403, "user_blocked")
    assert word(await call.get(2, own)) == (403, "user_blocked")
    assert word(await call.get(1, dealer)) == (403, "user_blocked")
    assert (await call.get(2, dealer)).status == 200
    fake.block(fake.tenant(1), blocked=False)
    assert (await call.get(1, own)).status == 200


async def test_a_blocked_user_is_403(call: Caller) -> None:
    fake = call.fake
    application = fake.add_application(kind="password_credentials")
    user = fake.add_user("ann", "pass", application.tenant, blocked=True)
    token = fake.issue_token(application, user="ann")
    assert word(await call.get("@me", token)) == (403, "user_blocked")
    fake.block("ann", blocked=False)
    assert (await call.get("@me", token)).status == 200
    fake.block(user)
    assert fake.user("ann").blocked


async def test_a_user_of_a_blocked_client_is_403(inside: Caller) -> None:
    fake = inside.fake
    theirs = fake.add_tenant(blocked=True)
    application = fake.add_application(kind="password_credentials")
    user = fake.add_user("ann", "pass", theirs)
    token = fake.issue_token(application, user=user)
    assert word(await inside.get("@me", token)) == (403, "user_blocked")


@pytest.mark.parametrize(("access", "codes"), [("full", [200, 200]), ("read", [200, 403])])
async def test_the_application_s_access_level_may_be_too_low(
    call: Caller, access: str, codes: list[int]
) -> None:
    application = call.fake.add_application(access=access)  # type: ignore[arg-type]
    token = call.fake.issue_token(application)
    answers = [await call.get("@me", token), await call.put("@me", token, {})]
    assert [answer.status for answer in answers] == codes
    application.access = "none"
    assert word(await call.get("@me", token)) == (403, "app_access_type_deny")


@pytest.mark.parametrize(("access", "codes"), [("full", [200, 200]), ("read", [200, 403])])
async def test_the_user_s_access_level_may_be_too_low(
    call: Caller, access: str, codes: list[int]
) -> None:
    fake = call.fake
    application = fake.add_application(kind="password_credentials")
    user = fake.add_user("ann", "p", application.tenant, access=access)  # type: ignore[arg-type]
    token = fake.issue_token(application, user=user)
    answers = [await call.get("@me", token), await call.put("@me", token, {})]
    assert [answer.status for answer in answers] == codes
    user.access = "none"
    assert word(await call.get("@me", token)) == (403, "user_access_type_deny")


async def test_an_added_resource_has_the_same_tokens_and_limits(
    call: Caller,
) -> None:
    fake = call.fake
    fake.add_tenants(2)
    application = fake.add_application(tenant=1, ceiling=4)
    token = fake.issue_token(application)
    path = "/client/{client_id}/extension/"
    fake.add_resource("GET", path, [{"id": 1, "name": "000*101"}])
    fake.add_resource("POST", path, lambda request: {"id": len(request.body)}, status=201)
    fake.add_resource("DELETE", "/extension/{number}/", None, status=204)
    fake.add_resource("PUT", path, lambda request: Response(418, body=b"tea"))
    assert (await call("GET", f"{ROOT}/client/1/extension/")).status == 401
    denied = await call("GET", f"{ROOT}/client/2/extension/", token=token)
    assert word(denied) == (403, "access_denied")
    listed = await call("GET", f"{ROOT}/client/@me/extension/", token=token)
    assert said(listed) == [{"id": 1, "name": "000*101"}]
    made = await call("POST", f"{ROOT}/client/1/extension/", token=token, body=b"[1]")
    assert (made.status, said(made)) == (201, {"id": 3})
    gone = await call("DELETE", f"{ROOT}/extension/000*101/", token=token)
    assert (gone.status, gone.body) == (204, b"")
    used_up = await call("PUT", f"{ROOT}/client/1/extension/", token=token)
    assert word(used_up) == (429, "rate_limit_exceeded")
    application.ceiling = 10
    tea = await call("PUT", f"{ROOT}/client/1/extension/", token=token)
    assert (tea.status, tea.body) == (418, b"tea")
    assert tea.headers["x-ratelimit-remaining"] == "5"


async def test_a_resource_that_raises_leaves_nothing_in_flight(inside: Caller) -> None:
    def broken(_request: object) -> None:
        raise ZeroDivisionError

    fake = inside.fake
    fake.add_resource("GET", "/broken/", broken)
    token = fake.issue_token(fake.add_application())
    with pytest.raises(ZeroDivisionError):
        await inside("GET", f"{ROOT}/broken/", token=token)
    assert fake.in_flight == 0


def test_a_lookup_of_an_unknown_name_fails(fake: FakeRingMe) -> None:
    for find in (fake.tenant, fake.application, fake.user):
        with pytest.raises(LookupError, match="the fake has no"):
            find(99)  # type: ignore[operator]
