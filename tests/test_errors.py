"""Messages, attributes, pickling and copies of every error."""

from __future__ import annotations

import copy
import pickle

import pytest

from ringme_async import errors
from ringme_async.errors import (
    ApiError,
    ClientNotFound,
    ConnectError,
    DecodeError,
    InvalidRequest,
    NotFound,
    RateLimited,
    ResponseLost,
    RingMeError,
    TokenError,
    duration,
    one_line,
)

ALL_ERRORS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, RingMeError)
]


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_every_error_survives_pickling(kind: type[RingMeError]) -> None:
    error = kind("it broke", client_id="12", attempts=3, maybe_applied=True)

    twin = pickle.loads(pickle.dumps(error))

    assert type(twin) is kind
    assert vars(twin) == vars(error)
    assert str(twin) == str(error)


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_every_error_is_one_line_with_the_client_and_the_attempts(kind: type[RingMeError]) -> None:
    text = str(kind("it broke", client_id="12", attempts=3))

    assert text.startswith("client 12: it broke (tried 3 times)")
    assert "\n" not in text


def test_special_attributes_survive_pickling() -> None:
    error = RateLimited("used up", reset_after=17.0, status="rate_limit_exceeded", body=b"{}")

    twin = pickle.loads(pickle.dumps(error))

    assert (twin.reset_after, twin.status, twin.body) == (17.0, "rate_limit_exceeded", b"{}")


def test_an_error_can_be_copied() -> None:
    error = TokenError("no", error="invalid_client", status_code=401)

    assert vars(copy.copy(error)) == vars(error)


def test_a_message_says_that_a_change_may_have_been_applied() -> None:
    assert "may have been applied" in str(ResponseLost("cut off", maybe_applied=True))


def test_a_message_without_a_client_begins_with_the_reason() -> None:
    assert str(ResponseLost("cut off")) == "cut off"


def test_a_message_ends_with_the_next_step_if_there_is_one() -> None:
    used_up = RateLimited("used up", reset_after=725)
    assert str(used_up) == 'used up; try again in 12 min 5 s, or pass on_quota="wait"'


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.2, "1 s"),
        (59.5, "1 min"),
        (725, "12 min 5 s"),
        (3600, "1 h"),
        (3605, "1 h 5 s"),
        (86_400, "24 h"),
    ],
)
def test_a_duration_is_written_in_words_and_rounded_up(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("error", "next_step"),
    [
        (TokenError("no", error="invalid_client", status_code=404), TokenError.advice),
        (TokenError("no", status_code=400), TokenError.advice),
        (TokenError("no", status_code=401), TokenError.advice),
        (TokenError("no", status_code=403), TokenError.advice),
        (TokenError("no, says the vault"), TokenError.advice),
        (TokenError("no", status_code=404), TokenError.advice_on_stranger),
        (TokenError("no", status_code=200), TokenError.advice_on_stranger),
        (TokenError("no", status_code=301), TokenError.advice_on_stranger),
        (DecodeError("no", field="id"), DecodeError.advice),
        (DecodeError("no"), DecodeError.advice_on_whole),
        (NotFound("no"), NotFound.advice),
        (ConnectError("no"), ConnectError.advice),
        (
            ConnectError(
                "no connection to pbx:80: [SSL: RECORD_LAYER_FAILURE] record layer failure"
            ),
            ConnectError.advice_on_plain_port,
        ),
    ],
    ids=str,
)
def test_the_next_step_fits_the_answer(error: RingMeError, next_step: str) -> None:
    assert str(error) == f"{error.reason}; {next_step}"


def test_an_unknown_client_needs_no_next_step() -> None:
    assert str(ClientNotFound("There is no client with this id.", client_id="5")) == (
        "client 5: There is no client with this id"
    )


def test_a_repr_names_the_class() -> None:
    assert repr(ResponseLost("cut off")) == "<ResponseLost: cut off>"


def test_an_invalid_request_is_a_value_error() -> None:
    assert issubclass(InvalidRequest, ValueError)


def test_a_failed_connection_sent_nothing() -> None:
    assert ConnectError("refused").sent is False


def test_a_transport_error_counts_as_sent_by_default() -> None:
    assert ResponseLost("cut off").sent is True


def test_a_decode_error_keeps_the_field_and_the_value() -> None:
    error = DecodeError("id is not an integer", field="id", value=None, body=b"{}")

    assert (error.field, error.value, error.body) == ("id", None, b"{}")


def test_an_api_error_copies_the_headers() -> None:
    headers = {"date": "today"}
    error = ApiError("no", headers=headers)

    headers.clear()

    assert error.headers == {"date": "today"}


def test_foreign_text_is_folded_into_one_line() -> None:
    assert one_line("a\r\n  b\tc") == "a b c"


def test_unprintable_characters_of_foreign_text_are_replaced() -> None:
    assert one_line("a\x1b[31mb\u202e") == "a\ufffd[31mb\ufffd"


def test_foreign_text_is_truncated() -> None:
    assert one_line("x" * 1000, 10) == "xxxxxxxxx\u2026"
