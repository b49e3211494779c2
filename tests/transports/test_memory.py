"""What the transport in memory does beyond the contract."""

from __future__ import annotations

import asyncio

import pytest

from ringme_async.errors import ConnectError, InvalidRequest, TransportTimeout
from ringme_async.transports import Request, Response, Timeouts
from ringme_async.transports.memory import InMemoryTransport

ASKED = Request("GET", "https://pbx.example.com/?q=s3cret")


@pytest.mark.parametrize(
    "error",
    [ConnectError("no route"), ZeroDivisionError(), TimeoutError(), KeyError("id")],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_the_handler_raises_gets_out_as_it_is(error: Exception) -> None:
    async def fail(request: Request) -> Response:
        raise error

    with pytest.raises(type(error)) as caught:
        await InMemoryTransport(fail).send(ASKED)

    assert caught.value is error


@pytest.mark.jumping
async def test_the_attempt_s_time_out_runs_on_the_loop_s_clock() -> None:
    async def dawdle(request: Request) -> Response:
        await asyncio.sleep(3_600)
        return Response(200)

    loop = asyncio.get_running_loop()
    start = loop.time()
    asked = Request("GET", "https://pbx.example.com/", timeouts=Timeouts(attempt=1_800.0))
    with pytest.raises(TransportTimeout, match=r"pbx\.example\.com:443 within 1800 s") as late:
        await InMemoryTransport(dawdle).send(asked)

    assert late.value.sent
    assert loop.time() - start == pytest.approx(1_800.0)


async def test_the_handler_s_request_is_the_one_that_was_sent() -> None:
    seen: list[Request] = []

    async def look(request: Request) -> Response:
        seen.append(request)
        return Response(200)

    asked = Request("GET", "https://pbx.example.com/", {"Accept-Encoding": "gzip"})
    await InMemoryTransport(look).send(asked)

    assert seen == [asked]


async def test_a_handler_whose_answer_is_cancelled_ends() -> None:
    ended = asyncio.Event()

    async def dawdle(request: Request) -> Response:
        try:
            await asyncio.sleep(3_600)
        finally:
            ended.set()
        return Response(200)

    sending = asyncio.create_task(InMemoryTransport(dawdle).send(ASKED))
    await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait([sending])

    assert sending.cancelled()
    assert ended.is_set()


@pytest.mark.parametrize("value", [0, -1, True, 1.5])
def test_a_cap_that_is_none_is_refused(value: int) -> None:
    async def fail(request: Request) -> Response:
        raise AssertionError

    with pytest.raises(InvalidRequest, match="max_body"):
        InMemoryTransport(fail, max_body=value)
