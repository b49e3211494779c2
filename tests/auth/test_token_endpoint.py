"""The token endpoint: its requests, its retries and its time-outs."""

from __future__ import annotations

import asyncio
import re

import pytest

from ringme_async.auth import LoginLimit, Token, TokenEndpoint
from ringme_async.errors import (
    Busy,
    ConnectError,
    ResponseLost,
    ResponseTooLarge,
    RingMeError,
    ServerError,
    TokenError,
    TransportError,
    TransportTimeout,
)
from ringme_async.events import Event, Observers, TokenFetched
from ringme_async.policies.retry import RetryPolicy
from ringme_async.policies.retry_budget import RetryBudgets
from ringme_async.transports import Request, Response, Timeouts
from ringme_async.version import __version__
from tests.auth.exposure import assert_keeps, told_by
from tests.auth.hosts import (
    ORIGIN,
    Host,
    PendingAnswers,
    answer,
    endpoint_over,
    most_in_a_second,
    script,
    settle,
    token_answer,
)

pytestmark = pytest.mark.jumping

FORM = {"grant_type": "client_credentials", "client_id": "app", "client_secret": "hush-hush"}


def now() -> float:
    return asyncio.get_running_loop().time()


async def post(host: Host, **parts: object) -> Token:
    return await endpoint_over(host, **parts).post(ORIGIN, FORM)  # type: ignore[arg-type]


async def test_the_form_goes_to_the_root_of_the_host() -> None:
    host = Host()
    assert (await post(host)).value == "token-1"
    request = host.requests[0]
    assert (request.method, request.url) == ("POST", "https://pbx.example.com/oauth/token")
    assert host.forms == [FORM]
    assert dict(request.headers) == {
        "accept": "application/json",
        "accept-encoding": "gzip",
        "content-type": "application/x-www-form-urlencoded",
        "user-agent": f"ringme-async/{__version__}",
    }


async def test_an_auth_sees_one_host() -> None:
    host = Host()
    at_host = endpoint_over(host).at(ORIGIN)
    assert at_host.origin == ORIGIN
    await at_host.post(FORM)
    assert host.requests[0].url.startswith(ORIGIN)
    assert repr(at_host) == f"TokenHost(origin={ORIGIN!r})"


async def test_hosts_with_different_callbacks_are_equal() -> None:
    endpoint = endpoint_over(Host())
    assert endpoint.at(ORIGIN) == endpoint.at(ORIGIN, lambda *_: None)
    assert endpoint.at(ORIGIN) != endpoint.at("https://other.example")


async def test_the_timeouts_go_with_the_request() -> None:
    host = Host()
    await post(host, timeouts=Timeouts(connect=1, attempt=2))
    assert host.requests[0].timeouts == Timeouts(connect=1, attempt=2)


async def test_every_argument_has_a_default() -> None:
    host = Host(script(answer(503), token_answer("t")))
    assert (await TokenEndpoint(host).post(ORIGIN, FORM)).value == "t"
    assert [request.timeouts for request in host.requests] == [Timeouts(), Timeouts()]


async def test_a_lifetime_counts_from_when_the_request_was_sent() -> None:
    host = Host(seconds=5.0)
    token = await post(host)
    assert token.expires_at == pytest.approx(3600.0)


FLEETING = [
    ConnectError("refused"),
    TransportTimeout("slow"),
    ResponseLost("reset"),
    TransportError("odd"),
    answer(408),
    answer(429),
    answer(500),
    answer(501),
    answer(502, b"<html>"),
    answer(503, {"error": "temporarily_unavailable"}),
    answer(504),
    answer(520),
    answer(200, b"<html>", "text/html"),
    answer(200),
    answer(200, b'{"access_token": "t'),
]


@pytest.mark.parametrize("failure", FLEETING, ids=str)
async def test_a_temporary_failure_is_retried(failure: Response | Exception) -> None:
    host = Host(script(failure, failure, failure, token_answer("t")))
    assert (await post(host)).value == "t"
    assert len(host.requests) == 4


@pytest.mark.parametrize("failure", FLEETING, ids=str)
async def test_a_lasting_failure_is_the_error_of_the_last_attempt(
    failure: Response | Exception,
) -> None:
    host = Host(script(failure))
    with pytest.raises(RingMeError) as caught:
        await post(host)
    assert len(host.requests) == caught.value.attempts == 4
    if isinstance(failure, Exception):
        assert type(caught.value) is type(failure)
    elif failure.status == 200:
        assert isinstance(caught.value, TokenError)
        assert caught.value.status_code == 200


FINAL = [
    ResponseTooLarge("300 MB"),
    answer(400, {"error": "invalid_grant"}),
    answer(401, {"error": "invalid_client"}),
    answer(403),
    answer(404),
    answer(302, location="https://elsewhere.example/"),
    answer(307, location="https://elsewhere.example/"),
    answer(200, {"error": "invalid_client"}),
    answer(200, {"access_token": None}),
    answer(200, {"access_token": "t", "token_type": "mac"}),
]


@pytest.mark.parametrize("failure", FINAL, ids=str)
async def test_a_refusal_by_the_server_is_not_retried(failure: Response | Exception) -> None:
    host = Host(script(failure))
    with pytest.raises(RingMeError) as caught:
        await post(host)
    assert len(host.requests) == caught.value.attempts == 1


async def test_a_refusal_names_the_host() -> None:
    with pytest.raises(TokenError, match=r"^pbx\.example\.com refused App ID 'app' with 401"):
        await post(Host(script(answer(401))))


async def test_a_redirect_is_never_followed() -> None:
    host = Host(script(answer(308, location="https://elsewhere.example/oauth/token")))
    with pytest.raises(TokenError, match=re.escape("https://elsewhere.example")):
        await post(host)
    assert [request.url for request in host.requests] == [f"{ORIGIN}/oauth/token"]


async def test_a_policy_of_one_attempt_tries_once() -> None:
    host = Host(script(answer(503)))
    with pytest.raises(ServerError):
        await post(host, retry=RetryPolicy(attempts=1))
    assert len(host.requests) == 1


async def test_retries_are_paid_from_the_budget_of_the_host() -> None:
    host, budgets = Host(script(ConnectError("no"))), RetryBudgets()
    budgets.of(ORIGIN).available = 5
    endpoint = endpoint_over(host, budgets=budgets)
    for requests in (2, 3):
        with pytest.raises(ConnectError):
            await endpoint.post(ORIGIN, FORM)
        assert len(host.requests) == requests


async def test_a_retry_that_succeeds_gives_its_cost_back() -> None:
    host, budgets = Host(script(ConnectError("no"), token_answer("t"))), RetryBudgets()
    budgets.of(ORIGIN).available = 5
    await endpoint_over(host, budgets=budgets).post(ORIGIN, FORM)
    assert budgets.of(ORIGIN).available == 5


async def test_a_login_that_succeeds_at_once_pays_into_the_budget() -> None:
    host, budgets = Host(script(token_answer("t"))), RetryBudgets()
    budgets.of(ORIGIN).available = 5
    await endpoint_over(host, budgets=budgets).post(ORIGIN, FORM)
    assert budgets.of(ORIGIN).available == 6


async def test_an_attempt_that_is_the_last_one_costs_nothing() -> None:
    host, budgets = Host(script(ConnectError("no"))), RetryBudgets()
    endpoint = endpoint_over(host, budgets=budgets, retry=RetryPolicy(attempts=1))
    with pytest.raises(ConnectError):
        await endpoint.post(ORIGIN, FORM)
    assert budgets.of(ORIGIN).available == budgets.of(ORIGIN).capacity


async def test_a_retry_after_a_time_out_costs_more() -> None:
    host, budgets = Host(script(TransportTimeout("slow"), token_answer("t"))), RetryBudgets()
    budgets.of(ORIGIN).available = 9
    with pytest.raises(TransportTimeout):
        await endpoint_over(host, budgets=budgets).post(ORIGIN, FORM)
    assert len(host.requests) == 1
    assert budgets.of(ORIGIN).available == 9


async def test_a_retry_after_too_many_logins_costs_nothing() -> None:
    host, budgets = Host(script(answer(429), answer(429), token_answer("t"))), RetryBudgets()
    budgets.of(ORIGIN).available = 0
    assert (await endpoint_over(host, budgets=budgets).post(ORIGIN, FORM)).value == "t"
    assert budgets.of(ORIGIN).available == 0


@pytest.mark.parametrize("leave_after", [1.0, 119.0])
async def test_a_retry_that_is_not_made_costs_nothing(leave_after: float) -> None:
    wait_120 = answer(503, **{"retry-after": "120"})
    budgets = RetryBudgets()
    budget = budgets.of(ORIGIN)
    endpoint = endpoint_over(Host(script(wait_120)), budgets=budgets)
    logins = [asyncio.create_task(endpoint.post(ORIGIN, FORM)) for _ in range(100)]
    await asyncio.sleep(leave_after)
    for login in logins:
        login.cancel()
    await asyncio.wait(logins)
    assert budget.available == budget.capacity


async def test_a_retry_that_is_cancelled_in_the_queue_costs_nothing() -> None:
    pending, budgets = PendingAnswers(), RetryBudgets()
    budget = budgets.of(ORIGIN)
    limit = LoginLimit(per_second=0.1, concurrent=1)
    endpoint = endpoint_over(Host(pending), budgets=budgets, login_limit=limit)
    login = asyncio.create_task(endpoint.post(ORIGIN, FORM))
    await settle()
    pending.answers[0].set_result(answer(503))
    await asyncio.sleep(5)
    login.cancel()
    await asyncio.wait([login])
    assert len(pending.answers) == 1
    assert budget.available == budget.capacity


async def test_the_pauses_come_from_the_retry_policy() -> None:
    host = Host(script(ConnectError("no"), ConnectError("no"), token_answer("t")))
    await post(host, retry=RetryPolicy(base=2.0, random=lambda: 1.0))
    assert host.starts == pytest.approx([0.0, 2.0, 6.0])


async def test_the_servers_retry_after_is_respected() -> None:
    host = Host(script(answer(429, **{"retry-after": "12"}), token_answer("t")))
    await post(host)
    assert host.starts == pytest.approx([0.0, 12.0])


@pytest.mark.parametrize("seconds", [30, 100, 86_400])
async def test_a_long_retry_after_is_respected_and_reported(seconds: int) -> None:
    host = Host(script(answer(429, **{"retry-after": str(seconds)}), token_answer("t")))
    told: list[tuple[RingMeError, float]] = []

    await endpoint_over(host).post(ORIGIN, FORM, lambda *delay: told.append(delay))

    assert host.starts == pytest.approx([0.0, seconds])
    ((error, pause),) = told
    assert isinstance(error, Busy)
    assert (error.attempts, pause) == (1, pytest.approx(seconds))


async def test_a_transport_that_never_answers_ends_at_the_attempts_time_out() -> None:
    host = Host(seconds=10_000.0)
    with pytest.raises(TransportTimeout, match="no answer to the login within 3 s") as caught:
        await post(host, timeouts=Timeouts(attempt=3.0))
    assert caught.value.sent
    assert now() == pytest.approx(12.0, abs=0.5)
    assert host.in_flight == 0


async def test_time_in_the_queue_does_not_count_for_the_attempt() -> None:
    host = Host(seconds=2.0)
    endpoint = endpoint_over(
        host, login_limit=LoginLimit(concurrent=1), timeouts=Timeouts(attempt=3.0)
    )
    tokens = await asyncio.gather(*(endpoint.post(ORIGIN, FORM) for _ in range(10)))
    assert len(tokens) == len(host.requests) == 10


async def test_every_attempt_waits_for_the_login_limit() -> None:
    host, budgets = Host(script(answer(503)), seconds=0.3), RetryBudgets()
    budgets.of(ORIGIN).available = 1_000
    endpoint = endpoint_over(host, budgets=budgets)
    outcomes = await asyncio.gather(
        *(endpoint.post(ORIGIN, FORM) for _ in range(50)), return_exceptions=True
    )
    assert {type(outcome) for outcome in outcomes} == {ServerError}
    assert len(host.requests) == 200
    assert host.peak == 6
    assert most_in_a_second(host.starts) <= 19


async def test_a_pause_between_attempts_holds_no_slot() -> None:
    pending = PendingAnswers()
    host = Host(pending)
    endpoint = endpoint_over(
        host,
        login_limit=LoginLimit(per_second=1000, concurrent=1),
        retry=RetryPolicy(base=5.0, random=lambda: 1.0),
    )
    first = asyncio.create_task(endpoint.post(ORIGIN, FORM))
    await settle()
    pending.answers[0].set_result(answer(503))
    await asyncio.sleep(1)
    second = asyncio.create_task(endpoint.post(ORIGIN, FORM))
    await settle()
    pending.answers[1].set_result(token_answer("second"))
    assert (await second).value == "second"
    assert now() == pytest.approx(1.0)
    await asyncio.sleep(5)
    pending.answers[2].set_result(token_answer("first"))
    assert (await first).value == "first"


async def test_each_host_has_its_own_login_limit() -> None:
    host = Host(seconds=1.0)
    endpoint = endpoint_over(host, login_limit=LoginLimit(per_second=1000, concurrent=2))
    origins = [f"https://pbx-{number}.example" for number in range(10)]
    await asyncio.gather(*(endpoint.post(origin, FORM) for origin in origins for _ in range(2)))
    assert host.peak == 20
    assert now() < 1.1


@pytest.mark.parametrize("after", [0.0, 0.5, 1.5, 4.0])
async def test_a_cancelled_login_frees_its_slot(after: float) -> None:
    host = Host(script(answer(503)), seconds=1.0)
    endpoint = endpoint_over(
        host,
        login_limit=LoginLimit(per_second=1000, concurrent=1),
        retry=RetryPolicy(base=1.0, random=lambda: 1.0),
    )
    task = asyncio.create_task(endpoint.post(ORIGIN, FORM))
    await settle()
    await asyncio.sleep(after)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert host.in_flight == 0
    host.handler = script(token_answer("t"))
    before = now()
    assert (await endpoint.post(ORIGIN, FORM)).value == "t"
    assert now() - before == pytest.approx(1.0, abs=0.01)


async def test_observers_get_an_event_for_a_token_without_a_secret() -> None:
    events: list[Event] = []
    host = Host(script(answer(503), token_answer("t0ken")), seconds=2.0)
    await post(host, observers=Observers([events.append]))
    assert events == [TokenFetched("pbx.example.com", "client_credentials", 2.0)]
    assert_keeps(repr(events), "hush-hush", "t0ken")


async def test_a_transport_error_is_raised_without_its_chain() -> None:
    async def handle(request: Request) -> Response:
        body = request.body.decode()
        try:
            raise OSError(f"could not send {body}")
        except OSError as error:
            raise ConnectError("refused") from error

    with pytest.raises(ConnectError) as caught:
        await post(Host(handle))
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    # The test's own frames hold the secret.
    frames = error.__traceback__
    while frames is not None and "ringme_async" not in frames.tb_frame.f_code.co_filename:
        frames = frames.tb_next
    assert_keeps(told_by(error.with_traceback(frames)), "hush-hush")


async def test_a_bug_in_a_transport_is_not_retried() -> None:
    host = Host(script(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        await post(host)
    assert len(host.requests) == 1


async def test_a_429_is_busy() -> None:
    with pytest.raises(Busy):
        await post(Host(script(answer(429, **{"x-ratelimit-remaining": "0"}))))
