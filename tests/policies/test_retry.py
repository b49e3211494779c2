"""RetryPolicy: which failures are tried again, and after which wait."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringme_async.errors import (
    AccessDenied,
    ApiError,
    BadRequest,
    Busy,
    CertificateError,
    ClientNotFound,
    ConnectError,
    DeadlineExceeded,
    DecodeError,
    InvalidRequest,
    NotFound,
    RateLimited,
    ResponseLost,
    ResponseTooLarge,
    ServerError,
    TokenError,
    TransportError,
    TransportTimeout,
    Unauthorized,
)
from ringme_async.policies.retry import RetryPolicy

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)

HEALED_BY_REPETITION = [
    ConnectError("no route"),
    TransportTimeout("too slow"),
    TransportTimeout("too slow to connect", sent=False),
    ResponseLost("reset"),
    TransportError("something else"),
    ApiError("408", status_code=408),
    Busy("busy", status_code=429),
    *(ServerError(str(code), status_code=code) for code in (500, 502, 503, 504)),
    DecodeError("no JSON at all", garbled=True),
]

NOT_HEALED = [
    ResponseTooLarge("300 MB"),
    CertificateError("expired"),
    ResponseTooLarge("300 MB", sent=False),
    BadRequest("400", status_code=400),
    Unauthorized("401", status_code=401),
    AccessDenied("403", status_code=403),
    NotFound("404", status_code=404),
    ClientNotFound("404", status_code=404),
    ApiError("302", status_code=302),
    ApiError("409", status_code=409),
    RateLimited("429", status_code=429),
    *(ServerError(str(code), status_code=code) for code in (501, 505, 507, 511, 520)),
    DecodeError("id is null", field="id"),
    DecodeError("a record must be a JSON object, not []"),
    TokenError("invalid_client"),
    DeadlineExceeded("too late"),
    InvalidRequest("never right"),
    ValueError("a bug"),
]

SURELY_NOT_CARRIED_OUT = [
    ConnectError("refused"),
    TransportTimeout("too slow to connect", sent=False),
    ResponseLost("reset before the first byte", sent=False),
    Busy("busy", status_code=429),
]


def name_of(error: BaseException) -> str:
    return f"{type(error).__name__}-{error.args[0]}"


def unhurried(*, attempts: int = 4, base: float = 0.5, cap: float = 20.0) -> RetryPolicy:
    """A policy whose jitter always comes out at its most."""
    return RetryPolicy(attempts=attempts, base=base, cap=cap, random=lambda: 1.0)


class TestRetryable:
    @pytest.mark.parametrize("error", HEALED_BY_REPETITION, ids=name_of)
    def test_an_idempotent_request_is_repeated_after(self, error: BaseException) -> None:
        assert RetryPolicy().retryable(error, idempotent=True)

    @pytest.mark.parametrize("error", NOT_HEALED, ids=name_of)
    def test_nothing_is_repeated_after(self, error: BaseException) -> None:
        assert RetryPolicy().retryable(error, idempotent=True) is False
        assert RetryPolicy().retryable(error, idempotent=False) is False

    @pytest.mark.parametrize("error", SURELY_NOT_CARRIED_OUT, ids=name_of)
    def test_a_request_that_was_surely_not_applied_is_repeated(self, error: BaseException) -> None:
        assert RetryPolicy().retryable(error, idempotent=False)

    @pytest.mark.parametrize(
        "error",
        [
            TransportTimeout("too slow"),
            ResponseLost("reset"),
            ConnectError("a connection that was used before", sent=True),
            ApiError("408", status_code=408),
            ServerError("503", status_code=503),
            DecodeError("no JSON at all", garbled=True),
        ],
        ids=name_of,
    )
    def test_a_request_that_may_be_applied_is_repeated_only_if_idempotent(
        self, error: BaseException
    ) -> None:
        assert not RetryPolicy().retryable(error, idempotent=False)


class TestDelay:
    def test_doubles_with_every_retry(self) -> None:
        policy = unhurried()
        waits = [policy.delay(ResponseLost("reset"), retry=retry) for retry in range(1, 6)]
        assert waits == [0.5, 1, 2, 4, 8]

    def test_never_passes_the_cap(self) -> None:
        policy = unhurried(cap=3)
        waits = [policy.delay(ResponseLost("reset"), retry=retry) for retry in range(1, 6)]
        assert waits == [0.5, 1, 2, 3, 3]

    def test_a_cap_below_the_base_holds_from_the_first_retry(self) -> None:
        assert unhurried(base=5, cap=2).delay(ResponseLost("reset"), retry=1) == 2

    @pytest.mark.parametrize("retry", [1_000, 1_024, 10_000, 10**9])
    def test_does_not_overflow(self, retry: int) -> None:
        assert unhurried().delay(ResponseLost("reset"), retry=retry) == 20

    def test_full_jitter_reaches_down_to_0(self) -> None:
        draws = iter([0.0, 0.25, 1.0])
        policy = RetryPolicy(random=lambda: next(draws))
        waits = [policy.delay(ResponseLost("reset"), retry=3) for _ in range(3)]
        assert waits == [0.0, 0.5, 2.0]

    def test_is_drawn_anew_each_time(self) -> None:
        waits = {RetryPolicy().delay(ResponseLost("reset"), retry=6) for _ in range(20)}
        assert len(waits) > 1

    def test_without_a_base_there_is_no_wait(self) -> None:
        assert unhurried(base=0).delay(ResponseLost("reset"), retry=7) == 0

    def test_the_server_s_wait_comes_first_and_the_jitter_on_top(self) -> None:
        error = ServerError("503", status_code=503, headers={"retry-after": "7"})
        draws = iter([0.0, 1.0])
        policy = RetryPolicy(random=lambda: next(draws))
        assert [policy.delay(error, retry=2) for _ in range(2)] == [7.0, 8.0]

    def test_a_server_may_ask_for_more_than_the_cap(self) -> None:
        error = Busy("busy", status_code=429, headers={"Retry-After": "120"})
        assert unhurried(cap=1).delay(error, retry=9) == 121

    def test_nonsense_in_retry_after_changes_nothing(self) -> None:
        error = ServerError("503", status_code=503, headers={"retry-after": "nan"})
        assert unhurried().delay(error, retry=1) == 0.5

    def test_a_date_counts_from_the_given_clock(self) -> None:
        until = {"retry-after": "Mon, 23 Nov 2026 12:00:30 GMT"}
        error = ServerError("503", status_code=503, headers=until)
        assert unhurried(base=0).delay(error, retry=1, now=lambda: NOON) == 30
        assert unhurried(base=0).delay(error, retry=1, now=NOON) == 30

    @given(
        draw=st.floats(0, 1),
        retry=st.integers(1, 10_000),
        base=st.floats(0, 86_400),
        cap=st.floats(0, 86_400),
        asked=st.none() | st.integers(0, 86_400),
    )
    def test_lies_between_retry_after_and_retry_after_plus_the_cap(
        self, draw: float, retry: int, base: float, cap: float, asked: int | None
    ) -> None:
        headers = {} if asked is None else {"retry-after": str(asked)}
        error = ServerError("503", status_code=503, headers=headers)
        policy = RetryPolicy(base=base, cap=cap, random=lambda: draw)
        least = asked or 0
        assert least <= policy.delay(error, retry=retry, now=NOON) <= least + cap


class TestValidation:
    def test_defaults_are_four_attempts_half_a_second_and_twenty(self) -> None:
        policy = RetryPolicy()
        assert (policy.attempts, policy.base, policy.cap) == (4, 0.5, 20.0)

    @pytest.mark.parametrize("attempts", [0, -1, True, 1.0, 2.5, math.nan, math.inf, "4", None])
    def test_attempts_is_a_whole_number_from_1(self, attempts: object) -> None:
        with pytest.raises(InvalidRequest, match="attempts"):
            RetryPolicy(attempts=attempts)  # type: ignore[arg-type]

    @pytest.mark.parametrize("name", ["base", "cap"])
    @pytest.mark.parametrize(
        "seconds", [-0.1, True, False, math.nan, math.inf, -math.inf, 86_400.5, "1", None]
    )
    def test_times_are_seconds_from_0_to_a_day(self, name: str, seconds: object) -> None:
        with pytest.raises(InvalidRequest, match=name):
            RetryPolicy(**{name: seconds})  # type: ignore[arg-type]

    def test_random_is_a_function(self) -> None:
        with pytest.raises(InvalidRequest, match="random"):
            RetryPolicy(random=0.5)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "outermost",
        [{"attempts": 1}, {"base": 0}, {"cap": 0.0}, {"base": 86_400.0}, {"cap": 86_400}],
    )
    def test_the_least_and_the_largest_values_are_fine(self, outermost: dict[str, int]) -> None:
        RetryPolicy(**outermost)  # type: ignore[arg-type]

    def test_policies_compare_and_show_without_random(self) -> None:
        assert RetryPolicy(random=lambda: 0.0) == RetryPolicy(random=lambda: 1.0)
        assert repr(RetryPolicy()) == "RetryPolicy(attempts=4, base=0.5, cap=20.0)"

    def test_a_policy_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            RetryPolicy().attempts = 9  # type: ignore[misc]
