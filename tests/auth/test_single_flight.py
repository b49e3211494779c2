"""Callers with different deadlines, and a token endpoint that asks them to wait."""

from __future__ import annotations

import asyncio

import pytest

from ringme_async.auth import Patience, Token, TokenEndpoint, TokenKey, TokenStore
from ringme_async.auth.single_flight import SingleFlight
from ringme_async.errors import (
    ConnectError,
    DeadlineExceeded,
    RingMeClosed,
    ServerError,
    TokenError,
)
from tests.auth.exposure import assert_keeps, told_by
from tests.auth.hosts import (
    KEY,
    Host,
    PendingAnswers,
    answer,
    endpoint_over,
    script,
    settle,
    token_answer,
)

pytestmark = pytest.mark.jumping

WAIT_20 = answer(503, **{"retry-after": "20"})


def now() -> float:
    return asyncio.get_running_loop().time()


def patient(seconds: float) -> Patience:
    return Patience(now() + seconds, timeout=seconds)


async def fail_early(
    store: TokenStore, endpoint: TokenEndpoint, seconds: float
) -> DeadlineExceeded:
    with pytest.raises(DeadlineExceeded) as caught:
        await store.get(KEY, endpoint, patient(seconds))
    return caught.value


async def test_a_caller_that_cannot_wait_for_the_next_attempt_fails_at_once_with_the_cause() -> (
    None
):
    endpoint, store = endpoint_over(Host(script(WAIT_20, token_answer("t")))), TokenStore()

    error = await fail_early(store, endpoint, 5)

    assert now() == 0.0
    assert str(error).startswith(
        "the next attempt to log in, in 20.0 s, is beyond the deadline (timeout=5 s)"
    )
    assert isinstance(error.__cause__, ServerError)
    assert (error.attempts, error.__cause__.attempts) == (1, 1)
    assert_keeps(told_by(error), "s3cret-of-app-1")


async def test_a_caller_that_can_wait_gets_the_token_of_the_same_login() -> None:
    host = Host(script(WAIT_20, token_answer("t")), seconds=1.0)
    endpoint, store = endpoint_over(host), TokenStore()

    long = asyncio.create_task(store.get(KEY, endpoint, patient(60)))
    await settle()
    await fail_early(store, endpoint, 5)
    assert now() == 1.0

    assert (await long).value == "t"
    assert now() == 22.0
    assert len(host.requests) == 2


async def test_a_caller_that_arrives_in_the_pause_and_cannot_wait_fails_at_once() -> None:
    host = Host(script(WAIT_20, token_answer("t")))
    endpoint, store = endpoint_over(host), TokenStore()
    long = asyncio.create_task(store.get(KEY, endpoint, patient(60)))
    await asyncio.sleep(3)

    error = await fail_early(store, endpoint, 5)

    assert now() == 3.0
    assert error.reason.startswith("the next attempt to log in, in 17.0 s,")
    assert isinstance(error.__cause__, ServerError)
    assert len(host.requests) == 1
    await long


async def test_each_caller_that_cannot_wait_gets_its_own_error_and_cause() -> None:
    endpoint, store = endpoint_over(Host(script(WAIT_20), seconds=1.0)), TokenStore()

    errors = await asyncio.gather(*(fail_early(store, endpoint, 5) for _ in range(3)))

    assert len({id(error) for error in errors}) == len({id(e.__cause__) for e in errors}) == 3
    await store.aclose()


async def test_the_hosts_pause_is_kept_after_all_callers_have_failed() -> None:
    host = Host(script(WAIT_20, token_answer("t")))
    endpoint, store = endpoint_over(host), TokenStore()
    for _ in range(5):
        await fail_early(store, endpoint, 2)
        await asyncio.sleep(2)

    assert len(host.requests) == 1
    assert (await store.get(KEY, endpoint, patient(60))).value == "t"
    assert host.starts == [0.0, 20.0]


async def test_a_pause_without_callers_is_kept_for_a_minute_at_most() -> None:
    wait_an_hour = answer(503, **{"retry-after": "3600"})
    host = Host(script(wait_an_hour, token_answer("t")))
    endpoint, store = endpoint_over(host), TokenStore()
    await fail_early(store, endpoint, 5)
    await asyncio.sleep(59)
    await fail_early(store, endpoint, 5)
    await asyncio.sleep(1)
    await fail_early(store, endpoint, 5)
    assert len(host.requests) == 1

    assert (await store.get(KEY, endpoint, patient(5))).value == "t"
    assert host.starts == [0.0, 60.0]


async def test_a_caller_waits_for_a_pause_that_ends_at_its_deadline() -> None:
    endpoint, store = endpoint_over(Host(script(WAIT_20, token_answer("t")))), TokenStore()

    assert (await store.get(KEY, endpoint, patient(20))).value == "t"


async def test_after_the_pause_the_login_is_cancelled_with_its_last_waiter() -> None:
    pending = PendingAnswers()
    endpoint, store = endpoint_over(Host(pending)), TokenStore()
    away = asyncio.create_task(fail_early(store, endpoint, 5))
    await settle()
    pending.answers[0].set_result(WAIT_20)
    await away
    await asyncio.sleep(21)
    late = asyncio.create_task(store.get(KEY, endpoint))
    await settle()

    late.cancel()
    await asyncio.wait([late])

    assert pending.answers[1].cancelled()


async def test_the_last_waiter_cancelled_in_the_pause_cancels_the_login() -> None:
    endpoint, store = endpoint_over(Host(script(WAIT_20))), TokenStore()
    call = asyncio.create_task(store.get(KEY, endpoint, patient(60)))
    await asyncio.sleep(1)

    call.cancel()
    await asyncio.wait([call])
    await settle()

    assert len(asyncio.all_tasks()) == 1


async def test_a_caller_that_waits_through_failures_gets_the_last_one() -> None:
    host = Host(script(answer(503), ConnectError("refused"), token_answer("t")))
    patience = patient(60)

    await TokenStore().get(KEY, endpoint_over(host), patience)

    assert isinstance(patience.last_error, ConnectError)
    assert patience.last_error.attempts == 2


async def test_a_caller_of_a_login_without_failures_gets_none() -> None:
    patience = patient(60)

    await TokenStore().get(KEY, endpoint_over(Host()), patience)

    assert patience.last_error is None


async def test_a_login_that_outlives_its_callers_ends_with_the_store() -> None:
    endpoint, store = endpoint_over(Host(script(WAIT_20))), TokenStore()
    await fail_early(store, endpoint, 5)

    await store.aclose()

    assert len(asyncio.all_tasks()) == 1
    with pytest.raises(RingMeClosed):
        await store.get(KEY, endpoint)


async def test_waiters_are_woken_in_order_of_arrival() -> None:
    login = SingleFlight()
    woken: list[int] = []

    async def wait(number: int) -> None:
        await login.wait(Patience())
        woken.append(number)

    waiting = [asyncio.create_task(wait(number)) for number in range(200)]
    await settle()
    login.set_outcome(Token("t"))
    await asyncio.gather(*waiting)

    assert woken == list(range(200))


async def test_a_new_waiter_does_not_overtake_a_woken_one() -> None:
    login = SingleFlight()
    first = asyncio.create_task(login.wait(Patience()))
    await settle()
    login.set_outcome(Token("t"))

    assert not first.done()
    assert login.outcome is await login.wait(Patience()) is await first


async def test_a_refusal_after_a_pause_reaches_every_waiter() -> None:
    host = Host(script(WAIT_20, answer(400, {"error": "invalid_client"})))
    endpoint, store = endpoint_over(host), TokenStore()

    with pytest.raises(TokenError) as caught:
        await store.get(TokenKey(KEY.origin, KEY.auth), endpoint, patient(60))

    assert caught.value.attempts == 2
