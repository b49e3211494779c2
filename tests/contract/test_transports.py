"""The contract of every transport."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringme_async.errors import (
    InvalidRequest,
    ResponseLost,
    ResponseTooLarge,
    TransportTimeout,
)
from ringme_async.transports import Headers, Request, Response, Timeouts
from tests.contract.stages import STAGES, Stage
from tests.leaping import MINUTE, leap

FOR_A_MINUTE = Timeouts(connect=MINUTE, attempt=MINUTE)


def zipped(body: bytes) -> bytes:
    """Compress without a timestamp, which would get into the names of tests."""
    return gzip.compress(body, mtime=0)


GZIPPED = {"Content-Encoding": "gzip"}


@pytest.fixture(params=STAGES.values(), ids=list(STAGES))
def stage(request: pytest.FixtureRequest) -> Stage:
    chosen: Stage = request.param
    return chosen


class Echo:
    """Records its requests and gives one response."""

    def __init__(self, response: Response | None = None) -> None:
        self.requests: list[Request] = []
        self.response = response or Response(200)

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        return self.response

    @property
    def request(self) -> Request:
        (request,) = self.requests
        return request


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"])
async def test_the_method_arrives_as_sent(stage: Stage, method: str) -> None:
    echo = Echo()
    async with stage(echo) as (transport, base_url):
        await transport.send(Request(method, f"{base_url}/"))

    assert echo.request.method == method


@pytest.mark.parametrize(
    "path",
    [
        "/api/ver1.0/client/@me/client/",
        "/client/client_info/12/",
        "/",
        "/a%2Fb/%7Ename/%D0%AF",
        "/twice//and/../back/./again",
        "/search/?name=a%20b+c&empty=&flag&x=%26%3D",
    ],
)
async def test_path_and_query_arrive_as_sent(stage: Stage, path: str) -> None:
    echo = Echo()
    async with stage(echo) as (transport, base_url):
        await transport.send(Request("GET", base_url + path))

    assert echo.request.url == base_url + path


async def test_headers_arrive_as_sent(stage: Stage) -> None:
    echo = Echo()
    sent = {"Authorization": "Bearer t0ken", "X-One": "1", "User-Agent": "ringme-async/1"}
    async with stage(echo) as (transport, base_url):
        await transport.send(Request("GET", base_url, Headers(sent)))

    assert {name: echo.request.headers[name] for name in sent} == sent


@pytest.mark.parametrize("body", [b"", b"{}", bytes(range(256)), b"\xd1\x8f" * 700_000], ids=len)
async def test_the_body_arrives_as_sent(stage: Stage, body: bytes) -> None:
    echo = Echo()
    async with stage(echo) as (transport, base_url):
        await transport.send(Request("PUT", base_url, Headers(), body))

    assert echo.request.body == body


async def test_no_header_about_the_body_is_added(stage: Stage) -> None:
    echo = Echo()
    async with stage(echo) as (transport, base_url):
        await transport.send(Request("POST", base_url, Headers(), b"a=b"))

    assert "content-type" not in echo.request.headers


async def test_requests_accept_gzip(stage: Stage) -> None:
    echo = Echo()
    async with stage(echo) as (transport, base_url):
        await transport.send(Request("GET", base_url))

    assert echo.request.headers["accept-encoding"] == "gzip"


async def test_a_request_keeps_its_own_accept_encoding(stage: Stage) -> None:
    echo = Echo()
    async with stage(echo) as (transport, base_url):
        await transport.send(Request("GET", base_url, Headers({"Accept-Encoding": "identity"})))

    assert echo.request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [200, 201, 204, 301, 304, 400, 401, 404, 429, 500, 503, 599])
async def test_any_status_comes_back_as_a_response(stage: Stage, status: int) -> None:
    async with stage(Echo(Response(status))) as (transport, base_url):
        response = await transport.send(Request("GET", base_url))

    assert response.status == status
    assert response.body == b""


@pytest.mark.parametrize("name", ["X-RateLimit-Reset", "x-ratelimit-reset", "X-RATELIMIT-RESET"])
async def test_headers_come_back_in_any_letter_case(stage: Stage, name: str) -> None:
    scripted = Response(200, {"x-RateLimit-Reset": "1800"})
    async with stage(Echo(scripted)) as (transport, base_url):
        response = await transport.send(Request("GET", base_url))

    assert response.headers[name] == "1800"


@pytest.mark.parametrize(
    "body", [b"", b'{"id": 12}', bytes(range(256)), b"0123456789" * 500_000], ids=len
)
async def test_the_body_comes_back_whole(stage: Stage, body: bytes) -> None:
    async with stage(Echo(Response(200, {}, body))) as (transport, base_url):
        response = await transport.send(Request("GET", base_url))

    assert response.body == body


async def test_the_answer_to_head_has_no_body(stage: Stage) -> None:
    async with stage(Echo(Response(200, {"X-One": "1"}))) as (transport, base_url):
        response = await transport.send(Request("HEAD", base_url))

    assert (response.status, response.headers["x-one"], response.body) == (200, "1", b"")


async def test_a_redirect_comes_back_and_is_not_followed(stage: Stage) -> None:
    echo = Echo(Response(307, {"Location": "/elsewhere"}))
    async with stage(echo) as (transport, base_url):
        response = await transport.send(Request("POST", base_url, Headers(), b"client_secret=s"))

    assert (response.status, response.headers["location"]) == (307, "/elsewhere")
    assert len(echo.requests) == 1


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", zipped(b"hello")),
        ("GZip", zipped(b"hello")),
        ("x-gzip", zipped(b"hello")),
        ("gzip", zipped(b"he") + zipped(b"llo")),
        ("gzip", zipped(b"hello") + b"\0" * 512),
        ("deflate", zlib.compress(b"hello")),
        ("deflate", zlib.compress(b"hello")[2:-4]),
        ("identity", b"hello"),
    ],
    ids=["gzip", "upper", "x-gzip", "members", "padded", "deflate", "bare deflate", "identity"],
)
async def test_a_compressed_body_is_decompressed(stage: Stage, coding: str, packed: bytes) -> None:
    scripted = Response(200, {"Content-Encoding": coding}, packed)
    async with stage(Echo(scripted)) as (transport, base_url):
        response = await transport.send(Request("GET", base_url))

    assert response.body == b"hello"


async def test_headers_about_the_compressed_body_are_removed(stage: Stage) -> None:
    scripted = Response(200, {**GZIPPED, "X-One": "1"}, gzip.compress(b"hello"))
    async with stage(Echo(scripted)) as (transport, base_url):
        response = await transport.send(Request("GET", base_url))

    assert "content-encoding" not in response.headers
    assert "content-length" not in response.headers
    assert response.headers["x-one"] == "1"


async def test_an_empty_body_needs_no_decompression(stage: Stage) -> None:
    async with stage(Echo(Response(200, GZIPPED))) as (transport, base_url):
        response = await transport.send(Request("GET", base_url))

    assert response.body == b""


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", zipped(b"hello")[:-3]),
        ("gzip", zipped(b"hello")[:5]),
        ("gzip", zipped(b"hello") + zipped(b"hello")[:-3]),
        ("gzip", zipped(b"hello") + b"no member"),
        ("gzip", b"hello"),
        ("gzip", zipped(b"hello")[:-8] + b"\0" * 8),
        ("gzip", zipped(b"") * 1_001),
        ("deflate", zlib.compress(b"hello")[:-3]),
        ("deflate", zlib.compress(b"hello") + b"more"),
        ("br", b"\x0b\x02\x80hello\x03"),
        ("zstd", b"\x28\xb5\x2f\xfdhello"),
        ("gzip, gzip", zipped(zipped(b"hello"))),
    ],
)
async def test_a_body_that_cannot_be_decompressed_is_lost(
    stage: Stage, coding: str, packed: bytes
) -> None:
    scripted = Response(200, {"Content-Encoding": coding}, packed)
    async with stage(Echo(scripted)) as (transport, base_url):
        with pytest.raises(ResponseLost) as lost:
            await transport.send(Request("GET", base_url))

    assert lost.value.sent
    assert lost.value.__context__ is None


@pytest.mark.parametrize("status", [400, 599])
@pytest.mark.parametrize("coding", ["gzip", "br"])
async def test_an_error_status_survives_an_unreadable_body(
    stage: Stage, coding: str, status: int
) -> None:
    scripted = Response(status, {"Content-Encoding": coding}, gzip.compress(b"hello")[:-3])
    async with stage(Echo(scripted)) as (transport, base_url):
        response = await transport.send(Request("GET", base_url))

    assert response.status == status
    assert response.body == (b"hello" if coding == "gzip" else b"")


@pytest.mark.parametrize("size", [999, 1_000])
@pytest.mark.parametrize("packed", [False, True])
async def test_a_body_may_be_as_large_as_the_cap(stage: Stage, size: int, packed: bool) -> None:
    body = b"x" * size
    scripted = Response(200, GZIPPED, gzip.compress(body)) if packed else Response(200, {}, body)
    async with stage(Echo(scripted), max_body=1_000) as (transport, base_url):
        response = await transport.send(Request("GET", base_url))

    assert response.body == body


@pytest.mark.parametrize("size", [1_001, 1_000_000])
@pytest.mark.parametrize("packed", [False, True])
async def test_a_body_over_the_cap_is_refused(stage: Stage, size: int, packed: bool) -> None:
    body = b"x" * size
    scripted = Response(200, GZIPPED, gzip.compress(body)) if packed else Response(200, {}, body)
    async with stage(Echo(scripted), max_body=1_000) as (transport, base_url):
        with pytest.raises(ResponseTooLarge, match="max_body, 1000 bytes"):
            await transport.send(Request("GET", base_url))


@pytest.mark.parametrize("size", [1_001, 1_000_000])
@pytest.mark.parametrize("packed", [False, True])
async def test_an_error_status_survives_a_body_over_the_cap(
    stage: Stage, size: int, packed: bool
) -> None:
    body = b"x" * size
    scripted = Response(503, GZIPPED, gzip.compress(body)) if packed else Response(503, {}, body)
    async with stage(Echo(scripted), max_body=1_000) as (transport, base_url):
        response = await transport.send(Request("GET", base_url))

    assert response.status == 503
    assert len(response.body) <= 1_000


async def test_endless_padding_is_refused(stage: Stage) -> None:
    scripted = Response(200, GZIPPED, gzip.compress(b"x") + b"\0" * 100_000)
    async with stage(Echo(scripted), max_body=1_000) as (transport, base_url):
        with pytest.raises(ResponseTooLarge):
            await transport.send(Request("GET", base_url))


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=4))
async def test_any_body_survives_any_cut_into_members(
    stage: Stage, body: bytes, cuts: list[int]
) -> None:
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    packed = b"".join(gzip.compress(body[start:end]) for start, end in itertools.pairwise(edges))
    async with stage(Echo(Response(200, GZIPPED, packed))) as (transport, base_url):
        response = await transport.send(Request("GET", base_url))

    assert response.body == body


async def take_too_long(request: Request) -> Response:
    leap(MINUTE)
    await asyncio.Event().wait()
    raise AssertionError


async def test_an_attempt_that_takes_too_long_times_out(stage: Stage) -> None:
    async with stage(take_too_long) as (transport, base_url):
        with pytest.raises(TransportTimeout) as late:
            await transport.send(Request("GET", f"{base_url}/?q=s3cret", timeouts=FOR_A_MINUTE))

    assert late.value.sent
    assert late.value.__context__ is None
    assert "within 60 s" in str(late.value)
    assert "s3cret" not in str(late.value)


async def test_a_time_out_of_the_caller_stays_the_caller_s(stage: Stage) -> None:
    for_longer = Timeouts(connect=MINUTE, attempt=10 * MINUTE)
    async with stage(take_too_long) as (transport, base_url):
        with pytest.raises(TimeoutError) as late:
            async with asyncio.timeout(MINUTE):
                await transport.send(Request("GET", base_url, timeouts=for_longer))

    assert not isinstance(late.value, TransportTimeout)


async def test_cancellation_passes_through(stage: Stage) -> None:
    asked = asyncio.Event()

    async def dawdle(request: Request) -> Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with stage(dawdle) as (transport, base_url):
        sending = asyncio.create_task(transport.send(Request("GET", base_url)))
        await asked.wait()
        sending.cancel()
        await asyncio.wait([sending])

    assert sending.cancelled()


async def test_a_transport_goes_on_after_a_failure(stage: Stage) -> None:
    async def moody(request: Request) -> Response:
        if request.url.endswith("slow"):
            await take_too_long(request)
        return Response(200, GZIPPED, gzip.compress(b"x" * 2_000 * request.url.endswith("large")))

    async with stage(moody, max_body=1_000) as (transport, base_url):
        with pytest.raises(TransportTimeout):
            await transport.send(Request("GET", f"{base_url}/slow", timeouts=FOR_A_MINUTE))
        with pytest.raises(ResponseTooLarge):
            await transport.send(Request("GET", f"{base_url}/large"))
        response = await transport.send(Request("GET", f"{base_url}/fine"))

    assert response.status == 200


async def test_a_hundred_requests_run_at_once(stage: Stage) -> None:
    everybody = asyncio.Barrier(100)

    async def wait_for_everybody(request: Request) -> Response:
        await everybody.wait()
        return Response(200, {}, request.body)

    async with stage(wait_for_everybody) as (transport, base_url):
        sends = (
            transport.send(Request("PUT", base_url, body=b"%d" % number)) for number in range(100)
        )
        responses = await asyncio.gather(*sends)

    assert [response.body for response in responses] == [b"%d" % number for number in range(100)]


async def test_closing_twice_does_nothing_more(stage: Stage) -> None:
    async with stage(Echo()) as (transport, base_url):
        await transport.send(Request("GET", base_url))
        await asyncio.gather(transport.aclose(), transport.aclose())
        await transport.aclose()


async def test_an_unused_transport_can_be_closed(stage: Stage) -> None:
    async with stage(Echo()) as (transport, _):
        await transport.aclose()


async def test_a_closed_transport_sends_nothing(stage: Stage) -> None:
    echo = Echo()
    async with stage(echo) as (transport, base_url):
        await transport.aclose()
        with pytest.raises(InvalidRequest, match="is closed"):
            await transport.send(Request("GET", base_url))

    assert echo.requests == []
