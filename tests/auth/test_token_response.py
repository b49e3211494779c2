"""Answers of token endpoints: tables of answers and their expected results.

Each row names its source: RFC 6749, the test suites of oauthlib and Authlib (facts, not code), and
answers that servers and proxies are known to send.
"""

from __future__ import annotations

import html
import json
from urllib.parse import quote, quote_plus

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from ringme_async.auth import Token
from ringme_async.auth.token_response import LoginForm, Refused, read_answer
from ringme_async.errors import ApiError, Busy, RingMeError, ServerError, TokenError
from ringme_async.transports import Headers, Response
from tests.auth.exposure import assert_keeps, told_by
from tests.auth.hosts import answer

SECRET = "p&ss/wörd +1"
FORM = LoginForm({"grant_type": "client_credentials", "client_id": "app", "client_secret": SECRET})
SENT_AT = 1_000.0


def read(response: Response, form: LoginForm = FORM) -> Token | Refused:
    return read_answer(response, form, host="pbx.example.com", sent_at=SENT_AT)


def refused(response: Response, form: LoginForm = FORM) -> RingMeError:
    outcome = read(response, form)
    assert isinstance(outcome, Refused)
    return outcome.error


def refused_by_oauth(response: Response) -> TokenError:
    error = refused(response)
    assert isinstance(error, TokenError)
    return error


@frozen
class Good:
    name: str
    body: object
    value: str
    expires_at: float | None
    refresh_token: str | None = None


HUGE = "9" * 5_000
GOOD = [
    Good(
        "RFC 6749, 4.4.3, with a type that we know",
        {
            "access_token": "2YotnFZFEjr1zCsicMWpAA",
            "token_type": "Bearer",
            "expires_in": 3600,
            "example_parameter": "example_value",
        },
        "2YotnFZFEjr1zCsicMWpAA",
        4_600.0,
    ),
    Good(
        "RFC 6750, 4",
        {
            "access_token": "mF_9.B5f-4.1JqM",
            "token_type": "Bearer",
            "expires_in": 3600,
            "refresh_token": "tGzv3JOkF0XG5Qx2TlKWIA",
        },
        "mF_9.B5f-4.1JqM",
        4_600.0,
        "tGzv3JOkF0XG5Qx2TlKWIA",
    ),
    Good(
        "RFC 6749, 5.1: the type in any case",
        {"access_token": "t", "token_type": "bEaReR"},
        "t",
        None,
    ),
    Good("API page: bearer", {"access_token": "t", "token_type": "bearer"}, "t", None),
    Good("a type with spaces", {"access_token": "t", "token_type": " Bearer "}, "t", None),
    Good(
        "oauthlib: no token_type, unless strict",
        {"access_token": "t", "expires_in": 3600},
        "t",
        4_600.0,
    ),
    Good("token_type null", {"access_token": "t", "token_type": None}, "t", None),
    Good("oauthlib: a scope", {"access_token": "t", "scope": "abc def"}, "t", None),
    Good("a scope as a list", {"access_token": "t", "scope": ["abc", "def"]}, "t", None),
    Good(
        "Authlib: expires_in as a string, beside expires_at",
        {
            "token_type": "Bearer",
            "access_token": "a",
            "refresh_token": "b",
            "expires_in": "3600",
            "expires_at": 1_700_000_000,
        },
        "a",
        4_600.0,
        "b",
    ),
    Good(
        "oauthlib: only the odd spelling expires", {"access_token": "t", "expires": 3600}, "t", None
    ),
    Good("API page: no expires_in", {"access_token": "t"}, "t", None),
    Good("expires_in as a float", {"access_token": "t", "expires_in": 3600.5}, "t", 4_600.5),
    Good(
        "expires_in as a string with a fraction",
        {"access_token": "t", "expires_in": "0.5"},
        "t",
        1_000.5,
    ),
    Good("expires_in with spaces", {"access_token": "t", "expires_in": " 60 "}, "t", 1_060.0),
    Good("expires_in of a second", {"access_token": "t", "expires_in": 1}, "t", 1_001.0),
    Good(
        "expires_in of ten years",
        {"access_token": "t", "expires_in": 315_360_000},
        "t",
        315_361_000.0,
    ),
    Good(
        "expires_in beyond ten years", {"access_token": "t", "expires_in": 315_360_001}, "t", None
    ),
    Good("Authlib: expires_in 0 says nothing", {"access_token": "t", "expires_in": 0}, "t", None),
    Good("expires_in '0'", {"access_token": "t", "expires_in": "0"}, "t", None),
    Good("expires_in -1", {"access_token": "t", "expires_in": -1}, "t", None),
    Good("expires_in '-1'", {"access_token": "t", "expires_in": "-1"}, "t", None),
    Good("expires_in null", {"access_token": "t", "expires_in": None}, "t", None),
    Good("expires_in true", {"access_token": "t", "expires_in": True}, "t", None),
    Good("expires_in 'abc'", {"access_token": "t", "expires_in": "abc"}, "t", None),
    Good("expires_in ''", {"access_token": "t", "expires_in": ""}, "t", None),
    Good("expires_in 'inf'", {"access_token": "t", "expires_in": "inf"}, "t", None),
    Good("expires_in 'nan'", {"access_token": "t", "expires_in": "nan"}, "t", None),
    Good("expires_in '1e3'", {"access_token": "t", "expires_in": "1e3"}, "t", None),
    Good("expires_in '3_600'", {"access_token": "t", "expires_in": "3_600"}, "t", None),
    Good("expires_in in Arabic digits", {"access_token": "t", "expires_in": "٣٦٠٠"}, "t", None),
    Good("expires_in as a list", {"access_token": "t", "expires_in": [3600]}, "t", None),
    Good(
        "expires_in as a clock time", {"access_token": "t", "expires_in": 1_764_000_000}, "t", None
    ),
    Good("expires_in 1e400", b'{"access_token": "t", "expires_in": 1e400}', "t", None),
    Good("expires_in NaN", b'{"access_token": "t", "expires_in": NaN}', "t", None),
    Good(
        "expires_in of 5,000 digits",
        f'{{"access_token":"t","expires_in":{HUGE}}}'.encode(),
        "t",
        None,
    ),
    Good(
        "expires_in of 5,000 digits in a string",
        {"access_token": "t", "expires_in": HUGE},
        "t",
        None,
    ),
    Good("refresh_token null", {"access_token": "t", "refresh_token": None}, "t", None),
    Good("refresh_token empty", {"access_token": "t", "refresh_token": ""}, "t", None),
    Good("refresh_token a number", {"access_token": "t", "refresh_token": 12}, "t", None),
    Good("error null beside a token", {"access_token": "t", "error": None}, "t", None),
    Good("error empty beside a token", {"access_token": "t", "error": ""}, "t", None),
    Good("a byte order mark", b'\xef\xbb\xbf{"access_token": "t"}', "t", None),
    Good("white space around", b'\r\n {"access_token": "t"}\n', "t", None),
    Good("a name twice, the last one counts", b'{"access_token":1,"access_token":"t"}', "t", None),
    Good("a JWT", {"access_token": "eyJ0.eyJz-_.sig_-"}, "eyJ0.eyJz-_.sig_-", None),
]


@pytest.mark.parametrize("row", GOOD, ids=lambda row: row.name)
def test_a_token_is_read_from(row: Good) -> None:
    token = read(answer(200, row.body))
    assert isinstance(token, Token)
    assert (token.value, token.refresh_token) == (row.value, row.refresh_token)
    assert token.expires_at == (None if row.expires_at is None else pytest.approx(row.expires_at))


@pytest.mark.parametrize("status", [200, 201, 203, 299])
def test_a_token_is_read_with_any_2xx(status: int) -> None:
    assert isinstance(read(answer(status, {"access_token": "t"})), Token)


def test_the_content_type_of_json_does_not_matter() -> None:
    assert isinstance(read(answer(200, {"access_token": "t"}, "text/html")), Token)


@frozen
class Useless:
    name: str
    body: object
    said: str
    garbled: bool = False
    content_type: str = "application/json"


USELESS = [
    Useless("nothing", b"", "with 200 and an empty body;", garbled=True),
    Useless("white space", b" \r\n", "with 200 and an empty body;", garbled=True),
    Useless(
        "HTML",
        b"<html>maintenance",
        "and an HTML page instead of JSON;",
        True,
        "text/html; charset=utf-8",
    ),
    Useless(
        "JSON cut short",
        b'{"access_token": "t"',
        "and a body that is no JSON object;",
        garbled=True,
    ),
    Useless("bytes", b"\xff\xfe\x00\x80", "and a body that is no JSON object;", garbled=True),
    Useless("a list", [{"access_token": "t"}], "and a body that is no JSON object;", garbled=True),
    Useless("a string", "t", "and a body that is no JSON object;", garbled=True),
    Useless("null", None, "and a body that is no JSON object;", garbled=True),
    Useless("JSON without end", b"[" * 200_000, "and a body that is no JSON object;", garbled=True),
    Useless(
        "a form, as Facebook once",
        b"access_token=t&expires=3600",
        "and a body that is no JSON object;",
        True,
    ),
    Useless(
        "oauthlib: no access_token",
        {"token_type": "Bearer"},
        "with 200 and JSON without access_token;",
    ),
    Useless("an empty object", {}, "with 200 and JSON without access_token;"),
    Useless("access_token null", {"access_token": None}, "not NoneType"),
    Useless("access_token a number", {"access_token": 12345}, "not float"),
    Useless("access_token an object", {"access_token": {"value": "t"}}, "not dict"),
    Useless("access_token empty", {"access_token": ""}, "empty"),
    Useless("a line break", {"access_token": "t\r\nX-Evil: 1"}, "line break"),
    Useless("a NUL", {"access_token": "t\0"}, "printable ASCII"),
    Useless("not ASCII", {"access_token": "tök"}, "printable ASCII"),
    Useless("spaces around", {"access_token": " t"}, "printable ASCII"),
    Useless("RFC 6749, 7.1: mac", {"access_token": "t", "token_type": "mac"}, "bearer: mac"),
    Useless("RFC 6749, 5.1: example", {"access_token": "t", "token_type": "example"}, "bearer: ex"),
    Useless("Authlib: an unknown type", {"access_token": "t", "token_type": "invalid"}, "invalid"),
    Useless(
        "token_type long", {"access_token": "t", "token_type": "x" * 61}, f" {'x' * 59}\u2026;"
    ),
    Useless("token_type empty", {"access_token": "t", "token_type": ""}, "bearer"),
    Useless("token_type a number", {"access_token": "t", "token_type": 1}, "bearer: no string;"),
]


@pytest.mark.parametrize("row", USELESS, ids=lambda row: row.name)
def test_a_success_without_a_usable_token_says_what_is_wrong(row: Useless) -> None:
    body = row.body if isinstance(row.body, bytes) else json.dumps(row.body).encode()
    outcome = read(Response(200, Headers({"content-type": row.content_type}), body))
    assert isinstance(outcome, Refused)
    assert isinstance(outcome.error, TokenError)
    assert row.said in str(outcome.error)
    assert str(outcome.error).startswith("pbx.example.com answered the login of App ID 'app' with")
    assert (outcome.error.status_code, outcome.error.error) == (200, "")
    assert outcome.garbled is row.garbled


@pytest.mark.parametrize("status", [200, 401])
def test_a_refusal_quotes_the_servers_description(status: int) -> None:
    # RFC 6749, 5.2, with a description.
    body = {"error": "invalid_client", "error_description": "Unknown\r\n  client"}
    error = refused_by_oauth(answer(status, body))
    assert (error.error, error.error_description) == ("invalid_client", "Unknown client")
    assert error.status_code == status
    assert str(error).startswith(
        f"pbx.example.com refused App ID 'app' with {status}, invalid_client: Unknown client; check"
    )


@pytest.mark.parametrize("status", [200, 400, 401, 402, 403, 404, 405, 413, 415, 422, 425, 451])
@pytest.mark.parametrize(
    "word",
    [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "access_denied",
        "a_word_of_its_own",
    ],
)
def test_an_oauth_error_is_a_refusal_with_any_code_below_500(status: int, word: str) -> None:
    outcome = read(answer(status, {"error": word, "access_token": "t"}))
    assert isinstance(outcome, Refused)
    assert isinstance(outcome.error, TokenError)
    assert (outcome.error.error, outcome.error.status_code) == (word, status)
    assert not outcome.garbled


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>not found",
        b"[]",
        {"detail": "no"},
        {"error": {"message": "nested"}},
        {"error": 12},
        {"error": ""},
        {"error": None, "error_description": 5},
    ],
)
@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_4xx_without_an_oauth_error_is_a_refusal(status: int, body: object) -> None:
    error = refused_by_oauth(answer(status, body))
    assert (error.error, error.error_description) == ("", None)
    assert f"refused App ID 'app' with {status};" in str(error)


def test_an_error_in_the_apis_own_format_is_quoted() -> None:
    error = refused_by_oauth(answer(403, {"status": "user_blocked", "message": "User is blocked"}))
    assert error.error_description == "User is blocked"


def test_a_refusal_of_a_form_without_an_app_id_names_none() -> None:
    error = refused(answer(400), LoginForm({"grant_type": "x"}))
    assert "refused the login with 400" in str(error)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_is_a_refusal_that_names_only_the_other_origin(status: int) -> None:
    location = f"https://user:pw@elsewhere.example/path?client_secret={quote(SECRET)}"
    error = refused_by_oauth(answer(status, location=location))
    assert error.status_code == status
    assert str(error).startswith(
        f"pbx.example.com answered the login of App ID 'app' with {status}, a redirect to"
        " https://elsewhere.example; it is not followed"
    )
    assert_keeps(told_by(error), SECRET, "user", "/path")


@pytest.mark.parametrize("location", [None, "", "/other/path", "https://[bad", "\ud800"])
def test_a_redirect_without_a_valid_location_is_a_refusal(location: str | None) -> None:
    headers = {} if location is None else {"location": location}
    assert "a redirect; it is not followed" in str(refused_by_oauth(answer(302, **headers)))


@pytest.mark.parametrize("status", [101, 199])
def test_an_answer_of_1xx_is_a_refusal(status: int) -> None:
    assert refused_by_oauth(answer(status)).status_code == status


@pytest.mark.parametrize(
    ("status", "kind"),
    [(408, ApiError), (429, Busy), (500, ServerError), (503, ServerError), (599, ServerError)],
)
def test_a_temporary_failure_is_no_refusal(status: int, kind: type[ApiError]) -> None:
    body = {"error": "temporarily_unavailable", "error_description": "Back at 12:00"}
    headers = {"retry-after": "7", "date": "today", "x-other": "y"}
    outcome = read(answer(status, body, **headers))
    assert isinstance(outcome, Refused)
    error = outcome.error
    assert type(error) is kind
    assert isinstance(error, ApiError)
    assert (error.status_code, error.message) == (status, "Back at 12:00")
    assert dict(error.headers) == {"retry-after": "7", "date": "today"}
    assert not outcome.garbled


def test_a_temporary_failure_quotes_the_message_before_the_description() -> None:
    body = {"message": "Back at 12:00", "error_description": "no"}
    error = refused(answer(503, body))
    assert isinstance(error, ApiError)
    assert error.message == "Back at 12:00"


def test_the_page_of_a_temporary_failure_is_not_kept() -> None:
    error = refused(answer(503, b"<html>the whole form"))
    assert isinstance(error, ApiError)
    assert error.body == b""


def test_a_429_of_the_token_endpoint_is_never_the_hourly_quota() -> None:
    body = {"status": "rate_limit_exceeded", "message": "slow down"}
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "3000"}
    assert type(refused(answer(429, body, **headers))) is Busy


ECHOES = {
    "as it is": SECRET,
    "quoted for a form": quote_plus(SECRET),
    "quoted for a path": quote(SECRET),
    "quoted throughout": quote(SECRET, safe=""),
    "quoted in lower case": quote(SECRET, safe="").lower(),
    "quoted twice": quote(quote(SECRET, safe=""), safe=""),
    "quoted for a form twice": quote_plus(quote_plus(SECRET)),
    "quoted twice, but for the plus": quote(quote(SECRET, safe="+"), safe="+"),
    "escaped for HTML": html.escape(SECRET),
}


@pytest.mark.parametrize("status", [200, 302, 400, 401, 404, 408, 429, 500, 503])
@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES.keys())
def test_a_secret_that_the_server_repeats_is_masked(status: int, echo: str) -> None:
    body = {
        "error": f"bad {echo}",
        "error_description": f"the secret {echo} is wrong",
        "message": f"wrong: {echo}",
    }
    headers = {"location": f"https://{quote(echo)}.example/", "retry-after": echo, "x-echo": echo}
    for response in (answer(status, body, **headers), answer(status, echo.encode(), **headers)):
        error = refused(response)
        text = told_by(error)
        assert_keeps(text, SECRET)
        assert not any(form in text for form in ECHOES.values())


def test_a_repeated_secret_is_masked_and_the_rest_of_the_sentence_stays() -> None:
    body = {"error": "invalid_client", "error_description": f"secret '{SECRET}' is wrong"}
    assert refused_by_oauth(answer(401, body)).error_description == "secret '***' is wrong"


@pytest.mark.parametrize("longer", ["hush-1", "a-hush-b", "zz-hush"])
def test_a_secret_that_contains_another_is_masked_whole(longer: str) -> None:
    form = LoginForm({"client_secret": "hush", "password": longer})
    assert form.redact(f"'{longer}' and 'hush'") == "'***' and '***'"


@pytest.mark.parametrize("secret", ["a", "ab", "abc"])
def test_a_short_secret_is_masked_where_it_is_a_whole_word(secret: str) -> None:
    form = LoginForm({"client_secret": secret})
    text = "an abstract abc_, about: {}"
    assert form.redact(text.format(f"secret={secret}&x")).endswith("about: secret=***&x")
    assert form.redact(text.format("abcd")).startswith("an abstract ")
    assert form.redact(text.format(f"%{ord(secret[0]):02x}{secret[1:]}")) == "***"


def test_a_secret_of_four_characters_is_masked_everywhere() -> None:
    assert LoginForm({"password": "hu5h"}).redact("bahu5hka") == "ba***ka"


def test_a_secret_that_is_a_common_word_is_not_masked_in_the_description() -> None:
    form = LoginForm({"client_id": "app", "client_secret": "wrong"})
    body = {"error": "invalid_client", "error_description": "The App Secret is wrong."}
    error = read_answer(answer(401, body), form, host="pbx.example.com", sent_at=SENT_AT)
    assert isinstance(error, Refused)
    assert error.error.reason.endswith("invalid_client: The App Secret is wrong.")


def test_public_parameters_are_not_masked() -> None:
    fields = dict.fromkeys(["grant_type", "client_id", "scope", "username", "redirect_uri"], "word")
    assert LoginForm(fields | {"password": ""}).redact("a word") == "a word"


def test_a_text_too_long_to_search_is_masked_whole() -> None:
    form = LoginForm({"password": "hush"})
    assert form.redact("x" * 10_000) == "x" * 10_000
    assert form.redact("x" * 10_001) == "***"


def test_a_long_description_is_truncated() -> None:
    body = {"error": "e" * 500, "error_description": "d" * 500}
    error = refused_by_oauth(answer(400, body))
    assert len(error.error) <= 60
    assert len(error.error_description or "") <= 200
    assert "\n" not in str(error)


def test_the_repr_of_a_form_shows_no_value() -> None:
    assert repr(FORM) == "LoginForm()"


def test_a_form_is_encoded_like_an_html_form() -> None:
    assert FORM.encode() == (
        b"grant_type=client_credentials&client_id=app&client_secret=p%26ss%2Fw%C3%B6rd+%2B1"
    )


def test_a_lone_surrogate_in_a_form_is_replaced() -> None:
    assert LoginForm({"password": "a\ud800b"}).encode() == b"password=a%3Fb"


texts = st.text('a9 .-\n\x00é€\U0001f600\ud800%&+<"\\')
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(
    ["access_token", "token_type", "expires_in", "refresh_token", "error", "error_description"]
)


@settings(deadline=None)
@given(st.integers(100, 599), st.dictionaries(names, json_values))
def test_any_json_is_a_token_or_an_error(status: int, body: dict[str, object]) -> None:
    assert isinstance(read(answer(status, body)), Token | Refused)


@settings(deadline=None)
@given(st.integers(100, 599), st.binary(), st.dictionaries(st.sampled_from(["location"]), texts))
def test_any_bytes_are_an_error(status: int, body: bytes, headers: dict[str, str]) -> None:
    assert isinstance(read(Response(status, Headers(headers), body)), Refused)
