"""What the retry budget pays for: retries that were sent, and no others."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from ringme_async import (
    BearerToken,
    ClientCredentials,
    DeadlineExceeded,
    LoginLimit,
    Request,
    Response,
    RetryPolicy,
    RingMe,
    RingMeError,
    Tenant,
    Transport,
    TransportTimeout,
)
from ringme_async.policies.retry_budget import RetryBudget
from tests.jumping_loop import JumpingLoop
from tests.scripted import asked_for, refusal, token

HERE = "https://pbx.example.com"
TOKEN = BearerToken("f1xed-token")
APP = ClientCredentials("app-id", "s3cret")


def opened(transport: Transport, **options: object) -> RingMe:
    settings = {"auth": TOKEN, "retry": RetryPolicy(random=lambda: 1.0)} | options
    return RingMe(HERE, transport=transport, **settings)  # type: ignore[arg-type]


def budget_of(ringme: RingMe) -> RetryBudget:
    return ringme._dispatcher.budgets.of(HERE)


@define
class BusyHost:
    """Asks for a long pause with every answer, and counts the requests."""

    pause: int
    of_logins: bool = False
    requests: int = 0

    async def send(self, request: Request) -> Response:
        if request.url.endswith("/oauth/token") is not self.of_logins:
            return token()
        self.requests += 1
        return refusal(503, Retry_After=str(self.pause))

    async def aclose(self) -> None:
        pass


@pytest.mark.jumping
class TestNothingIsPaid:
    async def test_for_retries_beyond_the_deadline(self) -> None:
        host = BusyHost(pause=120)
        async with opened(host) as ringme:
            report = await ringme.clients.get_many(range(1, 101), timeout=10, on_outage="fail")

            assert {type(outcome.error) for outcome in report.failures} == {DeadlineExceeded}  # type: ignore[union-attr]
            assert host.requests == 100
            assert budget_of(ringme).available == budget_of(ringme).capacity

    @pytest.mark.parametrize("of_logins", [False, True], ids=["call", "login"])
    async def test_for_retries_that_are_cancelled_in_their_pause(self, of_logins: bool) -> None:
        host = BusyHost(pause=20, of_logins=of_logins)
        async with opened(host, auth=APP) as ringme:
            calls = [asyncio.ensure_future(ringme.clients.get(n)) for n in range(1, 101)]
            await asyncio.sleep(10)
            held = budget_of(ringme).capacity - budget_of(ringme).available
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)

        assert held == (5 if of_logins else 500)
        assert budget_of(ringme).available == budget_of(ringme).capacity

    async def test_for_a_login_that_is_cancelled_in_the_queue_of_its_limit(self) -> None:
        host = BusyHost(pause=0, of_logins=True)
        async with opened(host, auth=APP, login_limit=LoginLimit(per_second=0.01)) as ringme:
            with pytest.raises(DeadlineExceeded):
                await ringme.clients.get(12, timeout=50)

        assert host.requests == 1
        assert budget_of(ringme).available == budget_of(ringme).capacity


@define
class Fickle:
    """Answers, fails or stalls at random, and counts which requests are retries.

    Each call and each login has a name of its own here. So a request is a retry if the one before
    it, of the same name, failed in a way that can be repeated.
    """

    chance: random.Random
    paid: int = 0
    earned: int = 0
    prices: dict[tuple[str, bytes], int] = field(factory=dict)

    async def send(self, request: Request) -> Response:
        name = request.url, request.body
        price = self.prices.pop(name, None)
        self.paid += price or 0
        await asyncio.sleep(self.chance.choice([0.0, 0.1, 3.0]))
        pause = self.chance.choice([0, 1, 30])
        match self.chance.choice(["time-out", "failure", "refusal", "answer"]):
            case "time-out":
                self.prices[name] = 10
                raise TransportTimeout("too slow")
            case "failure":
                self.prices[name] = 5
                return refusal(503, Retry_After=str(pause))
            case "refusal":
                return refusal(404)
            case _:
                self.earned += 1 if price is None else price
                is_login = request.url.endswith("/oauth/token")
                return token() if is_login else await asked_for(request)

    async def aclose(self) -> None:
        pass


async def play(chance: random.Random, *, logs_in: bool, calls: int) -> tuple[int, int]:
    """Make calls, cancelling some; return the balance and the expected balance."""
    host = Fickle(chance)
    async with opened(host, retry=RetryPolicy(attempts=6, random=chance.random)) as ringme:
        # Neither empty nor full at any time.
        budget = RetryBudget(capacity=10**6)
        budget.available = 10**5
        ringme._dispatcher.budgets._budgets[HERE] = budget

        async def call(number: int) -> None:
            auth = ClientCredentials(f"app-{number}", "s3cret") if logs_in else TOKEN
            timeout = chance.choice([0.5, 5.0, 60.0])
            with contextlib.suppress(RingMeError):
                await ringme.clients.get(Tenant(number, auth=auth), timeout=timeout)

        tasks = [asyncio.ensure_future(call(number)) for number in range(1, calls + 1)]
        for task in chance.sample(tasks, calls // 3):
            await asyncio.sleep(chance.random())
            task.cancel()
        await asyncio.wait(tasks)
    return budget.available, 10**5 - host.paid + host.earned


@given(source=st.randoms(use_true_random=False), logs_in=st.booleans(), calls=st.integers(1, 30))
def test_the_budget_has_paid_for_sent_retries_and_earned_by_answers(
    source: random.Random, logs_in: bool, calls: int
) -> None:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        holds, should_hold = runner.run(play(source, logs_in=logs_in, calls=calls))

    assert holds == should_hold
