"""A call's deadline lies over its login too, and says what went wrong there."""

from __future__ import annotations

import asyncio

import pytest

from ringme_async import (
    Busy,
    ClientCredentials,
    ConnectError,
    DeadlineExceeded,
    RetryPolicy,
    RingMe,
    ServerError,
    Unauthorized,
)
from tests.auth.exposure import assert_keeps, told_by
from tests.scripted import Answer, ScriptedTransport, never, record, refusal, token

pytestmark = pytest.mark.jumping

URL = "https://pbx.example.com"
APP = ClientCredentials("app-id", "s3cret-of-app")
WAIT_20 = refusal(429, retry_after="20")


def now() -> float:
    return asyncio.get_running_loop().time()


def ringme_over(*logins: Answer, answers: tuple[Answer, ...] = (record(id=12),)) -> RingMe:
    transport = ScriptedTransport(list(answers), list(logins))
    return RingMe(URL, auth=APP, transport=transport, retry=RetryPolicy(base=0.0))


async def too_late(ringme: RingMe, timeout: float) -> DeadlineExceeded:
    with pytest.raises(DeadlineExceeded) as caught:
        await ringme.clients.get(12, timeout=timeout)
    return caught.value


async def test_a_host_that_asks_to_wait_longer_fails_the_call_at_once() -> None:
    async with ringme_over(WAIT_20, token()) as ringme:
        error = await too_late(ringme, 5)

    assert now() == 0.0
    assert str(error) == (
        "client 12: the next attempt to log in, in 20.0 s, is beyond the deadline (timeout=5 s);"
        " raise timeout= if the server is merely slow"
    )
    assert isinstance(error.__cause__, Busy)
    assert_keeps(told_by(error), "s3cret-of-app", "t0ken")


async def test_however_long_the_host_asks_the_call_fails_so_and_at_once() -> None:
    async with ringme_over(refusal(503, retry_after="3600")) as ringme:
        error = await too_late(ringme, 60)

    assert now() == 0.0
    assert isinstance(error.__cause__, ServerError)


async def test_a_call_with_more_time_goes_on_with_the_same_login() -> None:
    transport = ScriptedTransport([record(id=12)], [WAIT_20, token()])
    async with RingMe(URL, auth=APP, transport=transport, retry=RetryPolicy(base=0.0)) as ringme:
        long = asyncio.create_task(ringme.clients.get(12, timeout=60))
        await too_late(ringme, 5)

        assert (await long).id == 12

    assert now() == 20.0
    assert len(transport.logins) == 2


async def test_many_calls_with_little_time_do_not_make_the_host_wait_less() -> None:
    transport = ScriptedTransport([record(id=12)], [WAIT_20, token()])
    async with RingMe(URL, auth=APP, transport=transport, retry=RetryPolicy(base=0.0)) as ringme:
        report = await ringme.clients.get_many(range(200), timeout=5)

        assert [type(failed.error) for failed in report.failures] == [DeadlineExceeded] * 200
        assert len(transport.logins) == 1
        await asyncio.sleep(21)
        assert (await ringme.clients.get(12, timeout=5)).id == 12

    assert len(transport.logins) == 2


@pytest.mark.parametrize(
    ("trouble", "kind"), [(refusal(503), ServerError), (ConnectError("refused"), ConnectError)]
)
async def test_a_deadline_that_passes_in_a_login_names_what_went_wrong_there(
    trouble: Answer, kind: type[Exception]
) -> None:
    async with ringme_over(trouble, never) as ringme:
        error = await too_late(ringme, 7)

    assert now() == 7.0
    assert error.reason == "the deadline passed (timeout=7 s)"
    assert type(error.__cause__) is kind
    assert_keeps(told_by(error), "s3cret-of-app")


async def test_a_deadline_that_passes_in_a_login_without_trouble_has_no_cause() -> None:
    async with ringme_over(never) as ringme:
        error = await too_late(ringme, 7)

    assert error.__cause__ is None


async def test_what_went_wrong_before_the_login_is_the_cause_if_the_login_had_no_trouble() -> None:
    async with ringme_over(token(), never, answers=(refusal(401),)) as ringme:
        error = await too_late(ringme, 7)

    assert isinstance(error.__cause__, Unauthorized)


async def test_a_trouble_in_the_login_is_the_cause_until_something_else_goes_wrong() -> None:
    async with ringme_over(refusal(503), token(), answers=(never,)) as ringme:
        error = await too_late(ringme, 7)

    assert isinstance(error.__cause__, ServerError)
    assert error.attempts == 1
