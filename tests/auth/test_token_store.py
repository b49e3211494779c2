"""The token store: one login for each key, renewed in time, bounded."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from attrs import field, frozen

from ringme_async.auth import (
    BearerToken,
    ClientCredentials,
    RefreshToken,
    Token,
    TokenEndpoint,
    TokenHost,
    TokenKey,
    TokenStore,
)
from ringme_async.errors import (
    ConnectError,
    InvalidRequest,
    RingMeClosed,
    ServerError,
    TokenError,
    TransportError,
)
from tests.auth.exposure import assert_keeps, told_by
from tests.auth.hosts import (
    KEY,
    ORIGIN,
    Host,
    PendingAnswers,
    answer,
    endpoint_over,
    key_of,
    most_in_a_second,
    script,
    settle,
    token_answer,
)

pytestmark = pytest.mark.jumping


def now() -> float:
    return asyncio.get_running_loop().time()


def store_without_jitter(**parts: object) -> TokenStore:
    return TokenStore(random=lambda: 1.0, **parts)  # type: ignore[arg-type]


@pytest.mark.parametrize("capacity", [0, -1, 1.5, True, "x", None])
def test_a_capacity_that_is_no_whole_number_above_0_is_refused(capacity: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^capacity must be a whole number from 1 up"):
        TokenStore(capacity=capacity)


@pytest.mark.parametrize(
    "margin", [-1.0, float("nan"), float("inf"), "30", True, None, 10**400], ids=repr
)
def test_a_malformed_margin_is_refused(margin: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^margin must be a number of seconds from 0 up"):
        TokenStore(margin=margin)


def test_a_margin_of_0_and_a_capacity_of_1_are_valid() -> None:
    assert len(TokenStore(margin=0, capacity=1)) == 0


async def test_fifty_calls_with_a_cold_store_make_one_token_request() -> None:
    host = Host(seconds=1.0)
    endpoint, store = endpoint_over(host), TokenStore()
    tokens = await asyncio.gather(*(store.get(KEY, endpoint) for _ in range(50)))
    assert len(host.requests) == 1
    assert len(set(map(id, tokens))) == 1
    assert store.ready(KEY) is tokens[0]


async def test_a_hundred_and_twenty_tenants_log_in_once_each_within_the_limit() -> None:
    host = Host(seconds=0.4)
    endpoint, store = endpoint_over(host), TokenStore()
    keys = [key_of(number) for number in range(120)]
    calls = [store.get(key, endpoint) for _ in range(3) for key in keys]
    await asyncio.gather(*calls)
    assert len(host.logins) == len(host.requests) == 120
    assert host.peak == 6
    assert most_in_a_second(host.starts) <= 19


async def test_a_bad_secret_in_a_hundred_and_fifty_calls_makes_one_token_request() -> None:
    host = Host(script(answer(401, {"error": "invalid_client"})), seconds=0.2)
    endpoint, store = endpoint_over(host), TokenStore()
    errors: list[BaseException] = []

    async def worker() -> None:
        for _ in range(15):
            with pytest.raises(TokenError) as caught:
                await store.get(KEY, endpoint)
            errors.append(caught.value)
            await asyncio.sleep(1)

    await asyncio.gather(*(worker() for _ in range(10)))
    assert len(host.requests) == 1
    assert len(set(map(id, errors))) == 150


async def test_a_remembered_refusal_counts_no_attempt() -> None:
    host = Host(script(answer(401, {"error": "invalid_client"})))
    endpoint, store = endpoint_over(host), TokenStore()
    counts: list[int] = []
    for _ in range(3):
        with pytest.raises(TokenError) as caught:
            await store.get(KEY, endpoint)
        counts.append(caught.value.attempts)
    assert counts == [1, 0, 0]


async def test_a_refusal_is_forgotten_after_a_minute() -> None:
    host = Host(script(answer(401, {"error": "invalid_client"}), token_answer("t")))
    endpoint, store = endpoint_over(host), TokenStore()
    with pytest.raises(TokenError):
        await store.get(KEY, endpoint)
    await asyncio.sleep(59.9)
    with pytest.raises(TokenError):
        await store.get(KEY, endpoint)
    await asyncio.sleep(0.1)
    assert (await store.get(KEY, endpoint)).value == "t"
    assert len(host.requests) == 2


async def test_the_refusal_of_once_good_credentials_is_remembered() -> None:
    host = Host(script(token_answer("t"), answer(401, {"error": "invalid_client"})))
    endpoint, store = endpoint_over(host), TokenStore()
    store.drop(KEY, await store.get(KEY, endpoint))
    for _ in range(3):
        with pytest.raises(TokenError):
            await store.get(KEY, endpoint)
    assert len(host.requests) == 2


async def test_a_refusal_of_one_key_does_not_affect_another() -> None:
    host = Host(script(answer(401, {"error": "invalid_client"}), token_answer("t")))
    endpoint, store = endpoint_over(host), TokenStore()
    with pytest.raises(TokenError):
        await store.get(KEY, endpoint)
    assert (await store.get(key_of(2), endpoint)).value == "t"


@pytest.mark.parametrize(
    ("failure", "kind"), [(ConnectError("refused"), ConnectError), (answer(503), ServerError)]
)
async def test_a_temporary_failure_is_not_remembered(
    failure: object, kind: type[Exception]
) -> None:
    host = Host(script(*[failure] * 4, token_answer("t")))  # type: ignore[list-item]
    endpoint, store = endpoint_over(host), TokenStore()
    with pytest.raises(kind):
        await store.get(KEY, endpoint)
    assert (await store.get(KEY, endpoint)).value == "t"


async def test_a_token_never_crosses_an_origin() -> None:
    host = Host()
    endpoint, store = endpoint_over(host), TokenStore()
    await store.get(key_of(1, "https://a.example"), endpoint)
    assert store.ready(key_of(1, "https://b.example")) is None
    await store.get(key_of(1, "https://b.example"), endpoint)
    assert [request.url for request in host.requests] == [
        "https://a.example/oauth/token",
        "https://b.example/oauth/token",
    ]


async def test_nothing_is_ready_in_a_cold_store() -> None:
    assert TokenStore().ready(KEY) is None


async def test_equal_credentials_share_a_token() -> None:
    host = Host()
    endpoint, store = endpoint_over(host), TokenStore()
    first = await store.get(TokenKey(ORIGIN, ClientCredentials("a", "b")), endpoint)
    assert await store.get(TokenKey(ORIGIN, ClientCredentials("a", "b")), endpoint) is first


async def test_a_bearer_token_costs_no_request() -> None:
    host = Host()
    store = TokenStore()
    token = await store.get(TokenKey(ORIGIN, BearerToken("fixed")), endpoint_over(host))
    assert token.authorization == "Bearer fixed"
    await asyncio.sleep(1e6)
    assert store.ready(TokenKey(ORIGIN, BearerToken("fixed"))) is token
    assert host.requests == []


@pytest.mark.parametrize(
    ("lifetime", "margin", "jitter", "good_for"),
    [
        (3600, 30.0, 1.0, 3570.0),
        (3600, 30.0, 0.0, 3585.0),
        (3600, 30.0, 0.5, 3577.5),
        (3600, 600.0, 1.0, 3240.0),
        (3600, 0.0, 1.0, 3600.0),
        (100, 30.0, 1.0, 90.0),
        (1, 30.0, 1.0, 0.9),
    ],
)
async def test_a_token_is_used_until_the_margin_before_its_expiry(
    lifetime: int, margin: float, jitter: float, good_for: float
) -> None:
    host = Host(script(token_answer("t", expires_in=lifetime)))
    endpoint = endpoint_over(host)
    store = TokenStore(margin=margin, random=lambda: jitter)
    token = await store.get(KEY, endpoint)
    await asyncio.sleep(good_for - 0.001)
    assert store.ready(KEY) is token
    assert await store.get(KEY, endpoint) is token
    await asyncio.sleep(0.002)
    assert store.ready(KEY) is None
    assert await store.get(KEY, endpoint) is not token
    assert len(host.requests) == 2


async def test_the_margin_depends_on_the_tokens_lifetime_and_not_on_the_loops_time() -> None:
    endpoint, store = endpoint_over(Host(script(token_answer("t", expires_in=60)))), TokenStore()
    await asyncio.sleep(10_000)
    await store.get(KEY, endpoint)
    await asyncio.sleep(53.9)
    assert store.ready(KEY)


async def test_a_token_is_not_used_at_the_moment_of_its_expiry() -> None:
    endpoint, store = endpoint_over(Host()), TokenStore(margin=0.0)
    await store.get(KEY, endpoint)
    await asyncio.sleep(3600.0 - now())
    assert now() == 3600.0
    assert store.ready(KEY) is None


async def test_a_finished_login_is_released() -> None:
    endpoint, store = endpoint_over(Host()), TokenStore()
    getting = asyncio.create_task(store.get(KEY, endpoint))
    await asyncio.sleep(0)
    (login,) = map(weakref.ref, asyncio.all_tasks() - {getting, asyncio.current_task()})
    await getting
    await settle()
    gc.collect()
    assert login() is None


async def test_a_token_of_unknown_lifetime_is_used_until_it_is_refused() -> None:
    host = Host(script(token_answer("t", expires_in=None)))
    endpoint, store = endpoint_over(host), TokenStore()
    token = await store.get(KEY, endpoint)
    await asyncio.sleep(1e7)
    assert await store.get(KEY, endpoint) is token
    store.drop(KEY, token)
    assert await store.get(KEY, endpoint) is not token


async def test_a_token_that_arrives_expired_is_handed_out_once_and_not_kept() -> None:
    host = Host(script(token_answer("t", expires_in=1)), seconds=2.0)
    endpoint, store = endpoint_over(host), TokenStore()
    assert (await store.get(KEY, endpoint)).value == "t"
    assert store.ready(KEY) is None


async def test_a_renewal_is_shared_like_a_first_login() -> None:
    host = Host(seconds=1.0)
    endpoint, store = endpoint_over(host), TokenStore()
    await store.get(KEY, endpoint)
    await asyncio.sleep(3600)
    tokens = await asyncio.gather(*(store.get(KEY, endpoint) for _ in range(50)))
    assert {token.value for token in tokens} == {"token-2"}


async def test_a_dropped_token_is_fetched_anew() -> None:
    host = Host()
    endpoint, store = endpoint_over(host), TokenStore()
    token = await store.get(KEY, endpoint)
    store.drop(KEY, token)
    assert store.ready(KEY) is None
    assert (await store.get(KEY, endpoint)).value == "token-2"


async def test_a_repeatedly_used_token_is_not_ready_once_it_was_dropped() -> None:
    endpoint, store = endpoint_over(Host()), TokenStore()
    token = await store.get(KEY, endpoint)
    assert [store.ready(KEY) for _ in range(3)] == [token] * 3
    assert store.drop(KEY, token)
    assert store.ready(KEY) is None
    new = await store.get(KEY, endpoint)
    assert [store.ready(KEY) for _ in range(3)] == [new] * 3


async def test_two_alternating_keys_get_their_own_tokens() -> None:
    endpoint, store = endpoint_over(Host()), TokenStore()
    keys = key_of(1), key_of(2)
    tokens = [await store.get(key, endpoint) for key in keys]
    assert [store.ready(key) for key in (*keys, *keys)] == tokens * 2


async def test_a_late_401_drops_the_token_it_was_sent_with_and_no_newer_one() -> None:
    host = Host()
    endpoint, store = endpoint_over(host), TokenStore()
    old = await store.get(KEY, endpoint)
    assert store.drop(KEY, old)
    new = await store.get(KEY, endpoint)
    for _ in range(49):
        assert not store.drop(KEY, old)
    assert store.ready(KEY) is new
    assert len(host.requests) == 2


async def test_a_newer_token_of_the_same_value_is_not_dropped() -> None:
    host = Host(script(token_answer("same")))
    endpoint, store = endpoint_over(host), TokenStore()
    old = await store.get(KEY, endpoint)
    store.drop(KEY, old)
    new = await store.get(KEY, endpoint)
    store.drop(KEY, old)
    assert store.ready(KEY) is new


async def tokens_of(accepted: list[bool]) -> list[Token]:
    endpoint, store = endpoint_over(Host()), TokenStore()
    tokens: list[Token] = []
    for taken in accepted:
        token = await store.get(KEY, endpoint)
        tokens.append(token)
        token.accepted = taken
        store.drop(KEY, token)
    return tokens


@pytest.mark.parametrize(
    ("accepted", "left"),
    [
        ([False, False, False], [1, 1, 1]),
        ([True, False, False], [1, 20, 19]),
        ([False, True, False], [1, 1, 20]),
        ([True, False, True, False], [1, 20, 19, 20]),
    ],
    ids=["of none", "of the first", "of the second", "of two"],
)
async def test_new_tokens_have_credit_after_an_accepted_one(
    accepted: list[bool], left: list[int]
) -> None:
    tokens = await tokens_of(accepted)
    assert [token.credit for token in tokens] == left


async def test_the_twentieth_refused_token_in_a_row_is_not_trusted() -> None:
    _, *new = await tokens_of([True] + [False] * 22)
    assert [token.trusted for token in new] == [True] * 19 + [False] * 3


async def test_dropping_the_token_of_an_unknown_key_does_nothing() -> None:
    store = TokenStore()
    assert not store.drop(KEY, Token("t"))
    assert len(store) == 0


async def test_a_rotated_refresh_token_replaces_the_first() -> None:
    host = Host(
        script(
            token_answer("t-1", refresh_token="r-1"),
            token_answer("t-2"),
            token_answer("t-3", refresh_token="r-3"),
            token_answer("t-4"),
        )
    )
    endpoint, store = endpoint_over(host), TokenStore()
    key = TokenKey(ORIGIN, RefreshToken("app", "secret", "r-0"))
    for _ in range(4):
        store.drop(key, await store.get(key, endpoint))
    assert [form["refresh_token"] for form in host.forms] == ["r-0", "r-1", "r-1", "r-3"]


async def test_the_refresh_token_of_another_grant_is_ignored() -> None:
    host = Host(script(token_answer("t", refresh_token="r")))
    endpoint, store = endpoint_over(host), TokenStore()
    store.drop(KEY, await store.get(KEY, endpoint))
    await store.get(KEY, endpoint)
    assert [form["grant_type"] for form in host.forms] == ["client_credentials"] * 2


class TestCapacity:
    """Evictions when there are more keys than the capacity."""

    async def test_the_least_recently_used_key_is_evicted_first(self) -> None:
        host = Host()
        endpoint, store = endpoint_over(host), TokenStore(capacity=3)
        for number in (1, 2, 3):
            await store.get(key_of(number), endpoint)
        assert store.ready(key_of(1))
        await store.get(key_of(4), endpoint)
        assert [bool(store.ready(key_of(number))) for number in (1, 2, 3, 4)] == [1, 0, 1, 1]

    async def test_a_key_used_again_after_a_newer_key_is_not_evicted(self) -> None:
        endpoint, store = endpoint_over(Host()), TokenStore(capacity=2)
        used, other, third = key_of(1), key_of(2), key_of(3)
        await store.get(used, endpoint)
        assert store.ready(used)
        await store.get(other, endpoint)
        assert store.ready(used)
        await store.get(third, endpoint)
        assert [bool(store.ready(key)) for key in (used, other, third)] == [True, False, True]

    async def test_the_key_used_before_another_is_evicted_first(self) -> None:
        endpoint, store = endpoint_over(Host()), TokenStore(capacity=2)
        used, other, third = key_of(1), key_of(2), key_of(3)
        for key in (used, other):
            await store.get(key, endpoint)
        for key in (used, other, used):
            assert store.ready(key)
        await store.get(third, endpoint)
        assert [bool(store.ready(key)) for key in (used, other, third)] == [True, False, True]

    async def test_an_evicted_token_is_not_ready_even_if_it_was_used_last(
        self,
    ) -> None:
        endpoint, store = endpoint_over(Host()), TokenStore(capacity=1)
        await store.get(KEY, endpoint)
        assert store.ready(KEY)
        await store.get(key_of(2), endpoint)
        assert store.ready(KEY) is None

    async def test_a_token_evicted_on_arrival_is_not_ready(
        self,
    ) -> None:
        pending = PendingAnswers()
        endpoint, store = endpoint_over(Host(pending)), TokenStore(capacity=1)
        waiting = [asyncio.create_task(store.get(key, endpoint)) for key in (KEY, key_of(2))]
        await asyncio.sleep(1)
        assert store.ready(KEY) is None
        pending.answers[0].set_result(token_answer("t-0"))
        assert (await waiting[0]).value == "t-0"
        assert store.ready(KEY) is None
        pending.answers[1].set_result(token_answer("t-1"))
        await waiting[1]

    async def test_any_number_of_keys_stays_within_the_capacity(self) -> None:
        endpoint, store = endpoint_over(Host()), TokenStore(capacity=10)
        for number in range(300):
            await store.get(TokenKey(ORIGIN, BearerToken(f"t-{number}")), endpoint)
        assert len(store) == 10

    async def test_a_large_store_evicts_a_thousandth_at_once(self) -> None:
        endpoint, store = endpoint_over(Host()), TokenStore(capacity=2_999)
        for number in range(3_000):
            await store.get(TokenKey(ORIGIN, BearerToken(f"t-{number}")), endpoint)
        assert len(store) == 2_997

    async def test_refused_keys_are_bounded_too(self) -> None:
        host = Host(script(answer(401)))
        endpoint, store = endpoint_over(host), TokenStore(capacity=10)
        for number in range(50):
            with pytest.raises(TokenError):
                await store.get(key_of(number), endpoint)
        assert len(store) == 10

    async def test_a_key_that_is_being_fetched_is_not_evicted(self) -> None:
        pending = PendingAnswers()
        host = Host(pending)
        endpoint, store = endpoint_over(host), TokenStore(capacity=2)
        waiting = [asyncio.create_task(store.get(key_of(number), endpoint)) for number in range(5)]
        await asyncio.sleep(1)
        joined = [asyncio.create_task(store.get(key_of(number), endpoint)) for number in range(5)]
        await asyncio.sleep(1)
        assert len(store) == 5
        for number, future in enumerate(pending.answers):
            future.set_result(token_answer(f"t-{number}"))
        tokens = await asyncio.gather(*waiting, *joined)
        assert tokens[:5] == tokens[5:]
        assert len(host.requests) == 5
        assert len(store) == 2

    async def test_a_rotated_refresh_token_is_not_evicted(self) -> None:
        host = Host(script(token_answer("t", refresh_token="r-1")))
        endpoint, store = endpoint_over(host), TokenStore(capacity=1)
        key = TokenKey(ORIGIN, RefreshToken("app", "secret", "r-0"))
        await store.get(key, endpoint)
        for number in range(5):
            await store.get(key_of(number), endpoint)
        assert store.ready(key)

    async def test_a_refresh_token_that_was_not_rotated_may_be_evicted(self) -> None:
        endpoint, store = endpoint_over(Host()), TokenStore(capacity=1)
        key = TokenKey(ORIGIN, RefreshToken("app", "secret", "r-0"))
        await store.get(key, endpoint)
        await store.get(KEY, endpoint)
        assert store.ready(key) is None


class TestErrors:
    """The errors that waiters get."""

    async def test_each_waiter_gets_its_own_exception(self) -> None:
        body = {"error": "invalid_client", "error_description": "no"}
        host = Host(script(answer(400, body)), seconds=1.0)
        endpoint, store = endpoint_over(host), TokenStore()
        errors = await asyncio.gather(
            *(store.get(KEY, endpoint) for _ in range(50)), return_exceptions=True
        )
        assert len(set(map(id, errors))) == 50
        for error in errors:
            assert isinstance(error, TokenError)
            assert error.error_description == "no"
            assert (error.error, error.status_code, error.attempts) == ("invalid_client", 400, 1)
            assert error.__cause__ is None
            assert error.__context__ is None
            error.client_id = str(id(error))
        assert len({str(error) for error in errors}) == 50

    async def test_tracebacks_do_not_grow_and_hold_no_secret(self) -> None:
        host = Host(script(answer(401, {"error": "invalid_client"})))
        endpoint, store = endpoint_over(host), TokenStore()
        lengths: list[int] = []
        for _ in range(5):
            with pytest.raises(TokenError) as caught:
                await store.get(KEY, endpoint)
            lengths.append(len(caught.traceback))
            assert_keeps(told_by(caught.value), "s3cret-of-app-1")
        assert max(lengths) <= 3

    async def test_a_note_on_one_error_is_not_on_the_others(self) -> None:
        failure = ConnectError("refused")
        failure.add_note("of the transport")
        host = Host(script(failure), seconds=1.0)
        endpoint, store = endpoint_over(host), TokenStore()
        one, other = await asyncio.gather(
            *(store.get(KEY, endpoint) for _ in range(2)), return_exceptions=True
        )
        assert isinstance(one, ConnectError)
        assert isinstance(other, ConnectError)
        one.add_note("mine")
        assert other.__notes__ == ["of the transport"]


@frozen
class Own:
    """A custom auth whose ``fetch`` the test gives."""

    do: Callable[[TokenHost, Token | None], object] = field(eq=False, hash=False)
    renewable: ClassVar[bool] = True

    async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
        done = self.do(host, previous)
        if asyncio.iscoroutine(done):
            done = await done
        return done  # type: ignore[return-value]


class TestOwnAuths:
    """Custom auths, with typical mistakes."""

    async def test_a_custom_auth_may_ignore_the_host(self) -> None:
        host = Host()
        store = TokenStore()
        key = TokenKey(ORIGIN, Own(lambda _host, _previous: Token("from-a-vault")))
        assert (await store.get(key, endpoint_over(host))).value == "from-a-vault"
        assert host.requests == []

    async def test_fetch_gets_the_host_and_the_newest_token_even_if_it_was_dropped(self) -> None:
        seen: list[tuple[str, Token | None]] = []

        def fetch(host: TokenHost, previous: Token | None) -> Token:
            seen.append((host.origin, previous))
            return Token(f"t-{len(seen)}")

        key, store, endpoint = TokenKey(ORIGIN, Own(fetch)), TokenStore(), endpoint_over(Host())
        first = await store.get(key, endpoint)
        store.drop(key, first)
        await store.get(key, endpoint)
        assert seen == [(ORIGIN, None), (ORIGIN, first)]

    async def test_a_bug_reaches_every_waiter_with_its_traceback(self) -> None:
        async def fetch() -> Token:
            await asyncio.sleep(1)
            raise KeyError("lease")

        key = TokenKey(ORIGIN, Own(lambda _host, _previous: fetch()))
        store, endpoint = TokenStore(), endpoint_over(Host())
        errors = await asyncio.gather(
            *(store.get(key, endpoint) for _ in range(3)), return_exceptions=True
        )
        assert len(set(map(id, errors))) == 3
        for error in errors:
            assert isinstance(error, KeyError)
            frame = error.__traceback__
            names: list[str] = []
            while frame is not None:
                names.append(frame.tb_frame.f_code.co_name)
                frame = frame.tb_next
            assert names[-1] == "fetch"

    async def test_a_bug_keeps_its_cause_and_context(self) -> None:
        def fetch(_host: TokenHost, _previous: Token | None) -> object:
            try:
                raise LookupError
            except LookupError as missing:
                raise ValueError("bug") from missing

        with pytest.raises(ValueError, match="bug") as caught:
            await TokenStore().get(TokenKey(ORIGIN, Own(fetch)), endpoint_over(Host()))
        assert isinstance(caught.value.__cause__, LookupError)
        assert isinstance(caught.value.__context__, LookupError)

    async def test_a_bug_is_not_remembered(self) -> None:
        outcomes: list[object] = [ValueError("bug"), Token("t")]

        def fetch(_host: TokenHost, _previous: Token | None) -> object:
            outcome = outcomes.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        key, store, endpoint = TokenKey(ORIGIN, Own(fetch)), TokenStore(), endpoint_over(Host())
        with pytest.raises(ValueError, match="bug"):
            await store.get(key, endpoint)
        assert (await store.get(key, endpoint)).value == "t"

    async def test_an_exception_that_cannot_be_copied_is_shared(self) -> None:
        class Odd(Exception):
            def __init__(self, one: int, two: int) -> None:
                super().__init__("odd")

        class Shifty(Exception):
            def __reduce__(self) -> tuple[type[Exception], tuple[str]]:
                return ValueError, ("another",)

        for odd in (Odd(1, 2), Shifty("shifty")):

            def fetch(_h: object, _p: object, odd: Exception = odd) -> Token:
                raise odd

            store = TokenStore()
            with pytest.raises(type(odd)) as caught:
                await store.get(TokenKey(ORIGIN, Own(fetch)), endpoint_over(Host()))
            assert caught.value is odd

    async def test_a_token_error_of_a_custom_auth_is_remembered(self) -> None:
        calls: list[int] = []

        def fetch(_host: TokenHost, _previous: Token | None) -> Token:
            calls.append(1)
            raise TokenError("the vault says no")

        key, store, endpoint = TokenKey(ORIGIN, Own(fetch)), TokenStore(), endpoint_over(Host())
        for _ in range(3):
            with pytest.raises(TokenError, match="the vault says no"):
                await store.get(key, endpoint)
        assert len(calls) == 1

    async def test_a_result_that_is_no_token_is_named(self) -> None:
        key = TokenKey(ORIGIN, Own(lambda _host, _previous: "t0ken"))
        with pytest.raises(TypeError, match=r"Own\.fetch must return a Token, not str"):
            await TokenStore().get(key, endpoint_over(Host()))


async def test_a_login_runs_in_its_own_context() -> None:
    trace: contextvars.ContextVar[str] = contextvars.ContextVar("trace", default="none")
    seen: list[str] = []

    def fetch(_host: TokenHost, _previous: Token | None) -> Token:
        seen.append(trace.get())
        return Token("t")

    trace.set("of the first caller")
    await TokenStore().get(TokenKey(ORIGIN, Own(fetch)), endpoint_over(Host()))
    assert seen == ["none"]


async def test_a_login_has_no_callers_deadline() -> None:
    host = Host(seconds=5.0)
    endpoint, store = endpoint_over(host), TokenStore()

    async def patient() -> Token:
        await asyncio.sleep(0.5)
        return await store.get(KEY, endpoint)

    second = asyncio.create_task(patient())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await store.get(KEY, endpoint)
    assert (await second).value == "token-1"
    assert len(host.requests) == 1


class TestClosing:
    """Closing a store."""

    async def test_a_closed_store_raises_an_error_that_says_so(self) -> None:
        store = TokenStore()
        await store.aclose()
        await store.aclose()
        with pytest.raises(RingMeClosed, match="the RingMe that these tokens were kept for"):
            await store.get(KEY, endpoint_over(Host()))

    async def test_a_closed_store_holds_no_token(self) -> None:
        endpoint, store = endpoint_over(Host()), TokenStore()
        await store.get(KEY, endpoint)
        assert store.ready(KEY)
        await store.aclose()
        assert store.ready(KEY) is None
        assert len(store) == 0

    @pytest.mark.parametrize("pause", [0.0, 1.0])
    async def test_logins_under_way_are_cancelled_and_awaited(self, pause: float) -> None:
        host = Host(seconds=10.0)
        endpoint, store = endpoint_over(host), TokenStore()
        waiters = [
            asyncio.create_task(store.get(key_of(number % 2), endpoint)) for number in range(4)
        ]
        await asyncio.sleep(pause)
        await store.aclose()
        assert host.in_flight == 0
        errors = await asyncio.gather(*waiters, return_exceptions=True)
        assert [type(error) for error in errors] == [RingMeClosed] * 4
        assert all("the RingMe that these tokens" in str(error) for error in errors)
        assert len(asyncio.all_tasks()) == 1

    async def test_a_login_cancelled_before_its_first_step_ends_its_waiters(self) -> None:
        endpoint, store = endpoint_over(Host()), TokenStore()
        get = store.get(KEY, endpoint)
        waiting = asyncio.ensure_future(get)
        await asyncio.sleep(0)
        (login,) = asyncio.all_tasks() - {waiting, asyncio.current_task()}
        # The login's task has not run yet.
        login.cancel()
        with pytest.raises(TransportError, match=r"^the login was cancelled$"):
            await waiting
        await store.aclose()


def test_a_store_serves_one_loop_after_the_other() -> None:
    store = TokenStore()
    key = TokenKey(ORIGIN, BearerToken("t"))

    async def main() -> Token:
        return await store.get(key, endpoint_over(Host()))

    assert asyncio.run(main()) is asyncio.run(main())


def test_an_endpoint_serves_one_loop_after_the_other() -> None:
    host = Host(seconds=0.01)

    async def main(endpoint: TokenEndpoint, key: TokenKey) -> Token:
        return await TokenStore().get(key, endpoint)

    endpoint = endpoint_over(host)
    for number in range(3):
        assert asyncio.run(main(endpoint, key_of(number)))
