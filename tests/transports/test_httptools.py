"""Tests of the fast transport alone, beyond the contract."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from ringme_async.errors import (
    CertificateError,
    ConnectError,
    InvalidRequest,
    ResponseLost,
    ResponseTooLarge,
    TransportTimeout,
)
from ringme_async.transports import Headers, Request, Timeouts
from ringme_async.transports.http11.connection import HTTPConnection
from ringme_async.transports.http11.header_parser import HeaderParser
from ringme_async.transports.http11.response_parser import ResponseParser
from ringme_async.transports.httptools import HttptoolsTransport
from ringme_async.transports.write_coalescing import WriteCoalescer
from tests.leaping import MINUTE, leap
from tests.transports import certificates
from tests.transports.sending import assert_harmless, failure_of, request
from tests.wire import Peer, WireServer, answer, chunked, serving

WITHOUT_THE_EXTRA = """
import sys
sys.modules["httptools"] = None  # As if it were not installed.
try:
    from ringme_async.transports.httptools import HttptoolsTransport
except ImportError as error:
    print(error)
"""
WITH_A_BROKEN_EXTRA = """
import sys
sys.modules["httptools.parser"] = None
try:
    from ringme_async.transports.httptools import HttptoolsTransport
except ModuleNotFoundError as error:
    print(error.name)
"""


@asynccontextmanager
async def fast(**settings: object) -> AsyncIterator[HttptoolsTransport]:
    transport = HttptoolsTransport(**settings)  # type: ignore[arg-type]
    try:
        yield transport
    finally:
        await transport.aclose()


def said_by(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    ).stdout.strip()


def test_a_missing_extra_is_named() -> None:
    assert said_by(WITHOUT_THE_EXTRA) == (
        "HttptoolsTransport needs more than is installed; "
        "install it with: pip install 'ringme-async[fast]'"
    )


def test_any_other_missing_module_is_named_itself() -> None:
    assert said_by(WITH_A_BROKEN_EXTRA) == "httptools.parser"


def test_the_repr_shows_the_state_and_no_secret() -> None:
    transport = HttptoolsTransport(proxy="http://user:s3cret@proxy.example.com:3128")

    assert repr(transport) == "<HttptoolsTransport: open>"
    asyncio.run(transport.aclose())
    assert repr(transport) == "<HttptoolsTransport: closed>"


def test_a_transport_belongs_to_the_loop_of_its_first_request() -> None:
    async def use(transport: HttptoolsTransport) -> None:
        async with serving(answer()) as server:
            await transport.send(request(server.url()))

    transport = HttptoolsTransport()
    asyncio.run(use(transport))
    with pytest.raises(InvalidRequest, match="belongs to another event loop"):
        asyncio.run(use(transport))
    asyncio.run(transport.aclose())


async def test_stray_bytes_close_an_idle_connection() -> None:
    said_more = asyncio.Event()

    async def say_more(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"hello"))
        await said_more.wait()
        await peer.send(answer(b"not for you"))
        await peer.until_closed()

    async with serving(say_more) as server, fast() as transport:
        await transport.send(request(server.url()))
        said_more.set()
        await server.idle.wait()
        response = await transport.send(request(server.url()))

    assert response.body == b"hello"
    assert server.connections == 2


async def test_a_response_before_its_request_is_sent_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_asked = asyncio.Event()

    async def say_more(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"hello"))
        await is_asked.wait()
        await peer.send(answer(b"not for you"))
        await peer.until_closed()

    def defer(coalescer: WriteCoalescer, flush: Callable[[], None]) -> bool:
        is_asked.set()
        return True

    async with serving(say_more) as server, fast() as transport:
        await transport.send(request(server.url()))
        monkeypatch.setattr(WriteCoalescer, "defer", defer)
        await failure_of(transport, request(server.url()))
        await server.idle.wait()


async def test_a_request_cancelled_before_it_is_sent_is_never_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deferred: list[Callable[[], None]] = []

    async def answer_and_listen(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"hello"))
        requests.append(await peer.request())

    def defer(coalescer: WriteCoalescer, flush: Callable[[], None]) -> bool:
        deferred.append(flush)
        return True

    requests: list[bytes] = []
    async with serving(answer_and_listen) as server, fast() as transport:
        await transport.send(request(server.url()))
        monkeypatch.setattr(WriteCoalescer, "defer", defer)
        sending = asyncio.create_task(transport.send(request(server.url())))
        await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait([sending])
        deferred[0]()
        await server.idle.wait()

    assert sending.cancelled()
    assert requests == [b""]


@pytest.mark.parametrize("more", [b"no HTTP", answer(b"not for you", "X-One: 1")])
async def test_bytes_right_after_a_response_never_reach_the_next_request(more: bytes) -> None:
    async with serving(answer(b"hello") + more) as server, fast() as transport:
        responses = [await transport.send(request(server.url())) for _ in range(2)]

    assert [(answer.body, answer.headers.get("x-one")) for answer in responses] == [
        (b"hello", None)
    ] * 2
    assert server.connections == 2


def expecting(max_body: int = 1_000) -> ResponseParser:
    parser = ResponseParser(HeaderParser(), max_body)
    waiter = asyncio.get_running_loop().create_future()
    parser.expect(waiter, "http://pbx.example.com/", bodiless=False)
    return parser


async def test_a_finished_response_takes_no_more_bytes() -> None:
    parser = expecting()
    assert parser.feed(answer(b"hello"))
    assert parser.reusable
    assert not parser.feed(b"more")

    assert parser.response().body == b"hello"
    assert not parser.reusable


async def test_a_failed_response_takes_no_more_bytes() -> None:
    parser = expecting(max_body=4)
    parser.feed(chunked(b"hello", b"hello"))

    assert not parser.feed(b"more")
    with pytest.raises(ResponseTooLarge):
        parser.response()


async def test_the_first_failure_of_a_response_counts() -> None:
    parser = expecting(max_body=4)
    parser.feed(chunked(b"hello", end=b"zz\r\n"))

    with pytest.raises(ResponseLost, match="is not HTTP"):
        parser.response()


async def test_a_response_may_end_after_its_waiter_is_cancelled() -> None:
    parser = ResponseParser(HeaderParser(), 1_000)
    waiter = asyncio.get_running_loop().create_future()
    parser.expect(waiter, "http://pbx.example.com/", bodiless=False)
    waiter.cancel()
    parser.connection_lost(None)

    with pytest.raises(ResponseLost):
        parser.response()


async def test_a_response_that_ended_in_time_does_not_time_out() -> None:
    parser = expecting()
    parser.feed(answer(b"hello"))
    parser.time_out(1.0)

    assert parser.response().body == b"hello"


async def test_a_response_that_breaks_off_after_its_head_is_lost() -> None:
    parser = expecting()
    parser.feed(answer(b"", length=5))
    parser.connection_lost(None)

    with pytest.raises(ResponseLost, match="broke off"):
        parser.response()


async def test_an_error_status_survives_a_break_after_the_head() -> None:
    parser = expecting()
    parser.feed(answer(b"", length=5, status="403 No"))
    parser.connection_lost(None)

    response = parser.response()
    assert (response.status, response.body) == (403, b"")


async def test_bytes_after_a_response_to_head_close_the_connection() -> None:
    async def say_more(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"hello"))
        await peer.until_closed()

    async with serving(say_more) as server, fast() as transport:
        response = await transport.send(request(server.url(), "HEAD"))
        await server.idle.wait()

    assert response.body == b""


async def test_connection_close_in_a_response_is_obeyed() -> None:
    async with serving(answer(b"hello", "Connection: close")) as server, fast() as transport:
        for _ in range(2):
            await transport.send(request(server.url()))

    assert server.connections == 2


async def test_closing_ends_requests_in_flight() -> None:
    asked = asyncio.Event()

    async def keep_silent(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.until_closed()

    async with serving(keep_silent) as server:
        transport = HttptoolsTransport()
        sending = asyncio.create_task(failure_of(transport, request(server.url())))
        await asked.wait()
        await transport.aclose()
        error = await sending

    assert type(error) is ResponseLost
    assert error.sent


async def test_closing_ends_connects_in_flight() -> None:
    async def keep_silent(peer: Peer) -> None:
        await peer.until_closed()

    async with serving(keep_silent) as server:
        transport = HttptoolsTransport()
        asked = request(f"https://127.0.0.1:{server.port}/")
        sending = asyncio.create_task(failure_of(transport, asked))
        while not server.connections:
            await asyncio.sleep(0)
        await transport.aclose()
        error = await sending
        await server.idle.wait()

    assert type(error) is ConnectError
    assert "the transport was closed" in str(error)


async def test_closing_does_not_wait_for_a_connection_whose_end_the_loop_hides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    connect = loop.create_connection

    async def connect_and_forget(
        factory: Callable[[], HTTPConnection], sock: socket.socket
    ) -> NoReturn:
        # As uvloop does if a connect is cancelled at the moment of its success.
        made, _protocol = await connect(asyncio.Protocol, sock=sock)
        factory().connection_made(made)
        made.close()
        raise asyncio.CancelledError

    async with serving(answer(b"hello")) as server, fast() as transport:
        monkeypatch.setattr(loop, "create_connection", connect_and_forget)
        sending = asyncio.create_task(transport.send(request(server.url())))
        await asyncio.wait([sending])
        async with asyncio.timeout(MINUTE):
            await transport.aclose()

    assert sending.cancelled()


async def test_a_request_cancelled_during_its_response_closes_the_connection() -> None:
    begun = asyncio.Event()

    async def begin(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"hel", length=5))
        begun.set()
        await peer.until_closed()

    async with serving(begin) as server, fast() as transport:
        sending = asyncio.create_task(transport.send(request(server.url())))
        await begun.wait()
        for _ in range(3):
            await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait([sending])
        await server.idle.wait()

    assert sending.cancelled()


async def test_a_request_cancelled_after_its_response_gives_its_connection_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    feed = ResponseParser.feed

    def feed_and_cancel(parser: ResponseParser, data: bytes) -> bool:
        expected = feed(parser, data)
        sending.cancel()
        return expected

    async with serving(answer(b"hello", "X-One: 1")) as server, fast() as transport:
        with monkeypatch.context() as patch:
            patch.setattr(ResponseParser, "feed", feed_and_cancel)
            sending = asyncio.create_task(transport.send(request(server.url())))
            await asyncio.wait([sending])
        response = await transport.send(request(server.url()))

    assert sending.cancelled()
    assert response.body == b"hello"
    assert server.connections == 1


async def test_each_request_has_its_own_headers() -> None:
    async with serving(answer()) as server, fast() as transport:
        for number in "121":
            await transport.send(Request("GET", server.url(), Headers({"X-One": number})))

    sent = [head.partition(b"X-One: ")[2][:1] for head in server.requests]
    assert sent == [b"1", b"2", b"1"]


@pytest.mark.parametrize(
    ("first", "second"),
    [("", "/a#b"), ("/", "/a#b/c"), ("?q=/", "/a"), ("/a", "/a?q=/#/"), ("/a#b", "/a")],
)
async def test_a_known_origin_gets_the_target_of_the_url(first: str, second: str) -> None:
    async with serving(answer()) as server, fast() as transport:
        for path in (first, second):
            await transport.send(Request("GET", f"http://127.0.0.1:{server.port}{path}"))

    targets = [head.split(b" ", 2)[1].decode() for head in server.requests]
    wanted = [path.partition("#")[0] for path in (first, second)]
    assert targets == [path if path[:1] == "/" else f"/{path}" for path in wanted]
    assert server.connections == 1


async def test_a_known_origin_never_gets_a_malformed_target() -> None:
    async with serving(answer()) as server, fast() as transport:
        await transport.send(Request("GET", server.url()))
        for character in map(chr, (*range(0x21), *range(0x7F, 0x180), 0x44F, 0xFF21, 0xD800)):
            for path in (f"/{character}", f"/a{character}b", f"/a?b{character}"):
                with pytest.raises(InvalidRequest):
                    await transport.send(Request("GET", server.url(path)))
        with pytest.raises(InvalidRequest):
            await transport.send(Request("GET", server.url("/a#\n")))
        spellable = "".join(map(chr, range(0x21, 0x7F))).replace("#", "")
        await transport.send(Request("GET", server.url(f"/{spellable}")))

    assert server.requests[1].startswith(f"GET /{spellable} HTTP/1.1\r\n".encode())
    assert len(server.requests) == 2


async def test_a_query_needs_no_path() -> None:
    async with serving(answer()) as server, fast() as transport:
        await transport.send(Request("GET", f"http://127.0.0.1:{server.port}?q=1#part"))

    assert server.requests[0].startswith(b"GET /?q=1 HTTP/1.1\r\n")


async def test_the_framing_is_the_transport_s_own() -> None:
    fields = {"Content-Length": "5", "Transfer-Encoding": "chunked", "Host": "elsewhere"}
    async with serving(answer()) as server, fast() as transport:
        await transport.send(Request("PUT", server.url(), Headers(fields), b"{}"))

    head = server.requests[0].lower()
    assert b"content-length: 2\r\n" in head
    assert b"chunked" not in head
    assert b"elsewhere" not in head


@pytest.mark.parametrize(
    ("url", "fields"),
    [
        ("http://user:s3cret@127.0.0.1/", {}),
        ("http://127.0.0.1/a b", {}),
        ("http://127.0.0.1/\u044f", {}),
        ("http://127.0.0.1/\r\nX: y", {}),
        ("http://[::1/", {}),
        ("http://127.0.0.1/", {"X One": "1"}),
        ("http://127.0.0.1/", {"X-One": "\ud800"}),
        ("http://127.0.0.1/", {"X-One": "1\n2"}),
    ],
)
async def test_a_request_that_cannot_be_encoded_is_refused(
    url: str, fields: dict[str, str]
) -> None:
    async with fast() as transport:
        with pytest.raises(InvalidRequest) as caught:
            await transport.send(Request("GET", url, Headers(fields)))

    assert_harmless(caught.value)


async def test_an_endless_head_is_not_http() -> None:
    async def pour(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await peer.send(b"X-One: " + b"1" * 65_536)

    async with serving(pour) as server, fast() as transport:
        error = await failure_of(transport, request(server.url()))
        await server.idle.wait()

    assert type(error) is ResponseLost
    assert "is not HTTP" in str(error)


@pytest.mark.parametrize(
    "head",
    [
        "HTTP/1.1 200 OK\r\nX-One: a\r\n b\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\nX-One: a b\nContent-Length: 5\n\n",
        "HTTP/1.1 200 OK\r\nX-One: a b\r\nContent-Length : 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-One: a b\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\n",
    ],
    ids=["folded field", "lines that end with LF", "space before the colon", "padded size"],
)
async def test_the_head_of_an_old_server_is_parsed(head: str) -> None:
    end = b"\r\n0\r\n\r\n" if "chunked" in head else b""
    async with serving(head.encode() + b"hello" + end) as server, fast() as transport:
        responses = [await transport.send(request(server.url())) for _ in range(2)]

    assert [response.body for response in responses] == [b"hello"] * 2
    assert {response.headers["x-one"] for response in responses} == {"a b"}
    assert server.connections == 1


async def test_trailer_fields_are_ignored() -> None:
    data = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n0\r\nX-RateLimit-Remaining: 0\r\n\r\n"
    )
    async with serving(data) as server, fast() as transport:
        response = await transport.send(request(server.url()))

    assert response.body == b"hello"
    assert "x-ratelimit-remaining" not in response.headers


async def relay(peer: Peer, server: WireServer) -> None:
    """Act as a proxy that connects every tunnel to one server."""
    asked = await peer.request()
    assert asked.startswith(b"CONNECT pbx.example.com:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjpzM2NyZXQ=\r\n" in asked
    assert b"Bearer" not in asked
    await peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)

    async def back() -> None:
        while data := await reader.read(65_536):
            await peer.send(data)

    answering = asyncio.create_task(back())
    try:
        while data := await peer.reader.read(65_536):
            writer.write(data)
    finally:
        answering.cancel()
        await asyncio.wait([answering])
        writer.transport.abort()


@asynccontextmanager
async def behind_a_proxy(
    script: bytes, *names: str
) -> AsyncIterator[tuple[HttptoolsTransport, Request]]:
    """Open a transport with a proxy before a server with these names, or one that stalls."""
    shown = certificates.of_server(*names) if names else None

    async def stall(peer: Peer) -> None:
        await peer.reader.read(1)
        leap()
        await peer.until_closed()

    async with serving(script if names else stall, tls=shown) as server:

        async def through(peer: Peer) -> None:
            await relay(peer, server)

        async with serving(through) as proxy:
            url = f"http://user:s3cret@127.0.0.1:{proxy.port}"
            async with fast(proxy=url, ssl=certificates.of_client()) as transport:
                timeouts = Timeouts(connect=MINUTE, attempt=10 * MINUTE)
                yield transport, request("https://pbx.example.com/", timeouts=timeouts)
            await proxy.idle.wait()


async def test_a_request_in_tls_goes_through_the_proxy_s_tunnel() -> None:
    async with behind_a_proxy(answer(b"hello"), "pbx.example.com") as (transport, asked):
        bodies = [(await transport.send(asked)).body for _ in range(2)]

    assert bodies == [b"hello", b"hello"]


async def test_a_server_behind_a_proxy_needs_a_valid_certificate() -> None:
    async with behind_a_proxy(answer(), "elsewhere.example.com") as (transport, asked):
        error = await failure_of(transport, asked)

    assert type(error) is CertificateError
    assert not error.sent
    assert "mismatch" in str(error)


async def test_a_handshake_that_stalls_behind_a_proxy_times_out_as_not_sent() -> None:
    async with behind_a_proxy(answer()) as (transport, asked):
        error = await failure_of(transport, asked)

    assert type(error) is TransportTimeout
    assert not error.sent


async def sent_through(proxy: str) -> None:
    async with fast(proxy=proxy) as transport:
        await transport.send(request("http://pbx.example.com/"))


async def test_a_proxy_user_needs_no_password() -> None:
    async with serving(answer(b"hello")) as proxy:
        url = f"http://us%40er@127.0.0.1:{proxy.port}"
        await sent_through(url)

    assert b"Proxy-Authorization: Basic dXNAZXI6\r\n" in proxy.requests[0]


async def test_a_proxy_without_a_user_gets_no_authorization() -> None:
    async with serving(answer(b"hello")) as proxy:
        await sent_through(f"http://127.0.0.1:{proxy.port}")

    assert b"proxy-authorization" not in proxy.requests[0].lower()
