"""Tests of the transport in memory alone, beyond the contract."""

from __future__ import annotations

import asyncio

import pytest

from ringme_async.errors import ConnectError, InvalidRequest, TransportTimeout
from ringme_async.transports import Request, Response, Timeouts
from ringme_async.transports.memory import InMemoryTransport
from tests.jumping_loop import JumpingLoop

ASKED = Request("GET", "https://pbx.example.com/?q=s3cret")


@pytest.mark.parametrize(
    "error",
    [ConnectError("no route"), ZeroDivisionError(), TimeoutError(), KeyError("id")],
    ids=lambda error: type(error).__name__,
)
async def test_an_exception_of_the_handler_gets_out_unchanged(error: Exception) -> None:
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


async def dawdle(request: Request) -> Response:
    await asyncio.sleep(3_600)
    return Response(200)


def test_it_serves_one_loop_after_the_other_and_keeps_the_time_of_each() -> None:
    transport = InMemoryTransport(dawdle)

    async def send_and_leave() -> None:
        sending = asyncio.create_task(transport.send(ASKED))
        await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait([sending])

    async def send_until(attempt: float) -> None:
        asked = Request("GET", ASKED.url, timeouts=Timeouts(attempt=attempt))
        with pytest.raises(TransportTimeout):
            await transport.send(asked)

    asyncio.run(send_and_leave())
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        # Later than the first loop's timer, which never fires.
        runner.run(send_until(1_800.0))


def test_it_is_refused_on_a_second_loop_while_it_is_in_use_on_the_first() -> None:
    transport = InMemoryTransport(dawdle)

    async def begin() -> asyncio.Task[Response]:
        sending = asyncio.create_task(transport.send(ASKED))
        await asyncio.sleep(0)
        return sending

    async def end(sending: asyncio.Task[Response]) -> None:
        sending.cancel()
        await asyncio.wait([sending])

    async def send_too() -> None:
        with pytest.raises(InvalidRequest, match="belongs to another event loop"):
            await transport.send(ASKED)

    with asyncio.Runner() as runner:
        sending = runner.run(begin())
        with asyncio.Runner() as other:
            other.run(send_too())
        runner.run(end(sending))


@pytest.mark.parametrize("value", [0, -1, True, 1.5])
def test_a_malformed_cap_is_refused(value: int) -> None:
    async def fail(request: Request) -> Response:
        raise AssertionError

    with pytest.raises(InvalidRequest, match="max_body"):
        InMemoryTransport(fail, max_body=value)


@pytest.mark.jumping
async def test_a_request_in_flight_keeps_its_time_out_after_closing() -> None:
    async def never(request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    transport = InMemoryTransport(never)
    sending = asyncio.create_task(transport.send(ASKED))
    await asyncio.sleep(0)
    await transport.aclose()

    with pytest.raises(TransportTimeout):
        await sending
