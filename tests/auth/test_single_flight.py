"""Callers with deadlines of their own, and a token endpoint that asks them to wait."""

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
    Gatekeeper,
    Host,
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


async def sent_away(store: TokenStore, endpoint: TokenEndpoint, seconds: float) -> DeadlineExceeded:
    with pytest.raises(DeadlineExceeded) as caught:
        await store.get(KEY, endpoint, patient(seconds))
    return caught.value


async def test_who_cannot_wait_for_the_next_attempt_is_told_so_at_once_and_why() -> None:
    endpoint, store = endpoint_over(Host(script(WAIT_20, token_answer("t")))), TokenStore()

    error = await sent_away(store, endpoint, 5)

    assert now() == 0.0
    assert str(error).startswith(
        "the next attempt to log in, in 20.0 s, is beyond the deadline (timeout=5 s)"
    )
    assert isinstance(error.__cause__, ServerError)
    assert (error.attempts, error.__cause__.attempts) == (1, 1)
    assert_keeps(told_by(error), "s3cret-of-app-1")


async def test_who_can_wait_gets_the_token_of_the_very_same_login() -> None:
    host = Host(script(WAIT_20, token_answer("t")), seconds=1.0)
    endpoint, store = endpoint_over(host), TokenStore()

    long = asyncio.create_task(store.get(KEY, endpoint, patient(60)))
    await settle()
    await sent_away(store, endpoint, 5)
    assert now() == 1.0

    assert (await long).value == "t"
    assert now() == 22.0
    assert len(host.requests) == 2


async def test_who_comes_in_the_pause_and_cannot_wait_is_told_so_at_once() -> None:
    host = Host(script(WAIT_20, token_answer("t")))
    endpoint, store = endpoint_over(host), TokenStore()
    long = asyncio.create_task(store.get(KEY, endpoint, patient(60)))
    await asyncio.sleep(3)

    error = await sent_away(store, endpoint, 5)

    assert now() == 3.0
    assert error.reason.startswith("the next attempt to log in, in 17.0 s,")
    assert isinstance(error.__cause__, ServerError)
    assert len(host.requests) == 1
    await long


async def test_each_who_is_sent_away_gets_an_error_and_a_cause_of_its_own() -> None:
    endpoint, store = endpoint_over(Host(script(WAIT_20), seconds=1.0)), TokenStore()

    errors = await asyncio.gather(*(sent_away(store, endpoint, 5) for _ in range(3)))

    assert len({id(error) for error in errors}) == len({id(e.__cause__) for e in errors}) == 3
    await store.aclose()


async def test_the_pause_that_the_host_asked_for_is_kept_when_all_have_been_sent_away() -> None:
    host = Host(script(WAIT_20, token_answer("t")))
    endpoint, store = endpoint_over(host), TokenStore()
    for _ in range(5):
        await sent_away(store, endpoint, 2)
        await asyncio.sleep(2)

    assert len(host.requests) == 1
    assert (await store.get(KEY, endpoint, patient(60))).value == "t"
    assert host.starts == [0.0, 20.0]


async def test_a_pause_for_nobody_is_kept_for_a_minute_at_most() -> None:
    wait_an_hour = answer(503, **{"retry-after": "3600"})
    host = Host(script(wait_an_hour, token_answer("t")))
    endpoint, store = endpoint_over(host), TokenStore()
    await sent_away(store, endpoint, 5)
    await asyncio.sleep(59)
    await sent_away(store, endpoint, 5)
    await asyncio.sleep(1)
    await sent_away(store, endpoint, 5)
    assert len(host.requests) == 1

    assert (await store.get(KEY, endpoint, patient(5))).value == "t"
    assert host.starts == [0.0, 60.0]


async def test_a_pause_that_ends_with_the_deadline_is_waited_for() -> None:
    endpoint, store = endpoint_over(Host(script(WAIT_20, token_answer("t")))), TokenStore()

    assert (await store.get(KEY, endpoint, patient(20))).value == "t"


async def test_after_the_pause_the_login_is_given_up_with_its_last_waiter_again() -> None:
    gatekeeper = Gatekeeper()
    endpoint, store = endpoint_over(Host(gatekeeper)), TokenStore()
    away = asyncio.create_task(sent_away(store, endpoint, 5))
    await settle()
    gatekeeper.asked[0].set_result(WAIT_20)
    await away
    await asyncio.sleep(21)
    late = asyncio.create_task(store.get(KEY, endpoint))
    await settle()

    late.cancel()
    await asyncio.wait([late])

    assert gatekeeper.asked[1].cancelled()


async def test_who_is_cancelled_in_the_pause_takes_a_login_for_nobody_along() -> None:
    endpoint, store = endpoint_over(Host(script(WAIT_20))), TokenStore()
    call = asyncio.create_task(store.get(KEY, endpoint, patient(60)))
    await asyncio.sleep(1)

    call.cancel()
    await asyncio.wait([call])
    await settle()

    assert len(asyncio.all_tasks()) == 1


async def test_who_waits_through_failures_knows_the_last_one() -> None:
    host = Host(script(answer(503), ConnectError("refused"), token_answer("t")))
    patience = patient(60)

    await TokenStore().get(KEY, endpoint_over(host), patience)

    assert isinstance(patience.last_error, ConnectError)
    assert patience.last_error.attempts == 2


async def test_who_waits_for_a_login_without_failures_knows_of_none() -> None:
    patience = patient(60)

    await TokenStore().get(KEY, endpoint_over(Host()), patience)

    assert patience.last_error is None


async def test_a_login_that_outlives_its_callers_ends_with_the_store() -> None:
    endpoint, store = endpoint_over(Host(script(WAIT_20))), TokenStore()
    await sent_away(store, endpoint, 5)

    await store.aclose()

    assert len(asyncio.all_tasks()) == 1
    with pytest.raises(RingMeClosed):
        await store.get(KEY, endpoint)


async def test_those_who_wait_are_woken_in_the_order_they_came() -> None:
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


async def test_who_is_woken_first_is_not_passed_by_one_that_comes_then() -> None:
    login = SingleFlight()
    first = asyncio.create_task(login.wait(Patience()))
    await settle()
    login.set_outcome(Token("t"))

    assert not first.done()
    assert login.outcome is await login.wait(Patience()) is await first


async def test_a_refusal_after_a_pause_is_what_everybody_gets() -> None:
    host = Host(script(WAIT_20, answer(400, {"error": "invalid_client"})))
    endpoint, store = endpoint_over(host), TokenStore()

    with pytest.raises(TokenError) as caught:
        await store.get(TokenKey(KEY.origin, KEY.auth), endpoint, patient(60))

    assert caught.value.attempts == 2
