"""Who owns a session, on which loop it runs, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from ringme_async.errors import ConnectError, InvalidRequest, RingMeError, TransportTimeout
from ringme_async.transports import Headers, Request, Timeouts
from ringme_async.transports.aiohttp import AiohttpTransport
from tests.leaping import MINUTE, leap
from tests.transports import certificates
from tests.transports.sending import failure_of, opened, request
from tests.wire import Peer, answer, serving

Script = Callable[[Peer], Awaitable[None]]


async def keep_silent(peer: Peer) -> None:
    await peer.until_closed()


def fields_of(asked: bytes) -> dict[str, str]:
    lines = asked.decode().partition("\r\n\r\n")[0].split("\r\n")[1:]
    return {name: value for name, _, value in (line.partition(": ") for line in lines)}


async def test_a_transport_makes_no_session_before_the_first_request() -> None:
    transport = AiohttpTransport()
    del transport
    gc.collect()


def test_a_transport_can_be_made_outside_a_loop() -> None:
    transport = AiohttpTransport()

    async def use() -> int:
        async with serving(answer()) as server:
            response = await transport.send(request(server.url()))
        await transport.aclose()
        return response.status

    assert asyncio.run(use()) == 200


@pytest.mark.parametrize("tls", [False, True])
async def test_closing_leaves_no_connection_and_no_warning(tls: bool) -> None:
    shown = certificates.of_server("127.0.0.1") if tls else None
    async with serving(answer(), tls=shown) as server:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            async with opened(ssl=certificates.of_client()) as transport:
                await transport.send(request(server.url()))
            await server.idle.wait()
            del transport
            gc.collect()

    assert seen == []


async def test_requests_in_flight_end_when_the_transport_is_closed() -> None:
    async with serving(keep_silent) as server:
        transport = AiohttpTransport()
        sending = asyncio.create_task(transport.send(request(server.url())))
        while not server.connections:
            await asyncio.sleep(0)
        await transport.aclose()
        await asyncio.wait([sending])

    assert isinstance(sending.exception(), RingMeError)


async def test_requests_that_wait_for_a_connection_end_when_the_transport_is_closed() -> None:
    async with serving(keep_silent) as server:
        transport = AiohttpTransport(limit=1)
        sending = [asyncio.create_task(transport.send(request(server.url()))) for _ in range(2)]
        while not server.connections:
            await asyncio.sleep(0)
        await transport.aclose()
        await asyncio.wait(sending)

    error = sending[1].exception()
    assert type(error) is ConnectError
    assert not error.sent
    assert "the session was closed" in str(error)


async def test_a_cancelled_wait_for_a_closed_transport_is_cancelled() -> None:
    async with serving(keep_silent) as server:
        transport = AiohttpTransport()
        sending = asyncio.create_task(transport.send(request(server.url())))
        while not server.connections:
            await asyncio.sleep(0)
        sending.cancel()
        await asyncio.gather(transport.aclose(), transport.aclose())
        await asyncio.wait([sending])

    assert sending.cancelled()


async def test_a_given_session_is_never_closed() -> None:
    async with aiohttp.ClientSession() as session, serving(answer(b"hello")) as server:
        async with opened(session) as transport:
            await transport.send(request(server.url()))

        assert not session.closed
        async with session.get(server.url()) as response:
            assert await response.read() == b"hello"


async def test_a_given_session_that_is_closed_sends_nothing() -> None:
    async with aiohttp.ClientSession() as session:
        transport = AiohttpTransport(session)
    with pytest.raises(InvalidRequest, match=r"the ClientSession given .* is closed"):
        await transport.send(request("http://127.0.0.1:1/"))


def test_a_given_session_of_another_loop_is_refused_and_does_not_hang() -> None:
    async def make() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    with asyncio.Runner() as theirs, asyncio.Runner() as ours:
        session = theirs.run(make())
        transport = AiohttpTransport(session)
        with pytest.raises(InvalidRequest, match=r"the ClientSession given .* another event loop"):
            ours.run(transport.send(request("http://127.0.0.1:1/")))
        theirs.run(session.close())


async def test_nothing_of_a_given_session_gets_into_a_request() -> None:
    defaults = {"Authorization": "Basic x", "X-Trace": "1", "Host": "other", "Cookie": "a=b"}
    async with serving(answer()) as server:
        session = aiohttp.ClientSession(headers=defaults, cookies={"kept": "cookie"})
        async with session, opened(session) as transport:
            await transport.send(Request("PUT", server.url(), Headers({"X-One": "1"}), b"{}"))
            await transport.send(Request("GET", server.url()))

    put, get = map(fields_of, server.requests)
    host = f"127.0.0.1:{server.port}"
    assert put == {"Host": host, "X-One": "1", "Accept-Encoding": "gzip", "Content-Length": "2"}
    assert get == {"Host": host, "Accept-Encoding": "gzip"}


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")
async def test_the_auth_of_a_given_session_is_not_used() -> None:
    async with serving(answer()) as server:
        session = aiohttp.ClientSession(auth=aiohttp.BasicAuth("nobody", "x"))
        async with session, opened(session) as transport:
            await transport.send(request(server.url()))

    assert fields_of(server.requests[0])["Authorization"] == "Bearer s3cret"


async def test_the_netrc_of_a_given_session_is_not_used(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login nobody password x\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with serving(answer()) as server:
        session = aiohttp.ClientSession(trust_env=True)
        async with session, opened(session) as transport:
            await transport.send(request(server.url()))

    assert fields_of(server.requests[0])["Authorization"] == "Bearer s3cret"


async def test_cookies_of_the_server_get_into_no_jar() -> None:
    jar = aiohttp.CookieJar()
    async with serving(answer(b"", "Set-Cookie: a=b")) as server:
        session = aiohttp.ClientSession(cookie_jar=jar)
        async with session, opened(session) as transport:
            response = await transport.send(request(server.url(host="localhost")))
        async with opened() as transport:
            await transport.send(request(server.url(host="localhost")))
            await transport.send(request(server.url(host="localhost")))

    assert list(jar) == []
    assert response.headers["set-cookie"] == "a=b"
    assert all("Cookie" not in fields_of(asked) for asked in server.requests)


async def test_the_traces_of_a_given_session_go_on() -> None:
    seen: list[str] = []

    async def started(_session: object, _context: object, params: Any) -> None:
        seen.append(params.method)

    async def failed(_session: object, _context: object, params: Any) -> None:
        seen.append(str(params.exception))

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(started)
    trace.on_request_exception.append(failed)

    async def hang_up(peer: Peer) -> None:
        await peer.request()

    async with serving(hang_up) as server:
        session = aiohttp.ClientSession(trace_configs=[trace])
        async with session, opened(session) as transport:
            await failure_of(transport, request(server.url()))

    assert seen == ["GET", "ServerDisconnectedError"]


async def test_a_failing_trace_of_a_given_session_is_a_failure_before_the_request() -> None:
    async def fail(_session: object, _context: object, params: Any) -> None:
        raise TimeoutError

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_start.append(fail)
    async with serving(answer()) as server:
        session = aiohttp.ClientSession(trace_configs=[trace])
        async with session, opened(session) as transport:
            error = await failure_of(transport, request(server.url()))

    assert not error.sent
    assert server.requests == []


def test_another_loop_is_refused_in_one_line() -> None:
    transport = AiohttpTransport()

    async def use() -> None:
        async with serving(answer()) as server:
            await transport.send(request(server.url()))

    asyncio.run(use())
    with pytest.raises(InvalidRequest, match="belongs to another event loop"):
        asyncio.run(use())
    asyncio.run(transport.aclose())


def test_another_loop_cannot_close_a_transport_in_use() -> None:
    transport = AiohttpTransport()

    async def use() -> None:
        async with serving(answer()) as server:
            await transport.send(request(server.url()))

    with asyncio.Runner() as runner:
        runner.run(use())
        with asyncio.Runner() as other, pytest.raises(InvalidRequest, match="another event loop"):
            other.run(transport.aclose())
        runner.run(transport.aclose())


async def test_the_repr_shows_the_state() -> None:
    async with aiohttp.ClientSession() as session:
        transport = AiohttpTransport(session, proxy="http://user:s3cret@proxy.example.com:1")
        assert repr(transport) == "<AiohttpTransport: open, a given session>"
        await transport.aclose()
    await (own := AiohttpTransport()).aclose()
    assert repr(own) == "<AiohttpTransport: closed, its own session>"


async def test_many_time_outs_cost_no_memory() -> None:
    async with serving(answer()) as server, opened() as transport:
        for number in range(1, 100):
            timeouts = Timeouts(connect=MINUTE + number, attempt=MINUTE)
            await transport.send(request(server.url(), timeouts=timeouts))

    assert server.connections == 1


async def test_letting_go_leaves_a_given_session_open() -> None:
    async with aiohttp.ClientSession() as session:
        transport = AiohttpTransport(session)
        transport.let_go()
        assert not session.closed
        with pytest.raises(InvalidRequest, match="is closed"):
            await transport.send(request("http://127.0.0.1:1"))


async def test_a_request_over_a_given_session_keeps_its_time_out_after_closing() -> None:
    asked = asyncio.Event()

    async def keep_silent(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.until_closed()

    async with aiohttp.ClientSession() as session, serving(keep_silent) as server:
        transport = AiohttpTransport(session)
        sending = asyncio.create_task(failure_of(transport, request(server.url())))
        await asked.wait()
        await transport.aclose()
        leap(2 * MINUTE)
        error = await sending

    assert type(error) is TransportTimeout
