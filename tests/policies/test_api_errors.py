"""The error class of an answer (API page, section 4)."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringme_async._internal.redaction import contains_secret, masked, masked_bytes, without
from ringme_async.errors import (
    AccessDenied,
    ApiError,
    AppAccessTypeDenied,
    BadRequest,
    Busy,
    ClientNotFound,
    Forbidden,
    NotFound,
    RateLimited,
    ServerError,
    Unauthorized,
    UserAccessTypeDenied,
    UserBlocked,
)
from ringme_async.policies.api_errors import api_error_from, is_success
from ringme_async.policies.rate_limit_headers import reset_after
from ringme_async.transports import Response


def answer(code: int, status: str | None = None, **headers: str) -> Response:
    said = {"message": "so it is"} | ({} if status is None else {"status": status})
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(code, fields, json.dumps(said).encode())


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (400, "anything", BadRequest),
        (401, None, Unauthorized),
        (403, "access_denied", AccessDenied),
        (403, "user_blocked", UserBlocked),
        (403, "user_access_type_deny", UserAccessTypeDenied),
        (403, "app_access_type_deny", AppAccessTypeDenied),
        (403, "something_new", Forbidden),
        (403, None, Forbidden),
        (404, None, NotFound),
        (404, "client_not_found", ClientNotFound),
        (408, None, ApiError),
        (429, "rate_limit_exceeded", RateLimited),
        (429, None, Busy),
        (500, None, ServerError),
        (503, "whatever", ServerError),
        (599, None, ServerError),
        (307, None, ApiError),
        (418, None, ApiError),
    ],
)
def test_code_and_status_choose_the_class(
    code: int, status: str | None, kind: type[ApiError]
) -> None:
    error = api_error_from(answer(code, status))

    assert type(error) is kind
    assert (error.status_code, error.status, error.message) == (code, status, "so it is")


@pytest.mark.parametrize(
    "body",
    [
        b"<html><h1>502 Bad Gateway</h1></html>",
        b"",
        b'{"message": "cut o',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'"text"',
        b'{"message": 5, "status": []}',
        b"9" * 5000,
    ],
)
@pytest.mark.parametrize(("code", "kind"), [(403, Forbidden), (404, NotFound), (502, ServerError)])
def test_a_useless_body_still_gives_the_right_class(
    body: bytes, code: int, kind: type[ApiError]
) -> None:
    error = api_error_from(Response(code, {}, body))

    assert type(error) is kind
    assert error.body == body
    assert (error.status, error.message) == (None, None)


def test_a_status_without_a_message_is_kept() -> None:
    error = api_error_from(Response(403, {}, b'{"status": "user_blocked"}'))

    assert (type(error), error.status, error.message) == (UserBlocked, "user_blocked", None)


def test_a_429_without_status_and_with_nothing_remaining_is_the_hourly_limit() -> None:
    assert type(api_error_from(answer(429, x_ratelimit_remaining="0"))) is RateLimited


def test_a_429_with_something_remaining_is_a_busy_server() -> None:
    assert type(api_error_from(answer(429, x_ratelimit_remaining="7"))) is Busy


def test_the_hourly_limit_carries_its_reset() -> None:
    error = api_error_from(answer(429, "rate_limit_exceeded", x_ratelimit_reset="1234"))

    assert isinstance(error, RateLimited)
    assert error.reset_after == 1234.0


@pytest.mark.parametrize("value", ["", "soon", "-5", "nan", "1.5", "\u0661", "999999", "9" * 400])
def test_a_reset_that_is_no_whole_number_within_a_day_counts_as_a_minute(value: str) -> None:
    assert reset_after({"x-ratelimit-reset": value}) == 60.0


def test_a_missing_reset_counts_as_a_minute() -> None:
    assert reset_after({}) == 60.0


def test_the_message_quotes_code_status_and_what_the_server_said() -> None:
    assert "403 Forbidden (user_blocked): so it is" in str(
        api_error_from(answer(403, "user_blocked"))
    )


def test_a_code_without_a_name_is_shown_bare() -> None:
    assert str(api_error_from(Response(599))) == "599"


def test_a_redirect_error_says_that_it_is_not_followed() -> None:
    assert "not followed" in str(
        api_error_from(Response(302, {"location": "https://evil.example/"}))
    )


def test_a_message_of_many_lines_becomes_one_bounded_line() -> None:
    body = json.dumps({"message": "a\nb\n" + "x" * 10_000}).encode()

    text = str(api_error_from(Response(400, {}, body)))

    assert "\n" not in text
    assert len(text) < 300


def test_a_secret_that_the_server_echoes_is_nowhere_in_the_error() -> None:
    body = b'{"message": "token s3cret is bad"}'
    headers = {"X-Echo": "Bearer s3cret", "Set-Cookie": "session=s3cret"}

    error = api_error_from(Response(401, headers, body), secrets=("s3cret",))

    assert "s3cret" not in f"{error!s}{error!r}{vars(error)}"
    assert error.message == "token *** is bad"


@pytest.mark.parametrize(
    ("code", "verdict"), [(199, False), (200, True), (204, True), (300, False)]
)
def test_success_is_2xx(code: int, verdict: bool) -> None:
    assert is_success(Response(code)) is verdict


@pytest.mark.parametrize(
    "echo", [b'{"message": "bad: a\\/b+c"}', b"<p>a/b+c</p>", b"a%2Fb%2Bc", b"a/b%2Bc"]
)
def test_a_secret_is_masked_in_every_spelling_of_an_echo(echo: bytes) -> None:
    error = api_error_from(Response(403, {"Location": "/?t=a%2Fb%2Bc"}, echo), secrets=("a/b+c",))

    shown = f"{error}{vars(error)}"
    assert "a/b+c" not in shown
    assert "a%2Fb" not in shown
    assert "b%2Bc" not in shown


@pytest.mark.parametrize("secret", ["x", "E", "id", "abc"])
def test_a_secret_of_a_few_letters_leaves_other_words_readable(secret: str) -> None:
    said = "Expecting the idle abcd of index six"
    body = json.dumps({"message": f"{said}: {secret}"}).encode()

    error = api_error_from(Response(400, {"X-Echo": f"Bearer {secret}"}, body), secrets=(secret,))

    assert error.message == f"{said}: ***"
    assert error.headers == {"x-echo": "Bearer ***"}
    assert error.body == json.dumps({"message": f"{said}: ***"}).encode()


def test_a_secret_of_four_letters_is_masked_inside_of_words_too() -> None:
    error = api_error_from(Response(400, {}, b"xhushx"), secrets=("hush",))

    assert error.body == b"x***x"


@pytest.mark.parametrize(("text", "verdict"), [("a/b", True), ("a%2Fb", True), ("ab", False)])
def test_a_secret_is_found_in_any_spelling(text: str, verdict: bool) -> None:
    assert contains_secret(f"it is {text}", ("a/b",)) is verdict


def test_a_secret_that_looks_like_a_mask_is_masked_once() -> None:
    assert masked("a * b", ("*",)) == "a *** b"


def test_a_body_keeps_every_byte_that_is_no_secret() -> None:
    rest = bytes(range(256))

    assert masked_bytes(rest + b"t0ken" + rest, ("t0ken",)) == rest + b"***" + rest


def test_a_cookie_is_no_part_of_an_error() -> None:
    response = Response(404, {"Set-Cookie": "session=s3cret", "Date": "today"}, b"")
    error = api_error_from(response)
    assert dict(error.headers) == {"date": "today"}


def test_a_used_up_quota_error_keeps_all_of_the_answer() -> None:
    body = b'{"status": "rate_limit_exceeded", "message": "so it is"}'
    error = api_error_from(Response(429, {"X-RateLimit-Reset": "7", "Date": "today"}, body))
    assert isinstance(error, RateLimited)
    assert error.reason == "429 Too Many Requests (rate_limit_exceeded): so it is"
    assert (error.status_code, error.status, error.message) == (
        429,
        "rate_limit_exceeded",
        "so it is",
    )
    assert dict(error.headers) == {"x-ratelimit-reset": "7", "date": "today"}
    assert error.body == body


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("86400", 86_400.0), ("086400", 86_400.0), ("0000005", 60.0), ("86401", 60.0)],
)
def test_a_reset_is_valid_up_to_a_day_in_six_digits(value: str, seconds: float) -> None:
    assert reset_after({"x-ratelimit-reset": value}) == seconds


WORDS = [
    "wrong",
    "secret",
    "is",
    "a",
    "invalid_client",
    "Forbidden",
    "the-end",
    "\u043d\u0435\u0442",
]
SENTENCES = [
    "The App Secret is {}",
    "{} App Secret",
    "that is {}, try again",
    "a {}. Another one",
    "Unauthorized ({}): it does not match",
    "{}ly",
    "un{}",
]


@given(word=st.sampled_from(WORDS), sentence=st.sampled_from(SENTENCES))
def test_a_secret_that_is_a_word_leaves_sentences_readable(word: str, sentence: str) -> None:
    text = sentence.format(word)
    assert without(word, text) == text


@pytest.mark.parametrize(
    "place",
    [
        "the secret '{}' is bad",
        'the secret "{}" is bad',
        r"{{\"client_secret\": \"{}\"}}",
        "\u00ab{}\u00bb is bad",
        "client_secret={}&grant_type=x",
        "client_secret={}",
        "secret = {} is bad",
        "password: {} is bad",
        "not known: {}",
        "postgresql://me:{}@host/db",
        "Authorization: Bearer {}",
        "bearer {} is bad",
        "{}",
    ],
)
@pytest.mark.parametrize("word", [word for word in WORDS if word.isascii()])
def test_a_secret_that_is_a_word_is_masked_where_a_secret_is_expected(
    place: str, word: str
) -> None:
    assert without(word, place.format(word)) == place.format("***")


@given(
    secret=st.from_regex(r"[A-Za-z0-9_/+-]{16,40}", fullmatch=True),
    before=st.text(),
    after=st.text(),
)
def test_a_long_secret_never_survives(secret: str, before: str, after: str) -> None:
    for spelling in (secret, quote(secret, safe=""), secret.replace("/", "\\/")):
        assert secret not in masked(before + spelling + after, (secret,))
    assert secret not in without(secret, before + secret + after)
