"""Responses from the network: whole, broken, hostile."""

from __future__ import annotations

import asyncio
import copy
import gzip
import pickle
import tracemalloc

import pytest

from ringme_async.errors import ResponseLost, ResponseTooLarge, TransportError, TransportTimeout
from ringme_async.transports import Headers
from ringme_async.transports.body_decoder import BodyDecoder
from tests.leaping import leap
from tests.transports.sending import failure_of, opened, request, sent
from tests.wire import Peer, Script, answer, chunked, serving

pytestmark = pytest.mark.usefixtures("each_transport")

GZIP = "Content-Encoding: gzip"


def saying(*parts: bytes, reset: bool = False) -> Script:
    """Read a request, send the parts one by one, and close or reset the connection."""

    async def script(peer: Peer) -> None:
        await peer.request()
        for part in parts:
            await peer.send(part)
            await asyncio.sleep(0.01)
        if reset:
            peer.reset()

    return script


async def lost(script: Script | bytes) -> TransportError:
    async with serving(script) as server, opened() as transport:
        error = await failure_of(transport, request(server.url()))

    assert type(error) is ResponseLost
    assert error.sent
    assert f"127.0.0.1:{server.port}" in str(error)
    assert server.connections == 1
    return error


async def test_a_request_has_no_unexpected_headers() -> None:
    async with serving(answer()) as server, opened() as transport:
        asked = request(server.url("/a%2Fb/../%7e"), "PUT", b"{}", Accept="a/b", User_Agent="x")
        await transport.send(asked)

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    first, *fields = head.decode().split("\r\n")
    assert first == "PUT /a%2Fb/../%7e?q=s3cret HTTP/1.1"
    # aiohttp adds its own User-Agent where a request has none.
    assert {field.partition(":")[0] for field in fields} - {"User-Agent"} == {
        "Host",
        "Authorization",
        "Accept",
        "Accept-Encoding",
        "User_Agent",
        "Content-Length",
    }
    assert body == b"{}"


async def test_a_post_without_a_body_has_content_length_zero() -> None:
    async with serving(answer()) as server:
        await sent(server.url(), "POST")

    assert b"Content-Length: 0\r\n" in server.requests[0]
    assert b"Content-Type" not in server.requests[0]


async def test_connections_are_used_again() -> None:
    async with serving(answer(b"hello")) as server, opened() as transport:
        for _ in range(3):
            await transport.send(request(server.url()))

    assert (server.connections, len(server.requests)) == (1, 3)


@pytest.mark.parametrize(
    "script",
    [
        saying(answer(b"hel", length=5)),
        saying(answer(b"hel", length=5), reset=True),
        saying(chunked(b"hel", end=b"")),
        saying(chunked(b"hel", end=b"5\r\nlo")),
        saying(answer(gzip.compress(b"hello")[:9], GZIP, length=25)),
    ],
    ids=["length", "reset", "between chunks", "in a chunk", "gzip"],
)
async def test_a_response_that_breaks_off_is_lost(script: Script) -> None:
    error = await lost(script)

    assert "broke" in str(error)


@pytest.mark.parametrize(
    "bytes_",
    [
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"HTTP/1.1 200 OK\r\nX-Caf\xc3\xa9: 1\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nX-One: a\0b\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nX-One: " + b"1" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-One: 1\r\n" * 1_000 + b"\r\n",
        chunked(b"hello", end=b"zz\r\n"),
    ],
    ids=[
        "ssh",
        "tls",
        "name of a header",
        "zero byte",
        "negative length",
        "two lengths",
        "long header",
        "many headers",
        "size of a chunk",
    ],
)
async def test_a_response_that_is_not_http_is_lost(bytes_: bytes) -> None:
    error = await lost(saying(bytes_))

    assert "is not HTTP; check the base URL: its port, and whether it begins with" in str(error)


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"], ids=["none", "head"])
async def test_a_connection_closed_before_the_response_is_a_loss(part: bytes) -> None:
    error = await lost(saying(part))

    assert "closed the connection" in str(error)


async def test_a_connection_reset_before_the_response_is_a_loss() -> None:
    error = await lost(saying(reset=True))

    assert "Connection reset by peer" in str(error)


async def test_a_connection_closed_before_the_request_is_read_is_a_loss() -> None:
    async def hang_up(peer: Peer) -> None:
        peer.reset()

    await lost(hang_up)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_no_request_is_sent_twice_over_a_connection_that_has_died(method: str) -> None:
    requests: list[bytes] = []

    async def answer_one(peer: Peer) -> None:
        requests.append(await peer.request())
        await peer.send(answer(b"hello"))
        requests.append(await peer.request())

    async with serving(answer_one) as server, opened() as transport:
        await transport.send(request(server.url(), method, b"{}"))
        error = await failure_of(transport, request(server.url(), method, b"{}"))

    assert error.sent
    assert len(requests) == 2
    assert server.connections == 1


async def test_a_connection_closed_while_idle_is_replaced() -> None:
    async def answer_one(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"hello"))
        peer.writer.write_eof()
        # The client closes its end once it has noticed.
        await peer.until_closed()

    async with serving(answer_one) as server, opened() as transport:
        await transport.send(request(server.url()))
        await server.idle.wait()
        response = await transport.send(request(server.url()))

    assert response.body == b"hello"
    assert server.connections == 2


async def test_bytes_after_a_response_never_reach_the_next_request() -> None:
    script = saying(answer(b"hello and more", length=5))
    async with serving(script) as server, opened() as transport:
        bodies = set[bytes]()
        for _ in range(2):
            try:
                bodies.add((await transport.send(request(server.url()))).body)
            except ResponseLost:
                bodies.add(b"lost")

    assert bodies <= {b"hello", b"lost"}
    assert server.connections == 2


async def test_interim_responses_are_skipped() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    async with serving(saying(interim, answer(b"hello"))) as server:
        response = await sent(server.url())

    assert (response.status, response.body) == (200, b"hello")


async def test_the_header_fields_of_an_answer_are_like_any_others() -> None:
    fields = ("X-One: 1", "Set-Cookie: a=s3cret", "x-one: 2")
    async with serving(answer(b"", *fields)) as server, opened() as transport:
        headers = (await transport.send(request(server.url()))).headers

    assert (headers.get("x-oNE"), headers["X-ONE"]) == ("2", "2")
    assert (headers.get("x-two"), headers.get("x-two", "none")) == (None, "none")
    assert "X-one" in headers
    assert "x-two" not in headers
    alike = Headers({"x-one": "2", "set-cookie": "a=s3cret", "content-length": "0"})
    assert headers == alike
    assert hash(headers) == hash(alike)
    assert "s3cret" not in repr(headers)
    assert pickle.loads(pickle.dumps(headers)) == copy.copy(headers) == alike
    assert not hasattr(headers, "fields")


async def test_an_unexpected_switch_of_protocols_closes_the_connection() -> None:
    async def switch(peer: Peer) -> None:
        await peer.request()
        await peer.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
        )
        await peer.until_closed()

    # aiohttp then warns about open connections.
    asyncio.get_running_loop().set_debug(True)
    async with serving(switch) as server, opened() as transport:
        response = await transport.send(request(server.url()))
        await server.idle.wait()

    assert response.status == 101


async def test_a_body_without_a_length_ends_with_its_connection() -> None:
    async with serving(saying(b"HTTP/1.0 200 OK\r\n\r\n", b"hello")) as server:
        response = await sent(server.url())

    assert response.body == b"hello"


async def test_a_gzip_body_in_many_chunks_is_decompressed() -> None:
    packed = gzip.compress(b"hello" * 1_000)
    pieces = [packed[place : place + 1] for place in range(len(packed))]
    async with serving(chunked(*pieces, fields=(GZIP,))) as server:
        response = await sent(server.url())

    assert response.body == b"hello" * 1_000


async def test_the_answer_to_head_may_announce_a_body() -> None:
    async with serving(answer(b"", GZIP, length=100)) as server, opened() as transport:
        responses = [await transport.send(request(server.url(), "HEAD")) for _ in range(2)]

    assert [(response.status, response.body) for response in responses] == [(200, b"")] * 2
    assert server.connections == 1


@pytest.mark.parametrize(
    "script",
    [
        saying(answer(b"hel", length=5, status="403 No")),
        saying(answer(gzip.compress(b"hel")[:-3], GZIP, length=99, status="403 No")),
    ],
    ids=["plain", "gzip"],
)
async def test_an_error_status_survives_a_body_that_breaks_off(script: Script) -> None:
    async with serving(script) as server:
        response = await sent(server.url())

    assert (response.status, response.body) == (403, b"hel")


async def test_a_bomb_stops_at_the_cap_with_little_memory() -> None:
    bomb = answer(gzip.compress(b"\0" * (300 * 2**20), compresslevel=1), GZIP)
    left: list[bool] = []

    async def drop(peer: Peer) -> None:
        await peer.request()
        await peer.send(bomb)
        await peer.until_closed()
        left.append(True)

    async with serving(drop) as server, opened(max_body=2**20) as transport:
        tracemalloc.start()
        error = await failure_of(transport, request(server.url()))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await server.idle.wait()

    assert type(error) is ResponseTooLarge
    assert peak < 20 * 2**20
    assert left


async def test_an_endless_body_stops_at_the_cap() -> None:
    async def pour(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await peer.send(b"x" * 65536)

    async with serving(pour) as server, opened() as transport:
        error = await failure_of(transport, request(server.url()))
        await server.idle.wait()

    assert type(error) is ResponseTooLarge


@pytest.mark.parametrize(
    "parts",
    [(), (b"HTTP/1.1 200 OK\r\n",), (answer(b"hel", length=5),)],
    ids=["nothing", "half a head", "half a body"],
)
async def test_a_response_that_stalls_times_out_as_sent(parts: tuple[bytes, ...]) -> None:
    async def stall(peer: Peer) -> None:
        await peer.request()
        for part in parts:
            await peer.send(part)
        leap()
        await peer.until_closed()

    async with serving(stall) as server, opened() as transport:
        error = await failure_of(transport, request(server.url()))
        await server.idle.wait()

    assert type(error) is TransportTimeout
    assert error.sent


async def test_an_error_status_survives_a_body_that_stalls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    feed = BodyDecoder.feed

    def feed_slowly(body: BodyDecoder, chunk: bytes) -> None:
        feed(body, chunk)
        leap()

    async def stall(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"no su", length=12, status="404 Not Found"))
        await peer.until_closed()

    monkeypatch.setattr(BodyDecoder, "feed", feed_slowly)
    async with serving(stall) as server, opened() as transport:
        response = await transport.send(request(server.url()))
        await server.idle.wait()

    assert (response.status, response.body) == (404, b"no su")


@pytest.mark.parametrize("size", [10, 5 * 2**20])
async def test_a_response_before_the_request_is_read_counts(size: int) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(answer(b"too large", status="413 Too Large"))
        await peer.until_closed()

    async with serving(refuse) as server, opened() as transport:
        response = await transport.send(request(server.url(), "PUT", b"x" * size))

    assert (response.status, response.body) == (413, b"too large")
