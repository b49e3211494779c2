"""Recordings: their content, the masking of secrets, and replays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringme_async import (
    Client,
    ClientCredentials,
    ClientUpdate,
    ConnectError,
    DecodeError,
    Headers,
    InMemoryTransport,
    InvalidRequest,
    PasswordCredentials,
    Request,
    Response,
    ResponseLost,
    RetryPolicy,
    RingMe,
    ServerError,
    Transport,
    TransportError,
    TransportTimeout,
)
from ringme_async.testing import (
    FakeRingMe,
    NotRecorded,
    RecordingTransport,
    ReplayTransport,
    faults,
)
from ringme_async.testing.redaction import Masker
from ringme_async.transports.aiohttp import AiohttpTransport

EMAIL = "ivanova.anna+pbx@firma-zvon.example"
PHONES = ["+7 (926) 123-45-67", "8 926 123 45 67", "79261234567", "+442079460000"]
SECRET = "s3cr3t-App-Secret-0001"
PASSWORD = "correct horse battery"
FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON_TYPE = {"content-type": "application/json"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "night.jsonl"


@pytest.fixture
def fake() -> FakeRingMe:
    return FakeRingMe()


@pytest.fixture(params=["memory", "loopback"])
async def way(
    request: pytest.FixtureRequest, fake: FakeRingMe
) -> AsyncIterator[tuple[Transport, str]]:
    if request.param == "memory":
        yield InMemoryTransport(fake), fake.base_url
        return
    async with fake.serve() as url:
        yield AiohttpTransport(), url


QUICK = RetryPolicy(base=0.001, cap=0.001)


def exchanges(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()][1:]


class Says:
    """A transport that returns answers, or raises errors, in order."""

    def __init__(self, *answers: Response | BaseException) -> None:
        self.answers = list(answers)
        self.closed = 0

    async def send(self, request: Request) -> Response:
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def aclose(self) -> None:
        self.closed += 1


async def record(
    path: Path, request: Request, response: Response | None = None, **settings: Any
) -> dict[str, Any]:
    transport = RecordingTransport(Says(response or Response(200)), path, **settings)
    await transport.send(request)
    return exchanges(path)[-1]


def asking(
    path: str = "/api/ver1.0/x", *, method: str = "GET", body: bytes = b"", **headers: str
) -> Request:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, f"https://pbx.example.com{path}", Headers(fields), body)


async def test_a_replay_gives_the_answers_of_the_session(
    way: tuple[Transport, str], fake: FakeRingMe, path: Path
) -> None:
    transport, url = way
    fake.add_tenants(3, email=None)
    app = fake.add_dealer()
    fake.faults.next(faults.ServerError(503), tenant=3)
    fake.faults.next(faults.ResetAfter(), tenant=3)

    async def session(ringme: RingMe) -> list[Client]:
        read = await ringme.clients.get(1)
        changes = ClientUpdate(timezone="Asia/Omsk", hold_music=None)
        changed = await ringme.clients.update(2, changes)
        report = await ringme.clients.get_many([1, 2, 3], concurrency=1)
        return [read, changed, *report.values()]

    auth = ClientCredentials(app.app_id, app.app_secret)
    recording = RecordingTransport(transport, path)
    async with RingMe(url, auth=auth, transport=recording, retry=QUICK) as ringme:
        seen = await session(ringme)
    assert fake.faults.left == 0

    replay = ReplayTransport(path)
    auth = ClientCredentials(app.app_id, "another secret")
    elsewhere = "https://elsewhere.example"
    async with RingMe(elsewhere, auth=auth, transport=replay, retry=QUICK) as ringme:
        again = await session(ringme)

    assert again == seen
    assert not replay.left


async def test_no_secret_gets_into_the_file(
    way: tuple[Transport, str], fake: FakeRingMe, path: Path
) -> None:
    transport, url = way
    contact = "; ".join(["Anna", *PHONES, EMAIL])
    tenant = fake.add_tenant(
        12, email=EMAIL, contact_phones=PHONES[0], ambassadors=contact, extra_params=f"to {contact}"
    )
    app = fake.add_application("app-12", SECRET, tenant=tenant, kind="password_credentials")
    fake.add_user(EMAIL, PASSWORD, tenant)
    fake.oauth.refresh_tokens = "always"
    fake.add_resource("GET", "/user/", {"found": [EMAIL, {"mobile": PHONES[3]}]})
    # Some proxies show the request in their error pages.
    fake.add_resource("GET", "/echo/", shown_by_a_proxy)
    fake.faults.next(faults.GarbledBody(), tenant=12)
    fake.faults.next(faults.TokenDeath(), tenant=12)
    auth = PasswordCredentials(app.app_id, SECRET, EMAIL, PASSWORD)

    recording = RecordingTransport(transport, path)
    async with RingMe(url, auth=auth, transport=recording, retry=QUICK) as ringme:
        with suppress(DecodeError):
            await ringme.clients.get("@me")
        await ringme.clients.update("@me", ClientUpdate(disk_space_notify_email=EMAIL))
        await ringme.request("GET", "/user/", params={"q": f"{EMAIL} {PHONES[1]}"})
        with pytest.raises(ServerError):
            await ringme.request("GET", "/echo/")

    token_registry = fake.engine.oauth.token_registry
    tokens = [*token_registry._grants, *token_registry._refreshable]
    assert len(tokens) >= 4
    text = path.read_text("utf-8")
    for secret in [EMAIL, SECRET, PASSWORD, *PHONES, *tokens]:
        assert secret not in text
        assert quote_plus(secret) not in text
    assert "ringme_test" in text
    assert "Europe/Moscow" in text


def shown_by_a_proxy(request: Request) -> Response:
    page = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
    return Response(500, Headers({"content-type": "text/plain"}), page.encode())


async def test_a_form_is_masked_by_the_names_of_its_fields(path: Path) -> None:
    form = {
        "grant_type": "password",
        "client_id": "app-1",
        "client_secret": "x",
        "username": "anna",
        "password": "",
        "code": "4711",
    }
    body = urlencode(form).encode()
    exchange = await record(path, asking(method="POST", body=body, **FORM))
    assert dict(exchange["request"]["form"]) == {
        **form,
        "client_secret": "***",
        "username": "***",
        "code": "***",
    }


async def test_json_is_masked_at_any_depth_and_keeps_its_shape(path: Path) -> None:
    value = {
        "list": [{"App_Secret": "abc", "n": 1}, {"phone": 79261234567, "on": True, "none": None}],
        "created": "2020-03-16 09:29:57",
        "address": "192.168.100.200",
        "token_type": "Bearer",
        "expires_in": 3600,
        "code": 12,
        "text": f"write to {EMAIL} or call {PHONES[0]}, Bearer abcdef",
    }
    response = Response(200, Headers(JSON_TYPE), json.dumps(value).encode())
    exchange = await record(path, asking(), response)
    assert exchange["response"]["json"] == {
        **value,
        "list": [{"App_Secret": "***", "n": 1}, {"phone": "***", "on": True, "none": None}],
        "text": "write to *** or call ***, Bearer ***",
    }


async def test_headers_are_masked_by_name_and_by_pattern(path: Path) -> None:
    request = asking(
        authorization="Bearer abcdef1", x_api_key="k", accept="text/html", **{"from": EMAIL}
    )
    response = Response(
        200, Headers({"set-cookie": "sid=12", "date": "Mon, 23 Nov 2026 11:24:04 GMT"})
    )
    exchange = await record(path, request, response)
    assert exchange["request"]["headers"] == {
        "authorization": "***",
        "x-api-key": "***",
        "accept": "text/html",
        "from": "***",
    }
    assert exchange["response"]["headers"] == {
        "set-cookie": "***",
        "date": "Mon, 23 Nov 2026 11:24:04 GMT",
    }


@pytest.mark.parametrize("phone", PHONES)
def test_phones_are_masked_everywhere(phone: str) -> None:
    assert Masker().json([f"call {phone}.", phone]) == ["call ***.", "***"]


@pytest.mark.parametrize(
    "text",
    [
        "2020-03-16 09:29:57",
        "2026-11-23 10",
        "00001",
        "192.168.100.200",
        "1234567890.55",
        "12:30:45.123456",
    ],
)
def test_dates_addresses_and_short_numbers_are_not_masked_as_phones(text: str) -> None:
    assert Masker().json(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('{"access_token": "abc", "x": 1', '{"access_token": ***, "x": 1'),
        ('{"email": "adm', '{"email": ***'),
        ("a=1&client_secret=abc&b=2", "a=1&client_secret=***&b=2"),
        ("token eyJhbGciOiJI.eyJzdWIiOiIx.abc-_", "token ***"),
        ("<p>404</p>", "<p>404</p>"),
    ],
)
def test_broken_json_is_masked_by_pattern(text: str, masked: str) -> None:
    assert Masker().text(text) == masked


async def test_a_secret_is_masked_everywhere_in_its_exchange(path: Path) -> None:
    body = json.dumps({"note": "qwerty77 is good", "access_token": "qwerty77"}).encode()
    request = asking("/with/qwerty77?next=qwerty77", authorization="Bearer qwerty77")
    exchange = await record(path, request, Response(200, Headers(JSON_TYPE), body))
    assert "qwerty77" not in path.read_text("utf-8")
    assert exchange["request"]["path"] == "/with/***"
    assert exchange["response"]["json"]["note"] == "*** is good"


async def test_a_secret_that_is_an_everyday_word_changes_no_other_word(path: Path) -> None:
    form = {"grant_type": "client_credentials", "client_secret": "client"}
    body = urlencode(form).encode()
    exchange = await record(path, asking("/clients/", method="POST", body=body, **FORM))
    assert exchange["request"]["path"] == "/clients/"
    assert exchange["request"]["form"] == [
        ["grant_type", "client_credentials"],
        ["client_secret", "***"],
    ]


async def test_names_of_fields_that_are_contacts_are_masked(path: Path) -> None:
    body = json.dumps({EMAIL: 1}).encode()
    exchange = await record(path, asking(), Response(200, Headers(JSON_TYPE), body))
    assert exchange["response"]["json"] == {"***": 1}


async def test_a_path_keeps_long_ids_and_masks_contacts(path: Path) -> None:
    exchange = await record(path, asking(f"/client/1234567890123/{EMAIL}/%2B79261234567/"))
    assert exchange["request"]["path"] == "/client/1234567890123/***/***/"


async def test_further_names_can_be_masked(path: Path) -> None:
    body = b'{"name": "Acme", "hold_music": 5}'
    request = asking(body=body, method="PUT", x_tenant="acme", **JSON_TYPE)
    exchange = await record(path, request, also=["Name", "hold_music", "x-tenant"])
    assert exchange["request"]["json"] == {"name": "***", "hold_music": "***"}
    assert exchange["request"]["headers"]["x-tenant"] == "***"
    assert await ReplayTransport(path).send(request) is not None


async def test_masking_can_be_turned_off(path: Path) -> None:
    text = f"password=abcdef {EMAIL}"
    request = asking(f"/{EMAIL}", authorization="Bearer abcdef1")
    response = Response(200, Headers(), text.encode())
    exchange = await record(path, request, response, mask=False)
    assert exchange["request"]["headers"]["authorization"] == "Bearer abcdef1"
    assert exchange["request"]["path"] == f"/{EMAIL}"
    assert exchange["response"]["text"] == text
    assert (await ReplayTransport(path).send(request)).body == response.body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Bad Gateway</html>",
        b'{"a":',
        b"\xff\xfe\x00 binary \x80",
        b'{"a": "\xff"}',
        '{"name": "\u0410\u043d\u043d\u0430"}'.encode(),
        b"NaN",
        b"[" * 5_000 + b"]" * 5_000,
        b"[" * 400 + b"]" * 400,
    ],
)
async def test_a_replay_returns_every_body_unchanged(path: Path, body: bytes) -> None:
    await record(path, asking(), Response(200, Headers({"content-length": "3", "x-a": "b"}), body))
    answer = await ReplayTransport(path).send(asking())
    assert answer.body == body or answer.json() == json.loads(body)
    assert dict(answer.headers) == {"x-a": "b"}


async def test_letters_of_any_language_can_be_read_in_the_file(path: Path) -> None:
    body = '{"name": "\u0410\u043d\u043d\u0430"}'.encode()
    await record(path, asking(), Response(200, Headers(), body))
    assert "\u0410\u043d\u043d\u0430" in path.read_text("utf-8")


async def test_a_replay_returns_a_form_as_a_form(path: Path) -> None:
    await record(path, asking(), Response(200, Headers(FORM), b"a=1&b=%D0%90&a=2"))
    assert (await ReplayTransport(path).send(asking())).body == b"a=1&b=%D0%90&a=2"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=6),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abcxyz", max_size=3), inner),
    max_leaves=12,
)


@given(json_values)
def test_a_replay_returns_equal_json(value: Any) -> None:
    assert Masker(on=False).json(value) == value
    assert Masker().json(value) == value


@pytest.mark.parametrize(
    "failure",
    [
        ConnectError("no route"),
        ResponseLost("it broke", sent=True),
        TransportTimeout("too late", sent=False),
    ],
)
async def test_failures_are_recorded_and_raised_again(path: Path, failure: TransportError) -> None:
    transport = RecordingTransport(Says(failure), path)
    with pytest.raises(type(failure)):
        await transport.send(asking())
    with pytest.raises(type(failure)) as caught:
        await ReplayTransport(path).send(asking())
    assert str(caught.value) == str(failure)
    assert caught.value.sent is failure.sent


async def test_only_transport_errors_are_recorded(path: Path) -> None:
    transport = RecordingTransport(Says(asyncio.CancelledError(), ZeroDivisionError()), path)
    for kind in (asyncio.CancelledError, ZeroDivisionError):
        with pytest.raises(kind):
            await transport.send(asking())
    assert exchanges(path) == []


async def test_repeated_requests_get_their_answers_in_order(path: Path) -> None:
    inner = Says(*(Response(status) for status in (200, 201, 202)))
    transport = RecordingTransport(inner, path)
    for name in ("a", "b", "a"):
        await transport.send(asking(f"/{name}"))
    replay = ReplayTransport(path)
    assert list(replay.left) == ["GET /a", "GET /a", "GET /b"]
    assert [(await replay.send(asking(f"/{name}"))).status for name in "aab"] == [200, 202, 201]
    assert not replay.left


async def test_a_request_beyond_its_recorded_count_is_refused(path: Path) -> None:
    transport = RecordingTransport(Says(*(Response(200) for _ in range(3))), path)
    for name in "abb":
        await transport.send(asking(f"/{name}"))
    replay = ReplayTransport(path)
    for name in "abb":
        await replay.send(asking(f"/{name}"))
    with pytest.raises(NotRecorded, match=r"GET /a was asked 2 times and is once in .*night"):
        await replay.send(asking("/a"))
    with pytest.raises(NotRecorded, match=r"GET /b was asked 3 times and is 2 times in .*night"):
        await replay.send(asking("/b"))


async def test_a_request_beyond_its_recorded_count_can_repeat_the_last_answer(path: Path) -> None:
    transport = RecordingTransport(Says(Response(200), Response(201)), path)
    await transport.send(asking())
    await transport.send(asking())
    replay = ReplayTransport(path, repeat=True)
    assert [(await replay.send(asking())).status for _ in range(4)] == [200, 201, 201, 201]


async def test_an_unrecorded_request_is_named_with_the_most_similar_ones(path: Path) -> None:
    inner = Says(*[Response(200)] * 5)
    transport = RecordingTransport(inner, path)
    put = b'{"timezone": "Asia/Omsk"}'
    for request in (
        asking("/client/12/client/", method="PUT", body=put, **JSON_TYPE),
        asking("/client/12/client/"),
        asking("/client/13/client/?full=1"),
        asking("/oauth/token", method="POST", body=b"a=1", **FORM),
        asking("/text", method="POST", body=b"plain"),
    ):
        await transport.send(request)
    replay = ReplayTransport(path)
    wrong = asking("/client/12/client/", method="PUT", body=b'{"timezone": null}', **JSON_TYPE)
    with pytest.raises(NotRecorded) as caught:
        await replay.send(wrong)
    first, *nearest = str(caught.value).splitlines()
    assert first == (
        f'PUT /client/12/client/ {{"timezone": null}} is not in {path}; the nearest that are there:'
    )
    assert nearest == [
        '  PUT /client/12/client/ {"timezone": "Asia/Omsk"}',
        "  GET /client/12/client/",
        "  GET /client/13/client/?full=1",
    ]


async def test_an_empty_recording_says_so(path: Path) -> None:
    RecordingTransport(Says(), path)
    with pytest.raises(NotRecorded, match="holds no exchange at all"):
        await ReplayTransport(path).send(asking())


async def test_the_refusal_shows_no_secret(path: Path) -> None:
    RecordingTransport(Says(), path)
    body = urlencode({"client_secret": SECRET}).encode()
    request = asking(
        f"/?q={EMAIL}", method="POST", body=body, authorization="Bearer abcdef1", **FORM
    )
    with pytest.raises(NotRecorded) as caught:
        await ReplayTransport(path).send(request)
    assert not any(secret in str(caught.value) for secret in (SECRET, EMAIL, "abcdef1"))


@pytest.mark.parametrize(
    "text", ["", "x", "{}", '{"ringme_recording": 2, "masked": true, "also": []}']
)
def test_a_file_that_is_not_a_recording_is_refused(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(ValueError, match="is no recording"):
        ReplayTransport(path)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"request": {"method": "GET", "path": "/"}}',
        '{"request": {"method": "GET", "path": "/"}, "error": {"kind": "X", "message": "", "sent": true}}',
    ],
)
def test_a_corrupted_line_is_named(path: Path, line: str) -> None:
    RecordingTransport(Says(), path)
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match="line 2, is no exchange"):
        ReplayTransport(path)


async def test_closing_reaches_the_inner_transport_and_ends_the_replay(path: Path) -> None:
    inner = Says()
    transport = RecordingTransport(inner, path)
    await transport.aclose()
    assert inner.closed == 1
    replay = ReplayTransport(path)
    await replay.aclose()
    await replay.aclose()
    with pytest.raises(InvalidRequest, match="ReplayTransport is closed"):
        await replay.send(asking())
    assert repr(transport) == f"<RecordingTransport to {path}>"
    assert repr(replay) == f"<ReplayTransport of {path}>"


async def test_an_existing_recording_is_overwritten(path: Path) -> None:
    await record(path, asking("/old"))
    await record(path, asking("/new"))
    assert [exchange["request"]["path"] for exchange in exchanges(path)] == ["/new"]
