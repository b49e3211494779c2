"""The fake on a socket."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl

import aiohttp
import pytest
import trustme

from ringme_async.errors import ResponseLost
from ringme_async.testing import FakeRingMe, faults
from ringme_async.testing.fake.fault_kinds import Scene
from ringme_async.transports import Headers, Request, Response
from ringme_async.transports.aiohttp import AiohttpTransport
from ringme_async.transports.memory import InMemoryTransport
from tests.testing.reach import ROOT, Caller, reaching


@pytest.fixture
def token(fake: FakeRingMe) -> str:
    fake.add_tenant(id=12)
    return fake.issue_token(fake.add_application(tenant=12))


async def raw(url: str, request: str) -> bytes:
    """Send a raw request and read until the server closes the connection."""
    host, _, port = url.partition("://")[2].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request.replace("\n", "\r\n").encode())
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_an_answer_is_gzip_on_the_wire(fake: FakeRingMe, token: str) -> None:
    async with fake.serve() as url:
        answer = await raw(
            url,
            f"GET {ROOT}/client/@me/client/ HTTP/1.1\nHost: x\nAccept-Encoding: gzip\n"
            f"Authorization: Bearer {token}\nConnection: close\n\n",
        )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Encoding: gzip\r\n" in head
    assert b"\r\nX-RateLimit-Limit: 10000\r\n" in head
    assert gzip.decompress(body) == fake.tenant(12).encoded()


async def test_a_refusal_for_missing_gzip_is_not_compressed(fake: FakeRingMe) -> None:
    async with fake.serve() as url:
        answer = await raw(url, "GET / HTTP/1.1\nHost: x\nConnection: close\n\n")
    assert answer.startswith(b"HTTP/1.1 406 Not Acceptable\r\n")
    assert b"Content-Encoding" not in answer


async def test_a_request_with_an_absolute_url_is_accepted(fake: FakeRingMe, token: str) -> None:
    async with fake.serve() as url:
        answer = await raw(
            url,
            f"GET http://far.test{ROOT}/client/@me/client/ HTTP/1.1\nHost: far.test\n"
            f"Accept-Encoding: gzip\nAuthorization: Bearer {token}\nConnection: close\n\n",
        )
    assert answer.startswith(b"HTTP/1.1 200")
    assert fake.requests[-1].host == "far.test"


async def test_repeated_header_fields_are_joined(fake: FakeRingMe) -> None:
    async with fake.serve() as url:
        await raw(
            url,
            "GET / HTTP/1.1\nHost: x\nAccept-Encoding: br\nAccept-Encoding: gzip\n"
            "Connection: close\n\n",
        )
    assert fake.requests[-1].headers["accept-encoding"] == "br, gzip"
    assert not fake.violations


async def test_an_accept_encoding_of_any_kind_is_answered(fake: FakeRingMe) -> None:
    async with fake.serve() as url:
        answer = await raw(
            url, "OPTIONS * HTTP/1.1\nHost: x\nAccept-Encoding: gzip\nConnection: close\n\n"
        )
    assert answer.startswith(b"HTTP/1.1 404")


async def test_an_answer_without_a_body_is_not_compressed(call: Caller) -> None:
    call.fake.add_resource("DELETE", "/thing/", None, status=204)
    token = call.fake.issue_token(call.fake.add_application())
    answer = await call("DELETE", f"{ROOT}/thing/", token=token)
    assert (answer.status, answer.body) == (204, b"")
    assert "content-encoding" not in answer.headers


async def test_a_closed_server_leaves_no_task_and_no_socket(fake: FakeRingMe, token: str) -> None:
    before = asyncio.all_tasks()
    async with reaching("loopback", fake) as call:
        await call.get(12, token)
        fake.faults.next(faults.Stall(3600))
        stalled = asyncio.create_task(call.get(12, token))
        while not fake.in_flight:
            await asyncio.sleep(0)
        async with aiohttp.ClientSession() as session, session.get(call.url) as answer:
            await answer.read()
    await asyncio.gather(stalled, return_exceptions=True)
    assert fake.in_flight == 0
    assert asyncio.all_tasks() == before
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(call.url.rpartition(":")[2]))) != 0


async def test_a_client_that_disconnects_ends_its_request(fake: FakeRingMe, token: str) -> None:
    fake.latency = 3600
    async with reaching("loopback", fake) as call:
        waiting = asyncio.create_task(call.get(12, token))
        while not fake.in_flight:
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        while fake.in_flight:
            await asyncio.sleep(0)


@pytest.mark.parametrize("fault", [faults.ResetAfter(), faults.CutBody()])
async def test_a_fault_after_a_disconnect_does_no_harm(
    fake: FakeRingMe, token: str, fault: faults.Fault
) -> None:
    fake.latency = 0.01
    fake.faults.always(fault)
    async with reaching("loopback", fake) as call:
        for _ in range(5):
            waiting = asyncio.create_task(call.get(12, token))
            while not fake.in_flight:
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        while fake.in_flight:
            await asyncio.sleep(0)


@pytest.mark.parametrize("base", [faults.GzipBomb, faults.CutBody, faults.ResetAfter])
async def test_an_answer_to_a_closing_connection_is_dropped(
    fake: FakeRingMe, token: str, caplog: pytest.LogCaptureFixture, base: type[faults.Fault]
) -> None:
    server = fake.serve()

    def lose_all() -> None:
        for connection in server._web.connections:
            assert connection.transport is not None
            connection.transport.abort()

    class JustBefore(base):  # type: ignore[misc,valid-type]
        def strike(self, scene: Scene) -> Response:
            asyncio.get_running_loop().call_soon(lose_all)
            return super().strike(scene)  # type: ignore[no-any-return]

    transport = AiohttpTransport()
    fake.faults.next(JustBefore())
    async with server as url:
        with pytest.raises(ResponseLost):
            await Caller(transport, url, fake).get(12, token)
        while fake.in_flight:
            await asyncio.sleep(0)
    await transport.aclose()
    assert not caplog.records


async def test_it_serves_https(fake: FakeRingMe, token: str) -> None:
    authority = trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    transport = AiohttpTransport(ssl=trusting)
    async with fake.serve(ssl_context=serving) as url:
        assert url.startswith("https://127.0.0.1:")
        call = Caller(transport, url, fake)
        assert (await call.get(12, token)).status == 200
        fake.faults.next(faults.Redirect("https://else.test/"))
        assert (await call.get(12, token)).status == 307
        await transport.aclose()


async def test_the_port_and_the_host_can_be_chosen(fake: FakeRingMe) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with fake.serve(host="127.0.0.1", port=port) as url:
        assert url == f"http://127.0.0.1:{port}"


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
async def test_it_serves_ipv6(fake: FakeRingMe, token: str) -> None:
    transport = AiohttpTransport()
    try:
        async with fake.serve(host="::1") as url:
            assert url.startswith("http://[::1]:")
            assert (await Caller(transport, url, fake).get(12, token)).status == 200
    except OSError:
        pytest.skip("this machine has no ::1")
    finally:
        await transport.aclose()


async def test_one_fake_serves_memory_and_sockets_at_once(fake: FakeRingMe, token: str) -> None:
    async with reaching("loopback", fake) as one, reaching("plain", fake) as two:
        await one.put(12, token, {"hold_music": 1})
        await two.put(12, token, {"dial_rule_id": 2})
        request = Request(
            "GET",
            f"{fake.base_url}{ROOT}/client/12/client/",
            Headers({"authorization": f"Bearer {token}"}),
        )
        record = (await InMemoryTransport(fake).send(request)).body
    assert b'"hold_music": 1' in record
    assert b'"dial_rule_id": 2' in record
    assert fake.requests.total == 3


async def test_a_server_started_in_an_outage_refuses_connections(fake: FakeRingMe) -> None:
    async with fake.outage(), fake.serve() as url:
        port = int(url.rpartition(":")[2])
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


async def test_an_added_resource_that_raises_answers_500(
    fake: FakeRingMe, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_request: object) -> None:
        raise ZeroDivisionError

    fake.add_resource("GET", "/broken/", broken)
    async with reaching("loopback", fake) as call:
        answer = await call("GET", f"{ROOT}/broken/", token=token)
    assert answer.status == 500
    assert "ZeroDivisionError" in caplog.text
    assert fake.in_flight == 0
