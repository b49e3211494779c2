"""The transport works when users mock aiohttp with aioresponses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import aiohttp
import pytest
from aioresponses import aioresponses
from yarl import URL

from ringme_async.errors import ConnectError, ResponseLost, ResponseTooLarge, TransportTimeout
from ringme_async.transports import Headers, Request
from tests.aioresponses_shim import mend_aioresponses
from tests.transports.sending import failure_of, opened, request

LINK = "https://pbx.example.com/api/ver1.0/client/12/client/"
ASKED = Request("GET", LINK, Headers({"Authorization": "Bearer t0ken"}))

mend_aioresponses()


@pytest.fixture
def mocked() -> Iterator[aioresponses]:
    with aioresponses() as mocked:
        yield mocked


async def test_a_mocked_answer_comes_back(mocked: aioresponses) -> None:
    mocked.get(LINK, status=201, payload={"id": 12}, headers={"X-RateLimit-Remaining": "9"})
    async with opened() as transport:
        response = await transport.send(ASKED)

    assert (response.status, response.body) == (201, b'{"id": 12}')
    assert response.headers["x-ratelimit-remaining"] == "9"


async def test_a_mock_sees_headers_and_body(mocked: aioresponses) -> None:
    mocked.put(LINK, body=b"{}")
    async with opened() as transport:
        await transport.send(Request("PUT", LINK, ASKED.headers, b'{"hold_music": null}'))

    ((call,),) = mocked.requests.values()
    assert call.kwargs["headers"]["authorization"] == "Bearer t0ken"
    assert call.kwargs["headers"]["accept-encoding"] == "gzip"
    assert call.kwargs["data"] == b'{"hold_music": null}'
    assert call.kwargs["allow_redirects"] is False
    assert list(mocked.requests) == [("PUT", URL(LINK))]


async def test_a_mock_may_fail_first_and_answer_then(mocked: aioresponses) -> None:
    mocked.get(LINK, status=503, body=b"<html>busy</html>")
    mocked.get(LINK, payload={"id": 12})
    async with opened() as transport:
        statuses = [(await transport.send(ASKED)).status for _ in range(2)]

    assert statuses == [503, 200]


async def test_a_mocked_redirect_is_not_followed(mocked: aioresponses) -> None:
    mocked.get(LINK, status=302, headers={"Location": "https://elsewhere.example.com/"})
    async with opened() as transport:
        response = await transport.send(ASKED)

    assert response.status == 302


async def test_a_mocked_body_over_the_cap_is_refused(mocked: aioresponses) -> None:
    mocked.get(LINK, body=b"x" * 1_001)
    async with opened(max_body=1_000) as transport:
        with pytest.raises(ResponseTooLarge):
            await transport.send(ASKED)


@pytest.mark.parametrize(
    ("mock", "kind"),
    [
        (aiohttp.ServerDisconnectedError(), ResponseLost),
        (aiohttp.ClientOSError(104, "Connection reset by peer"), ResponseLost),
        (aiohttp.ClientPayloadError("q=s3cret"), ResponseLost),
        (aiohttp.ClientConnectionError("q=s3cret"), ResponseLost),
        (aiohttp.ClientOSError(None, "Can not write request body for ?q=s3cret"), ResponseLost),
        (aiohttp.ClientOSError(32, "Can not write request body for ?q=s3cret"), ResponseLost),
        (ConnectionResetError(104, "Connection reset by peer"), ResponseLost),
        (aiohttp.ClientError("q=s3cret"), ResponseLost),
        (TimeoutError("q=s3cret"), TransportTimeout),
        (aiohttp.SocketTimeoutError("q=s3cret"), TransportTimeout),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else repr(value)[:32],
)
async def test_a_mocked_failure_is_the_transport_s(
    mocked: aioresponses, mock: Exception, kind: type[Exception]
) -> None:
    mocked.get(LINK, exception=mock, repeat=True)
    mocked.get(f"{LINK}?q=s3cret", exception=mock)
    async with opened() as transport:
        error = await failure_of(transport, request(LINK))

    assert type(error) is kind
    assert error.sent


async def test_a_mocked_refusal_of_the_connection_is_not_sent(mocked: aioresponses) -> None:
    key = aiohttp.client_reqrep.ConnectionKey("pbx.example.com", 443, True, True, None, None, None)
    mocked.get(
        f"{LINK}?q=s3cret", exception=aiohttp.ClientConnectorError(key, OSError(111, "Refused"))
    )
    async with opened() as transport:
        error = await failure_of(transport, request(LINK))

    assert type(error) is ConnectError
    assert not error.sent
    assert "pbx.example.com:443: Refused" in str(error)


async def test_a_mocked_response_may_be_slow(mocked: aioresponses) -> None:
    async def dawdle(*_: object, **__: object) -> None:
        await asyncio.sleep(0)

    mocked.get(LINK, callback=dawdle, payload={"id": 12})
    async with opened() as transport:
        response = await transport.send(ASKED)

    assert response.status == 200
