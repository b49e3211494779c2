"""No secret of an exchange gets into its recording, in any place or spelling."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringme_async import (
    Auth,
    BearerToken,
    ClientCredentials,
    Headers,
    InMemoryTransport,
    Request,
    Response,
    RetryPolicy,
    RingMe,
    RingMeError,
)
from ringme_async._internal.redaction import spellings
from ringme_async.testing import FakeRingMe, RecordingTransport, ReplayTransport
from ringme_async.testing.redaction import Masker, masked_body

FORM = "application/x-www-form-urlencoded"

SPELLED: Mapping[str, Callable[[str], str]] = {
    "as it is": str,
    "quoted": lambda secret: quote(secret, safe=""),
    "quoted but slashes": quote,
    "quoted in lower case": lambda secret: re.sub(
        "%..", lambda code: code[0].lower(), quote(secret)
    ),
    "quoted with pluses": quote_plus,
    "quoted twice": lambda secret: quote(quote(secret, safe=""), safe=""),
    "in JSON": lambda secret: json.dumps(secret)[1:-1],
    "in JSON with slashes escaped": lambda secret: json.dumps(secret)[1:-1].replace("/", "\\/"),
    "in readable JSON": lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
    "in HTML": html.escape,
    "in XML": lambda secret: html.escape(secret, quote=False),
    "in base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "in base64 for URLs": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
}


def in_form(secret: str) -> Request:
    body = urlencode({"grant_type": "client_credentials", "client_secret": secret})
    return asking("POST", body, kind=FORM)


def in_json(secret: str) -> Request:
    body = json.dumps({"grant_type": "password", "login": [{"password": secret}]})
    return asking("POST", body)


def in_json_object(secret: str) -> Request:
    return asking("POST", json.dumps({"secrets": {"first": {"value": secret}}}))


def in_code(secret: str) -> Request:
    return asking("POST", json.dumps({"grant_type": "authorization_code", "code": secret}))


def in_multipart(secret: str) -> Request:
    body = (
        '--7d\r\nContent-Disposition: form-data; name="client_secret"\r\n\r\n'
        f'{secret}\r\n--7d\r\nContent-Disposition: form-data; name="title"\r\n\r\nx\r\n--7d--\r\n'
    )
    return asking("POST", body, kind="multipart/form-data; boundary=7d")


def in_xml(secret: str) -> Request:
    text = html.escape(secret, quote=False)
    return asking("POST", f'<a:login><a:password type="x">{text}</a:password></a:login>')


def in_query(secret: str) -> Request:
    return asking("GET", query=urlencode({"access_token": secret, "page": 1}))


def as_bearer(secret: str) -> Request:
    return asking("GET", authorization=f"Bearer {secret}")


def as_basic(secret: str) -> Request:
    pair = base64.b64encode(f"app-1:{secret}".encode()).decode()
    return asking("GET", authorization=f"Basic {pair}")


def as_quoted_basic(secret: str) -> Request:
    pair = base64.b64encode(f"app-1:{quote_plus(secret)}".encode()).decode()
    return asking("GET", authorization=f"Basic {pair}")


def as_cookie(secret: str) -> Request:
    return asking("GET", cookie=f"lang=ru; sid={quote(secret, safe='')}; theme={secret!s}")


def as_key(secret: str) -> Request:
    return asking("GET", **{"x-api-key": secret})


ASKED = [
    in_form,
    in_json,
    in_json_object,
    in_code,
    in_multipart,
    in_xml,
    in_query,
    as_bearer,
    as_basic,
    as_quoted_basic,
    as_key,
]


def asking(
    method: str,
    body: str = "",
    *,
    kind: str = "application/json",
    query: str = "",
    **headers: str,
) -> Request:
    url = "https://pbx.example.com/api/ver1.0/x" + (f"?{query}" if query else "")
    return Request(method, url, Headers({"content-type": kind, **headers}), body.encode())


def echo_in_text(written: str) -> Response:
    return answer("text/plain", f"The login with ({written}) was refused.")


def echo_in_page(written: str) -> Response:
    return answer("text/html", f"<p>You sent <b>{written}</b></p>", 502)


def echo_in_json(written: str) -> Response:
    return answer("application/json", json.dumps({"message": f"wrong: {written}", "status": "x"}))


def echo_as_name(written: str) -> Response:
    return answer("application/json", json.dumps({"seen": {written: [written, {"a": written}]}}))


def echo_in_json_text(written: str) -> Response:
    inner = json.dumps({"request": {"body": f"x={written}"}})
    return answer("application/json", json.dumps({"log": inner, "deeper": json.dumps(inner)}))


def echo_in_header(written: str) -> Response:
    return Response(400, Headers({"x-debug": f"seen {written}; end"}), b"")


def echo_in_location(written: str) -> Response:
    there = f"https://app.example/cb?state=1&hint={written}#at={written}"
    return Response(302, Headers({"location": there}), b"")


ECHOES = [
    echo_in_text,
    echo_in_page,
    echo_in_json,
    echo_as_name,
    echo_in_json_text,
    echo_in_header,
    echo_in_location,
]


def answer(kind: str, text: str, status: int = 400) -> Response:
    return Response(status, Headers({"content-type": kind}), text.encode())


@st.composite
def secrets(draw: st.DrawFn, alphabet: str | None = None) -> str:
    """A secret that occurs nowhere else in the exchange."""
    letters = st.sampled_from(alphabet or "abzAZ019-._~+/=%&;:?#!$\"'<>\\@()[]{}*, \u0416\u00e9")
    inner = draw(st.text(letters, min_size=4, max_size=24)).strip()
    return f"Q7{inner}x9Z"


tokens = secrets("abzAZ019-._~+/")


class Says:
    def __init__(self, response: Response) -> None:
        self.response = response

    async def send(self, request: Request) -> Response:
        return self.response

    async def aclose(self) -> None:
        """Do nothing."""


def recorded(*exchanges: tuple[Request, Response]) -> str:
    """Record exchanges, check that they can be replayed, and return the file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "night.jsonl"

        async def run() -> None:
            inner = Says(exchanges[0][1])
            transport = RecordingTransport(inner, path)
            for request, response in exchanges:
                inner.response = response
                await transport.send(request)
            replay = ReplayTransport(path)
            for request, response in exchanges:
                assert (await replay.send(request)).status == response.status

        asyncio.run(run())
        return path.read_text("utf-8")


def strings_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from strings_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings_in(inner)
    elif isinstance(value, str):
        yield value


def check_hidden(secret: str, text: str) -> None:
    seen = [text]
    for line in text.splitlines():
        seen += strings_in(json.loads(line))
    for name, spell in SPELLED.items():
        written = spell(secret).rstrip("=")
        for one in seen:
            assert written not in one, name


@pytest.mark.parametrize("ask", ASKED, ids=lambda ask: ask.__name__)
@settings(max_examples=25, deadline=None)
@given(secret=secrets(), echo=st.sampled_from(ECHOES), how=st.sampled_from(sorted(SPELLED)))
def test_a_recording_never_shows_a_secret_of_a_request(
    ask: Callable[[str], Request],
    secret: str,
    echo: Callable[[str], Response],
    how: str,
) -> None:
    check_hidden(secret, recorded((ask(secret), echo(SPELLED[how](secret)))))


def issued_in_json(token: str) -> Response:
    return answer("application/json", json.dumps({"access_token": token, "token_type": "Bearer"}))


def issued_in_fragment(token: str) -> Response:
    there = f"https://app.example/cb#access_token={quote(token, safe='')}&token_type=bearer"
    return Response(302, Headers({"location": there}), b"")


def issued_as_code(token: str) -> Response:
    there = f"https://app.example/cb?code={quote(token, safe='')}&state=1"
    return Response(302, Headers({"location": there}), b"")


def issued_in_nested_url(token: str) -> Response:
    inner = quote(f"https://app.example/cb?code={quote(token, safe='')}&state=1", safe="")
    there = f"https://pbx.example.com/login?next={inner}&lang=ru"
    return answer("application/json", json.dumps({"go": {"to": there}}), 200)


def issued_in_xml(token: str) -> Response:
    text = html.escape(token, quote=False)
    return answer("text/xml", f"<r><access_token>{text}</access_token><n>1</n></r>", 200)


def issued_in_json_text(token: str) -> Response:
    inner = json.dumps({"tokens": [token], "n": 1})
    return answer("application/json", json.dumps({"body": inner}), 200)


def issued_as_cookie(token: str) -> Response:
    field = f"sid={quote(token, safe='')}; Path=/; Secure"
    return Response(200, Headers({"set-cookie": field}), b"")


ISSUED = [
    issued_in_json,
    issued_in_fragment,
    issued_as_code,
    issued_in_nested_url,
    issued_in_xml,
    issued_in_json_text,
    issued_as_cookie,
]


@pytest.mark.parametrize("issue", ISSUED, ids=lambda issue: issue.__name__)
@settings(max_examples=25, deadline=None)
@given(token=tokens, echo=st.sampled_from(ECHOES), how=st.sampled_from(sorted(SPELLED)))
def test_a_secret_from_an_answer_is_masked_in_the_whole_recording(
    issue: Callable[[str], Response],
    token: str,
    echo: Callable[[str], Response],
    how: str,
) -> None:
    later = (asking("GET", query="page=2"), echo(SPELLED[how](token)))
    check_hidden(token, recorded((asking("GET"), issue(token)), later))


@pytest.mark.parametrize(
    "name", ["tokens", "passwords", "secrets", "user[password]", "accessToken"]
)
def test_plurals_and_compounds_are_secrets_by_name(name: str) -> None:
    value = {name: "short", "token_type": "Bearer"}
    assert Masker().json(value) == {name: "***", "token_type": "Bearer"}


def test_an_object_with_a_secret_name_is_masked_whole() -> None:
    value = {"password": {"old": "a", "new": ["b", 5]}, "tokens": ["a", "b"], "n": 1}
    assert Masker().json(value) == {"password": "***", "tokens": ["***", "***"], "n": 1}


def test_an_object_with_the_name_of_a_contact_keeps_its_shape() -> None:
    value = {"phones": {"home": 5, "work": ["x"]}}
    assert Masker().json(value) == {"phones": {"home": "***", "work": ["***"]}}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("<Token/><n>1</n>", "<Token/><n>1</n>"),
        ("<ns:Password a='1'>abc</ns:Password>", "<ns:Password a='1'>***</ns:Password>"),
        ("<secret>cut o", "<secret>***"),
        ("Cookie: a=b; c=d\nHost: x", "Cookie: ***\nHost: x"),
        ("https://u:pw@host/x", "https://***@host/x"),
        ("the token has expired", "the token has expired"),
        ("/cb?code=12&state=3", "/cb?code=***&state=3"),
        ("code: 12", "code: 12"),
    ],
)
def test_text_of_every_kind_is_masked_by_name(text: str, masked: str) -> None:
    assert Masker().text(text) == masked


def test_the_word_password_in_a_message_is_not_masked() -> None:
    text = "The user name or the password is wrong: try again, or ask for a token."
    assert Masker().json(text) == text


@pytest.mark.parametrize("secret", ["client", "wrong", "x"])
def test_a_secret_that_is_a_word_masks_whole_words_only(secret: str) -> None:
    masker = Masker()
    masker.json({"client_secret": secret})
    text = f"{secret}s are no {secret}ed"
    assert masker.json(text) == text


def test_json_in_a_text_stays_json() -> None:
    shown = Masker().json({"log": '{"access_token": "abc", "n": [1, null]}', "n": "{not json"})
    assert shown == {"log": '{"access_token": "***", "n": [1, null]}', "n": "{not json"}


def test_a_broken_basic_header_is_masked_too() -> None:
    masker = Masker()
    assert masker.headers({"authorization": "Basic no-base-64"}) == {"authorization": "***"}
    assert masker.headers({"authorization": "Digest realm"}) == {"authorization": "***"}
    assert masker.json("no-base-64") == "***"


def test_a_long_recording_remembers_the_latest_secrets() -> None:
    masker = Masker()
    for number in range(1_000):
        masker.json({"token": f"abcdef-{number}-x"})
    assert masker.json("abcdef-999-x") == "***"
    assert len(masker._found) == 200


@given(st.text(max_size=40))
def test_spellings_are_distinct_and_start_with_the_longest(secret: str) -> None:
    found = spellings(secret)
    assert secret in found
    assert len(set(found)) == len(found)
    assert sorted(found, key=len, reverse=True) == found


def test_a_body_is_masked_in_its_own_form() -> None:
    body = b'{"grant_type": "x", "code": "4711", "status": {"code": 5}}'
    assert masked_body(Masker(), body, "application/json") == {
        "json": {"grant_type": "x", "code": "***", "status": {"code": 5}}
    }


def to_login_as_json(secret: str) -> Request:
    return to_login(json.dumps({"grant_type": "password", "client_secret": secret}), "text/json")


def to_login_as_form(secret: str) -> Request:
    return to_login(urlencode({"client_secret": secret, "code": secret}), FORM)


def to_login_as_name(secret: str) -> Request:
    return to_login(quote(secret, safe=""), FORM)


def to_login_with_url(secret: str) -> Request:
    there = f"https://app.example/cb?access_token={quote(secret, safe='')}"
    return to_login(urlencode({"redirect_uri": there, "grant_type": "x"}), FORM)


def to_login(body: str, kind: str) -> Request:
    headers = Headers({"content-type": kind, "accept-encoding": "gzip"})
    return Request("POST", "https://fake.example/oauth/token", headers, body.encode())


def to_path(secret: str) -> Request:
    path = f"/api/ver1.0/{quote(secret, safe='')}/"
    return asking_fake("GET", path, authorization=f"Bearer {secret}")


def to_query(secret: str) -> Request:
    return asking_fake("GET", f"{READ}?{urlencode({'access_token': secret})}")


def to_query_by_value(secret: str) -> Request:
    there = f"{READ}?{urlencode({'page': secret})}"
    return asking_fake("GET", there, authorization=f"Bearer {secret}")


def to_body(secret: str) -> Request:
    body = json.dumps({"hold_music": 5, "x": {"tokens": {secret: [secret]}}})
    return asking_fake("PUT", READ, body)


def to_header(secret: str) -> Request:
    return asking_fake("GET", READ, **{"x-api-key": secret})


def to_referer(secret: str) -> Request:
    there = f"https://app.example/?access_token={quote(secret, safe='')}"
    return asking_fake("GET", READ, referer=there)


def to_login_as_list(secret: str) -> Request:
    return to_login(json.dumps([secret]), "application/json")


READ = "/api/ver1.0/client/1/client/"
TO_FAKE = [
    to_login_as_json,
    to_login_as_list,
    to_login_as_form,
    to_login_as_name,
    to_login_with_url,
    to_path,
    to_query,
    to_query_by_value,
    to_body,
    to_header,
    to_referer,
]


def asking_fake(method: str, path: str, body: str = "", **headers: str) -> Request:
    fields = {"accept-encoding": "gzip", "content-type": "application/json", **headers}
    return Request(method, f"https://fake.example{path}", Headers(fields), body.encode())


@pytest.mark.parametrize("ask", TO_FAKE, ids=lambda ask: ask.__name__)
@settings(max_examples=20, deadline=None)
@given(secret=secrets())
def test_the_journal_of_a_fake_never_shows_a_secret_of_a_request(
    ask: Callable[[str], Request], secret: str
) -> None:
    fake = FakeRingMe()
    fake.add_tenants(1)
    request = ask(secret)
    asyncio.run(fake(request))
    (entry,) = fake.requests
    whole = json.dumps([entry.path, entry.query, {**entry.sent}, {**entry.headers}])
    shown = [str(entry), repr(entry), str(fake.requests), repr(request), repr(request.headers)]
    for spell in SPELLED.values():
        written = spell(secret).rstrip("=")
        for one in [*strings_in(json.loads(whole)), *shown[:3], *shown[4:]]:
            assert written not in one


async def test_the_journal_shows_other_values_unchanged() -> None:
    fake = FakeRingMe()
    fake.add_tenants(1)
    fields = {"disk_space_notify_email": "admin@firma.example", "hold_music": 5}
    request = asking_fake("PUT", f"{READ}?page=2&q=a%20b", json.dumps(fields))
    await fake(request)
    (entry,) = fake.requests
    assert (entry.query, entry.sent) == ("page=2&q=a%20b", fields)


async def failure_told(auth: Auth, answer_to: Callable[[Request], Response]) -> str:
    async def handle(request: Request) -> Response:
        return answer_to(request)

    once = RetryPolicy(attempts=1)
    way = InMemoryTransport(handle)
    async with RingMe("https://pbx.example.com", auth=auth, transport=way, retry=once) as ringme:
        with pytest.raises(RingMeError) as caught:
            await ringme.clients.get(1)
    error = caught.value
    return "\n".join([str(error), repr(error), repr(vars(error)), repr(error.args)])


@settings(max_examples=60, deadline=None)
@given(
    status=st.sampled_from([200, 302, 400, 403, 429, 500]),
    token=tokens,
    echo=st.sampled_from(ECHOES),
    how=st.sampled_from(sorted(SPELLED)),
)
def test_no_error_of_a_call_shows_the_token_in_any_spelling(
    status: int, token: str, echo: Callable[[str], Response], how: str
) -> None:
    said = echo(SPELLED[how](token))
    response = Response(status, said.headers, said.body)
    told = asyncio.run(failure_told(BearerToken(token), lambda _request: response))
    for spell in SPELLED.values():
        assert spell(token).rstrip("=") not in told


@settings(max_examples=60, deadline=None)
@given(
    status=st.sampled_from([200, 302, 400, 401, 500]),
    secret=secrets(),
    how=st.sampled_from(sorted(SPELLED)),
)
def test_no_error_of_a_login_shows_the_secret_in_any_spelling(
    status: int, secret: str, how: str
) -> None:
    written = SPELLED[how](secret)
    body = json.dumps({"error": "invalid_client", "error_description": f"not ({written})"})
    response = Response(status, Headers({"location": f"https://{written}/x"}), body.encode())
    told = asyncio.run(failure_told(ClientCredentials("app", secret), lambda _request: response))
    for spell in SPELLED.values():
        assert spell(secret).rstrip("=") not in told
