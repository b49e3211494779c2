"""Every failure of a transport is a ``RingMeError``, on each event loop and at each step."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import ClientSession, TraceConfig

from ringme_async.errors import ConnectError, ResponseLost, RingMeError
from ringme_async.transports import Request, Response, Timeouts, Transport
from ringme_async.transports.aiohttp import AiohttpTransport
from ringme_async.transports.httptools import HttptoolsTransport
from tests.transports.certificates import of_client, of_server
from tests.transports.sending import opened, request
from tests.wire import Peer, answer, serving

TRANSPORTS = (AiohttpTransport, HttptoolsTransport)
WHOLE = answer(b"0123456789")
# The message of uvloop.
TAKEN = "File descriptor 12 is used by transport <TCPTransport closed=False 0x1>"
GONE = "unable to perform operation on <TCPTransport closed=True 0x1>; the handler is closed"


def loops() -> list[Any]:
    found = [pytest.param(asyncio.new_event_loop, id="asyncio")]
    try:
        import uvloop  # it is there on some systems only
    except ModuleNotFoundError:
        missing = pytest.mark.skip(reason="uvloop is not installed")
        return [*found, pytest.param(None, id="uvloop", marks=missing)]
    return [*found, pytest.param(uvloop.new_event_loop, id="uvloop")]


def _cut(peer: Peer) -> None:
    """Reset the connection, unless the peer did already."""
    if peer.writer.get_extra_info("socket") is None:
        peer.writer.transport.abort()
    else:
        peer.reset()


async def _sweep(make: Callable[..., Transport]) -> list[Response | RingMeError]:
    """Send concurrent requests to servers that reset at every step, and cancel some."""
    chance = random.Random(14)

    async def after_the_handshake(peer: Peer) -> None:
        while True:
            step = chance.randrange(5)
            if step == 0:
                return _cut(peer)
            await peer.request()
            if step == 1:
                return _cut(peer)
            await peer.send(WHOLE[:30])
            if step == 2:
                return _cut(peer)
            await peer.send(WHOLE[30:])

    async def before_it(peer: Peer) -> None:
        if chance.randrange(2):
            await peer.reader.read(100)
        if chance.randrange(2):
            await peer.send(b"\x16\x03\x03")
        _cut(peer)

    ends: list[Response | RingMeError] = []
    async with (
        serving(after_the_handshake, tls=of_server("127.0.0.1")) as sound,
        serving(before_it) as broken,
    ):
        transport = make(ssl=of_client())
        hosts = [sound.url("/x"), broken.url("/x").replace("http:", "https:")]

        async def one(number: int) -> None:
            method, body = ("PUT", b"{}") if number % 3 else ("GET", b"")
            asked = Request(method, hosts[number % 2], body=body, timeouts=Timeouts(30, 60))
            task = asyncio.create_task(transport.send(asked))
            if number % 4 == 3:
                for _ in range(chance.randrange(60)):
                    await asyncio.sleep(0)
                task.cancel()
            try:
                ends.append(await task)
            except RingMeError as error:
                ends.append(error)
            except asyncio.CancelledError:
                pass

        for _ in range(4):
            await asyncio.gather(*map(one, range(40)))
        await transport.aclose()
    return ends


@pytest.mark.parametrize("make", TRANSPORTS)
@pytest.mark.parametrize("new_loop", loops())
def test_resets_under_tls_end_in_errors_of_the_package(
    new_loop: Callable[[], asyncio.AbstractEventLoop], make: Callable[..., Transport]
) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        # Any other exception gets out of the sweep and fails the test.
        ends = runner.run(_sweep(make))
    assert {type(end) for end in ends} >= {Response, ConnectError, ResponseLost}


@pytest.mark.parametrize("error", [RuntimeError(TAKEN), RuntimeError(GONE)], ids=["taken", "gone"])
@pytest.mark.usefixtures("each_transport")
async def test_a_loop_that_cannot_connect_a_socket_is_a_connect_error(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", refuse)
    async with serving(WHOLE) as server, opened() as transport:
        with pytest.raises(ConnectError) as caught:
            await transport.send(request(server.url()))
    assert not caught.value.sent


@pytest.mark.parametrize("error", [RuntimeError(GONE), ValueError("Invalid file descriptor: -1")])
@pytest.mark.parametrize("status", ["200 OK", "503 Service Unavailable"])
async def test_a_loop_that_fails_in_mid_answer_is_a_lost_answer(
    error: Exception, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: object) -> bytes:
        raise error

    monkeypatch.setattr("aiohttp.StreamReader.readany", refuse)

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"0123", status=status, length=10))
        await peer.until_closed()

    async with serving(talk) as server, opened() as transport:
        sending = transport.send(request(server.url(), "PUT", b"{}"))
        if status.startswith("503"):
            assert (await sending).status == 503
        else:
            with pytest.raises(ResponseLost) as caught:
                await sending
            assert caught.value.sent


@pytest.mark.parametrize("bug", [RuntimeError("a bug"), RecursionError("a bug"), KeyError("a bug")])
async def test_a_bug_in_a_given_session_stays_a_bug(bug: Exception) -> None:
    async def fail(*_: object) -> None:
        raise bug

    tracing = TraceConfig()
    tracing.on_request_start.append(fail)
    async with (
        serving(WHOLE) as server,
        ClientSession(trace_configs=[tracing]) as session,
        opened(session) as transport,
    ):
        with pytest.raises(type(bug), match="a bug"):
            await transport.send(request(server.url()))
