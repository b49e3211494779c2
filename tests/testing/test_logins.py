"""The API page, section 2: authorisation (with RFC 6749 and RFC 6750)."""

from __future__ import annotations

import asyncio
import base64
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from ringme_async.testing import FakeApplication, FakeRingMe, OAuthSettings
from ringme_async.transports import Response
from ringme_async.transports.memory import InMemoryTransport
from tests.testing.reach import Caller, said


@pytest.fixture
def application(fake: FakeRingMe) -> FakeApplication:
    return fake.add_application("app", "secret", tenant=fake.add_tenant(id=12))


def in_memory(fake: FakeRingMe) -> Caller:
    return Caller(InMemoryTransport(fake), fake.base_url, fake)


def form_of(application: FakeApplication, **more: str) -> dict[str, str]:
    return {
        "grant_type": "client_credentials",
        "client_id": application.app_id,
        "client_secret": application.app_secret,
        **more,
    }


def refused_with(answer: Response) -> tuple[int, str]:
    assert said(answer)["error_description"]
    return answer.status, said(answer)["error"]


async def test_a_trusted_application_gets_a_token_for_an_hour(
    call: Caller, application: FakeApplication
) -> None:
    answer = await call.log_in(application)
    assert answer.status == 200
    token = said(answer).pop("access_token")
    assert said(answer) == {"access_token": token, "token_type": "Bearer", "expires_in": 3600}
    assert answer.headers["cache-control"] == "no-store"
    assert said(await call.get("@me", token))["id"] == 12


async def test_the_scope_can_be_omitted(call: Caller, application: FakeApplication) -> None:
    assert (await call.ask_token(form_of(application))).status == 200


async def test_the_only_scope_is_all(call: Caller, application: FakeApplication) -> None:
    answer = await call.ask_token(form_of(application, scope="some"))
    assert refused_with(answer) == (400, "invalid_scope")


@pytest.mark.parametrize("code", [400, 401])
@pytest.mark.parametrize("wrong", [{"client_secret": "no"}, {"client_id": "no"}])
async def test_a_wrong_secret_is_an_oauth_error(
    call: Caller, application: FakeApplication, code: int, wrong: dict[str, str]
) -> None:
    call.fake.oauth.refusal_code = code  # type: ignore[assignment]
    answer = await call.ask_token(form_of(application) | wrong)
    assert refused_with(answer) == (code, "invalid_client")


async def test_only_public_applications_need_no_secret(
    inside: Caller, application: FakeApplication
) -> None:
    form = form_of(application)
    del form["client_secret"]
    assert refused_with(await inside.ask_token(form)) == (401, "invalid_client")


@pytest.mark.parametrize("missing", ["grant_type", "client_id"])
async def test_a_missing_parameter_is_named(
    inside: Caller, application: FakeApplication, missing: str
) -> None:
    form = form_of(application) | {missing: ""}
    answer = await inside.ask_token(form)
    assert refused_with(answer) == (400, "invalid_request")
    assert missing in said(answer)["error_description"]


async def test_a_repeated_parameter_is_refused(
    inside: Caller, application: FakeApplication
) -> None:
    body = urlencode([*form_of(application).items(), ("scope", "all"), ("scope", "all")])
    answer = await inside(
        "POST",
        "/oauth/token",
        body=body.encode(),
        content_type="application/x-www-form-urlencoded",
    )
    assert refused_with(answer) == (400, "invalid_request")


@pytest.mark.parametrize("kind", [None, "application/json"])
async def test_the_parameters_have_to_be_form_encoded(
    call: Caller, application: FakeApplication, kind: str | None
) -> None:
    answer = await call.ask_token(form_of(application), content_type=kind)
    assert refused_with(answer) == (400, "invalid_request")


async def test_a_form_that_is_not_utf_8_has_no_parameters(inside: Caller) -> None:
    answer = await inside(
        "POST",
        "/oauth/token",
        body=b"grant_type=\xff",
        content_type="application/x-www-form-urlencoded",
    )
    assert refused_with(answer) == (400, "invalid_request")


async def test_an_unknown_grant_is_refused(inside: Caller, application: FakeApplication) -> None:
    answer = await inside.ask_token(form_of(application, grant_type="magic"))
    assert refused_with(answer) == (400, "unsupported_grant_type")


@pytest.mark.parametrize(
    ("kind", "grant"),
    [
        ("trusted", "password"),
        ("password_credentials", "client_credentials"),
        ("public", "client_credentials"),
        ("trusted", "authorization_code"),
    ],
)
async def test_each_kind_of_application_has_its_grant(
    inside: Caller, kind: str, grant: str
) -> None:
    application = inside.fake.add_application(kind=kind)  # type: ignore[arg-type]
    answer = await inside.ask_token(form_of(application, grant_type=grant))
    assert refused_with(answer) == (400, "unauthorized_client")


async def test_only_post_gets_a_token(call: Caller) -> None:
    answer = await call("GET", "/oauth/token")
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/oauth/other", "/login"])
async def test_other_paths_beside_the_token_endpoint_are_not_found(call: Caller, path: str) -> None:
    assert (await call("GET", path)).status == 404


async def test_the_token_endpoint_is_not_under_the_api_root(
    call: Caller, application: FakeApplication
) -> None:
    answer = await call("POST", "/api/ver1.0/oauth/token", body=b"x")
    assert answer.status == 401


async def test_a_password_gets_a_token_that_acts_for_its_user(call: Caller) -> None:
    fake = call.fake
    application = fake.add_application(kind="password_credentials", tenant=fake.add_tenant(id=5))
    fake.add_user("ann", "pass word", 5)
    form = form_of(application, grant_type="password", username="ann", password="pass word")
    token = said(await call.ask_token(form))["access_token"]
    assert said(await call.get("@me", token))["id"] == 5


@pytest.mark.parametrize("wrong", [{"username": "bob"}, {"password": "no"}])
async def test_a_wrong_password_is_an_oauth_error(inside: Caller, wrong: dict[str, str]) -> None:
    fake = inside.fake
    application = fake.add_application(kind="password_credentials")
    fake.add_user("ann", "pass", application.tenant)
    form = form_of(application, grant_type="password", username="ann", password="pass") | wrong
    assert refused_with(await inside.ask_token(form)) == (400, "invalid_grant")


async def test_a_public_application_trades_a_code_for_a_token(call: Caller) -> None:
    fake = call.fake
    application = fake.add_application(kind="public", tenant=fake.add_tenant(id=5))
    fake.add_user("ann", "pass", 5)
    query = {
        "response_type": "code",
        "client_id": application.app_id,
        "redirect_uri": "https://app.test/back?x=1",
        "scope": "all",
        "state": "s t",
    }
    agreed = await call("GET", f"/oauth/authorize?{urlencode(query)}")
    assert agreed.status == 302
    back = urlsplit(agreed.headers["location"])
    assert (back.scheme, back.netloc, back.path) == ("https", "app.test", "/back")
    parameters = parse_qs(back.query)
    assert parameters["x"] == ["1"]
    assert parameters["state"] == ["s t"]
    form = {
        "grant_type": "authorization_code",
        "client_id": application.app_id,
        "code": parameters["code"][0],
        "redirect_uri": query["redirect_uri"],
    }
    answer = said(await call.ask_token(form))
    assert said(await call.get("@me", answer["access_token"]))["id"] == 5
    again = await call.ask_token(form)
    assert refused_with(again) == (400, "invalid_grant")
    refresh = {
        "grant_type": "refresh_token",
        "client_id": application.app_id,
        "refresh_token": answer["refresh_token"],
    }
    for _ in range(2):
        renewed = said(await call.ask_token(refresh))
        assert "refresh_token" not in renewed
        assert said(await call.get("@me", renewed["access_token"]))["id"] == 5


@pytest.mark.parametrize(
    "wrong",
    [{"client_id": "no"}, {"redirect_uri": ""}, {"redirect_uri": "/back"}],
)
async def test_authorization_needs_a_known_application_and_an_absolute_redirect(
    inside: Caller, wrong: dict[str, str]
) -> None:
    application = inside.fake.add_application(kind="public")
    query = {
        "response_type": "code",
        "client_id": application.app_id,
        "redirect_uri": "https://app.test/",
    } | wrong
    answer = await inside("GET", f"/oauth/authorize?{urlencode(query)}")
    assert answer.status == 400
    assert said(answer)["error"]


async def test_another_response_type_is_redirected_as_an_error(inside: Caller) -> None:
    application = inside.fake.add_application(kind="public")
    query = f"client_id={application.app_id}&redirect_uri=https://app.test/&response_type=token"
    answer = await inside("GET", f"/oauth/authorize?{query}")
    assert answer.status == 302
    assert answer.headers["location"] == "https://app.test/?error=unsupported_response_type"


async def test_a_code_is_valid_for_its_application_and_redirect_alone(inside: Caller) -> None:
    fake = inside.fake
    application, other = (fake.add_application(kind="public") for _ in range(2))
    for owner, place in [(other, "https://app.test/"), (application, "https://else.test/")]:
        code = fake.issue_code(owner, redirect_uri=place)
        form = form_of(
            application,
            grant_type="authorization_code",
            code=code,
            redirect_uri="https://app.test/",
        )
        assert refused_with(await inside.ask_token(form)) == (400, "invalid_grant")
    form["code"] = fake.issue_code(application)
    assert (await inside.ask_token(form)).status == 200


async def test_a_rotating_refresh_token_is_valid_once(inside: Caller) -> None:
    fake = inside.fake
    fake.oauth.rotate = True
    application = fake.add_application(kind="public", tenant=fake.add_tenant(id=5))
    user = fake.add_user("ann", "pass", 5)
    first = fake.issue_refresh_token(application, user=user)
    form = form_of(application, grant_type="refresh_token", refresh_token=first)
    answer = said(await inside.ask_token(form))
    assert answer["refresh_token"] != first
    assert refused_with(await inside.ask_token(form)) == (400, "invalid_grant")
    assert (await inside.ask_token(form | {"refresh_token": answer["refresh_token"]})).status == 200


async def test_a_refresh_token_is_valid_for_its_application_alone(inside: Caller) -> None:
    fake = inside.fake
    token = fake.issue_refresh_token(fake.add_application(kind="public"))
    thief = fake.add_application(kind="public")
    form = form_of(thief, grant_type="refresh_token", refresh_token=token)
    assert refused_with(await inside.ask_token(form)) == (400, "invalid_grant")


@pytest.mark.parametrize(("wish", "given"), [("never", False), ("public", False), ("always", True)])
async def test_who_gets_a_refresh_token_can_be_set(
    inside: Caller, application: FakeApplication, wish: str, given: bool
) -> None:
    inside.fake.oauth.refresh_tokens = wish  # type: ignore[assignment]
    answer = said(await inside.log_in(application))
    assert ("refresh_token" in answer) is given


@pytest.mark.parametrize(("how", "told"), [("number", 90), ("string", "90"), ("absent", None)])
async def test_the_form_of_expires_in_can_be_set(how: str, told: object) -> None:
    settings = OAuthSettings(lifetime=90, expires_in=how, token_type="bEARER")  # type: ignore[arg-type]
    fake = FakeRingMe(oauth=settings)
    answer = said(await in_memory(fake).log_in(fake.add_application()))
    assert answer.get("expires_in") == told
    assert answer["token_type"] == "bEARER"


@pytest.mark.parametrize("pair", ["app:se cret+%", "app:se+cret%2B%25"])
async def test_the_app_id_and_secret_may_come_in_the_header(call: Caller, pair: str) -> None:
    call.fake.add_application("app", "se cret+%")
    header = f"Basic {base64.b64encode(pair.encode()).decode()}"
    answer = await call.ask_token({"grant_type": "client_credentials"}, authorization=header)
    assert answer.status == 200
    assert call.fake.requests[-1].app == "app"
    assert call.fake.requests[-1].headers["authorization"] == "***"


async def test_a_public_application_has_no_secret_in_either_way(inside: Caller) -> None:
    application = inside.fake.add_application("pub", kind="public")
    form = {"grant_type": "authorization_code", "redirect_uri": "https://app.test/"}
    header = f"Basic {base64.b64encode(b'pub:').decode()}"
    form["code"] = inside.fake.issue_code(application)
    assert (await inside.ask_token(form, authorization=header)).status == 200
    form["code"] = inside.fake.issue_code(application)
    assert (await inside.ask_token({**form, "client_id": "pub"})).status == 200
    wrong = {**form, "client_id": "pub", "client_secret": "no"}
    assert refused_with(await inside.ask_token(wrong)) == (401, "invalid_client")


@pytest.mark.parametrize("header", ["Basic YXBwOm5v", "Basic ***", "Bearer x", "Basic /w=="])
async def test_a_wrong_header_is_challenged(
    inside: Caller, application: FakeApplication, header: str
) -> None:
    answer = await inside.ask_token({"grant_type": "client_credentials"}, authorization=header)
    assert refused_with(answer) == (401, "invalid_client")
    assert answer.headers["www-authenticate"] == 'Basic realm="ringme"'


async def test_one_way_to_authenticate_is_enough(
    inside: Caller, application: FakeApplication
) -> None:
    pair = base64.b64encode(b"app:secret").decode()
    answer = await inside.ask_token(form_of(application), authorization=f"Basic {pair}")
    assert refused_with(answer) == (400, "invalid_request")


@pytest.mark.jumping
async def test_a_token_expires_after_its_lifetime(
    inside: Caller, application: FakeApplication
) -> None:
    inside.fake.oauth.lifetime = 100
    token = said(await inside.log_in(application))["access_token"]
    await asyncio.sleep(99)
    assert (await inside.get(12, token)).status == 200
    await asyncio.sleep(1)
    assert (await inside.get(12, token)).status == 401


@pytest.fixture
def token_from_outside(fake: FakeRingMe) -> str:
    return fake.issue_token(fake.add_application(), lifetime=10)


@pytest.mark.jumping
async def test_a_token_from_outside_a_loop_ages_from_its_first_use(
    inside: Caller, token_from_outside: str
) -> None:
    await asyncio.sleep(1000)
    assert (await inside.get("@me", token_from_outside)).status == 200
    await asyncio.sleep(10)
    assert (await inside.get("@me", token_from_outside)).status == 401


async def test_tokens_can_be_revoked_early(call: Caller, application: FakeApplication) -> None:
    fake = call.fake
    other = fake.add_application(tenant=12)
    mine, theirs = fake.issue_token(application), fake.issue_token(other)
    assert fake.revoke_tokens(application) == 1
    assert (await call.get(12, mine)).status == 401
    assert (await call.get(12, theirs)).status == 200
    assert fake.revoke_tokens() == 1
    assert (await call.get(12, theirs)).status == 401


async def test_refresh_tokens_can_be_revoked_too(inside: Caller) -> None:
    fake = inside.fake
    application = fake.add_application(kind="public")
    token = fake.issue_refresh_token(application)
    form = form_of(application, grant_type="refresh_token", refresh_token=token)
    fake.revoke_tokens()
    assert (await inside.ask_token(form)).status == 200
    fake.revoke_tokens(application.app_id, refresh_tokens=True)
    assert refused_with(await inside.ask_token(form)) == (400, "invalid_grant")


@pytest.mark.jumping
async def test_tokens_expired_long_ago_are_forgotten(
    inside: Caller, application: FakeApplication
) -> None:
    fake = inside.fake
    old = fake.issue_token(application, lifetime=10)
    lasting = fake.issue_token(application, lifetime=10_000)
    for _ in range(10_000 - 2):
        fake.issue_token(application, lifetime=10)
    await asyncio.sleep(30)
    fake.issue_token(application, lifetime=10)
    assert (await inside.get(12, lasting)).status == 200
    await inside.get(12, old)
    assert fake.requests[-1].app is None


async def test_a_login_over_the_limit_gets_a_message_and_no_reset(
    call: Caller, application: FakeApplication
) -> None:
    call.fake.oauth.per_second = 0
    refused = await call.log_in(application)
    assert refused.status == 429
    assert said(refused).keys() == {"message"}
    assert not [name for name in refused.headers if name.startswith("x-ratelimit")]
    assert [one.rule for one in call.fake.violations] == ["login_limit"]
    assert call.fake.logins == 1


@pytest.mark.jumping
async def test_only_twenty_logins_a_second_are_admitted(
    inside: Caller, application: FakeApplication
) -> None:
    inside.fake.oauth.concurrent = 100
    answers = await asyncio.gather(*(inside.log_in(application) for _ in range(25)))
    assert sorted(answer.status for answer in answers) == [200] * 20 + [429] * 5
    assert inside.fake.most_logins_per_second == 25
    assert len(inside.fake.violations) == 5


@pytest.mark.jumping
async def test_the_second_of_the_login_limit_slides(
    inside: Caller, application: FakeApplication
) -> None:
    codes: list[int] = []
    for pause in [0.0] + [0.05] * 19 + [0.04, 0.01]:
        await asyncio.sleep(pause)
        codes.append((await inside.log_in(application)).status)
    assert codes == [200] * 20 + [429, 200]


@pytest.mark.jumping
async def test_only_six_logins_at_once_are_admitted(
    inside: Caller, application: FakeApplication
) -> None:
    inside.fake.latency = 0.5
    answers = await asyncio.gather(*(inside.log_in(application) for _ in range(8)))
    assert [answer.status for answer in answers] == [200] * 6 + [429] * 2
    assert inside.fake.most_logins_in_flight == 7
    assert (await inside.log_in(application)).status == 200


@pytest.mark.jumping
async def test_a_cancelled_login_frees_its_place(
    inside: Caller, application: FakeApplication
) -> None:
    inside.fake.oauth.concurrent = 1
    inside.fake.latency = 5
    waiting = asyncio.create_task(inside.log_in(application))
    await asyncio.sleep(1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (await inside.log_in(application)).status == 200


async def test_the_same_seed_gives_the_same_ids_secrets_and_tokens() -> None:
    one, two, other = FakeRingMe(seed=1), FakeRingMe(seed=1), FakeRingMe(seed=2)
    applications = [fake.add_application() for fake in (one, two, other)]
    secrets = [(each.app_id, each.app_secret) for each in applications]
    assert secrets[0] == secrets[1] != secrets[2]
    assert one.issue_token(secrets[0][0]) == two.issue_token(secrets[0][0])
