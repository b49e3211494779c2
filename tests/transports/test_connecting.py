"""Failed connects: names, routes, time-outs, TLS, proxies, and malformed URLs."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from ringme_async import BearerToken, RingMe
from ringme_async.errors import (
    BadRequest,
    CertificateError,
    ConnectError,
    InvalidRequest,
    ResponseLost,
    TransportTimeout,
)
from ringme_async.transports import Headers, Request, Timeouts
from tests.leaping import MINUTE, leap
from tests.transports import certificates
from tests.transports.sending import assert_harmless, failure_of, made, opened, request
from tests.wire import Peer, answer, serving

pytestmark = pytest.mark.usefixtures("each_transport")

SLOW_TO_CONNECT = Timeouts(connect=MINUTE, attempt=10 * MINUTE)
SLOW_ATTEMPT = Timeouts(connect=10 * MINUTE, attempt=MINUTE)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Hold a port without a listener."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


async def keep_silent(peer: Peer) -> None:
    await peer.until_closed()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_refused_connection_is_not_sent(closed_port: int, host: str) -> None:
    async with opened() as transport:
        error = await failure_of(transport, request(f"http://{host}:{closed_port}/"))

    assert type(error) is ConnectError
    assert not error.sent
    assert f"{host}:{closed_port}" in str(error)
    assert os.strerror(errno.ECONNREFUSED) in str(error)


async def test_an_unknown_host_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*args: object, **kwargs: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    async with opened() as transport:
        error = await failure_of(transport, request("https://pbx.invalid/"))

    assert type(error) is ConnectError
    assert not error.sent
    assert "pbx.invalid:443: Name or service not known" in str(error)


async def test_https_to_an_http_port_says_so() -> None:
    async def answer_in_plain(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.send(answer(status="400 Bad Request"))

    async with serving(answer_in_plain) as server, opened() as transport:
        error = await failure_of(transport, request(f"https://127.0.0.1:{server.port}/"))

    assert type(error) is ConnectError
    assert not error.sent
    assert "_ssl.c" not in str(error)
    assert str(error).endswith("; the port may speak http, not https: check the base URL")


@pytest.mark.parametrize("timeouts", [SLOW_TO_CONNECT, SLOW_ATTEMPT], ids=["connect", "attempt"])
async def test_a_handshake_that_stalls_times_out_as_not_sent(timeouts: Timeouts) -> None:
    async def stall(peer: Peer) -> None:
        await peer.reader.read(1)
        # aiohttp rounds a time-out up to a whole second.
        leap(2 * MINUTE)
        await peer.until_closed()

    async with serving(stall) as server, opened() as transport:
        asked = request(f"https://127.0.0.1:{server.port}/", timeouts=timeouts)
        error = await failure_of(transport, asked)
        await server.idle.wait()

    assert type(error) is TransportTimeout
    assert not error.sent
    assert "within 60 s" in str(error)


async def test_without_a_limit_no_request_waits_for_another() -> None:
    everybody = asyncio.Barrier(150)

    async def wait_for_everybody(peer: Peer) -> None:
        await peer.request()
        await everybody.wait()
        await peer.send(answer())

    async with serving(wait_for_everybody) as server, opened() as transport:
        await asyncio.gather(*(transport.send(request(server.url())) for _ in range(150)))

    assert server.connections == 150


async def test_a_certificate_of_the_company_s_own_ca_is_trusted_when_given() -> None:
    shown = certificates.of_server("localhost", "127.0.0.1")
    async with (
        serving(answer(b"hello"), tls=shown) as server,
        opened(ssl=certificates.of_client()) as transport,
    ):
        bodies = [
            (await transport.send(request(server.url(host=host)))).body
            for host in ("localhost", "127.0.0.1")
        ]

    assert bodies == [b"hello", b"hello"]


@pytest.mark.parametrize(
    ("name", "not_after", "trusted", "words"),
    [
        ("127.0.0.1", None, False, "certificate verify failed"),
        ("pbx.example.com", None, True, "mismatch"),
        ("127.0.0.1", certificates.LONG_AGO, True, "expired"),
    ],
    ids=["unknown CA", "name", "expired"],
)
async def test_a_server_with_an_untrusted_certificate_gets_nothing(
    name: str, not_after: datetime | None, trusted: bool, words: str
) -> None:
    shown = certificates.of_server(name, not_after=not_after)
    trust = certificates.of_client() if trusted else None
    async with serving(answer(), tls=shown) as server, opened(ssl=trust) as transport:
        error = await failure_of(transport, request(server.url()))

    assert type(error) is CertificateError
    assert not error.sent
    assert words in str(error)
    assert "give the transport that CA (ssl=)" in str(error)
    assert server.requests == []


async def test_an_untrusted_certificate_is_not_retried() -> None:
    async with (
        serving(answer(), tls=certificates.of_server("127.0.0.1")) as server,
        RingMe(server.url(""), auth=BearerToken("t0ken"), transport=made()) as ringme,
    ):
        with pytest.raises(CertificateError) as caught:
            await ringme.clients.get(2)

    assert caught.value.attempts == 1


async def test_http_to_an_https_port_says_so() -> None:
    async with (
        serving(answer(), tls=certificates.of_server("127.0.0.1")) as server,
        opened() as transport,
    ):
        error = await failure_of(transport, request(f"http://127.0.0.1:{server.port}/"))

    assert type(error) is ResponseLost
    assert str(error).endswith("; the port may speak https, not http: check the base URL")


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_only_a_plain_request_that_nothing_answers_may_have_met_a_port_of_tls(
    scheme: str, reset: bool
) -> None:
    async def hang_up(peer: Peer) -> None:
        await peer.request()
        if reset:
            peer.reset()

    shown = certificates.of_server("127.0.0.1") if scheme == "https" else None
    async with (
        serving(hang_up, tls=shown) as server,
        opened(ssl=certificates.of_client()) as transport,
    ):
        error = await failure_of(transport, request(server.url()))

    assert type(error) is ResponseLost
    assert ("may speak https" in str(error)) is (scheme == "http")


async def test_a_server_that_knows_its_port_for_https_is_understood() -> None:
    page = b"<html><title>400 The plain HTTP request was sent to HTTPS port</title></html>"
    async with (
        serving(answer(page, status="400 Bad Request")) as server,
        RingMe(server.url(""), auth=BearerToken("t0ken"), transport=made()) as ringme,
    ):
        with pytest.raises(BadRequest) as caught:
            await ringme.clients.get(2)

    assert str(caught.value).endswith("the port speaks https, not http: check the base URL")


async def test_a_server_that_speaks_no_tls_gets_nothing() -> None:
    async def greet(peer: Peer) -> None:
        await peer.send(b"220 mail.example.com ESMTP\r\n")
        await peer.until_closed()

    async with serving(greet) as server, opened() as transport:
        error = await failure_of(transport, request(f"https://127.0.0.1:{server.port}/"))

    assert type(error) is ConnectError
    assert not error.sent


async def test_a_connection_that_breaks_in_the_handshake_is_not_sent() -> None:
    async def hang_up(peer: Peer) -> None:
        await peer.reader.read(1)
        peer.reset()

    async with serving(hang_up) as server, opened() as transport:
        error = await failure_of(transport, request(f"https://127.0.0.1:{server.port}/"))

    assert type(error) is ConnectError
    assert not error.sent


async def test_a_broken_tls_stream_is_a_loss() -> None:
    async def garble(peer: Peer) -> None:
        await peer.request()
        sock: socket.socket = peer.writer.get_extra_info("socket")
        os.write(sock.fileno(), b"\x17\x03\x03\x00\x20" + b"garbled!" * 4)
        await peer.until_closed()

    shown = certificates.of_server("127.0.0.1")
    async with (
        serving(garble, tls=shown) as server,
        opened(ssl=certificates.of_client()) as transport,
    ):
        error = await failure_of(transport, request(server.url()))

    assert type(error) is ResponseLost
    assert error.sent


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:99999/",
        "http:///path",
        "ftp://127.0.0.1/",
        "ws://127.0.0.1:1/",
        "/path",
        "",
        f"http://{'a' * 70}.example.com/",
    ],
)
async def test_a_malformed_url_is_refused(url: str) -> None:
    async with opened() as transport:
        with pytest.raises((InvalidRequest, ConnectError)) as caught:
            await transport.send(request(url))

    assert_harmless(caught.value)


@pytest.mark.parametrize(
    ("method", "fields"),
    [("G ET", {}), ("GET\r\nX: y", {}), ("GET", {"X-One": "1\r\nX-Two: 2"}), ("GET", {"X": "\0"})],
)
async def test_a_request_that_http_forbids_is_refused(method: str, fields: dict[str, str]) -> None:
    async with serving(answer()) as server, opened() as transport:
        with pytest.raises(InvalidRequest) as caught:
            await transport.send(Request(method, server.url(), Headers(fields)))

    assert_harmless(caught.value)
    assert server.requests == []


@pytest.mark.parametrize(
    "proxy", ["", "socks5://proxy:1", "proxy:3128", "http://", "http://s3cret@[::1"]
)
def test_a_malformed_proxy_url_is_refused(proxy: str) -> None:
    with pytest.raises(InvalidRequest, match="proxy must be a URL") as caught:
        made(proxy=proxy)

    assert "s3cret" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "1"])
def test_a_malformed_cap_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="max_body"):
        made(max_body=value)


@pytest.mark.parametrize("value", [False, True, "ca.pem"])
def test_verification_cannot_be_turned_off(value: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"ssl\.SSLContext"):
        made(ssl=value)


def proxy_at(port: int) -> str:
    return f"http://user:s3cret@127.0.0.1:{port}"


async def test_a_plain_request_goes_through_the_proxy() -> None:
    async with (
        serving(answer(b"hello")) as proxy,
        opened(proxy=proxy_at(proxy.port)) as transport,
    ):
        response = await transport.send(request("http://pbx.example.com/a%2Fb"))

    assert response.body == b"hello"
    assert proxy.requests[0].startswith(b"GET http://pbx.example.com/a%2Fb?q=s3cret HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjpzM2NyZXQ=\r\n" in proxy.requests[0]
    assert "user" not in repr(transport)


async def test_a_proxy_does_not_see_the_request_in_its_tunnel() -> None:
    asked: list[bytes] = []

    async def refuse(peer: Peer) -> None:
        asked.append(await peer.request())
        await peer.send(answer(status="407 Proxy Authentication Required"))

    async with serving(refuse) as proxy, opened(proxy=proxy_at(proxy.port)) as transport:
        error = await failure_of(transport, request("https://pbx.example.com/"))

    assert type(error) is ConnectError
    assert not error.sent
    assert f"the proxy 127.0.0.1:{proxy.port} gives no way to pbx.example.com:443: status 407" in (
        str(error)
    )
    assert asked[0].startswith(b"CONNECT pbx.example.com:443 HTTP/1.1\r\n")
    assert b"Bearer" not in asked[0]


async def test_a_proxy_that_hangs_up_is_a_connect_error() -> None:
    async def hang_up(peer: Peer) -> None:
        await peer.request()

    async with serving(hang_up) as proxy, opened(proxy=proxy_at(proxy.port)) as transport:
        error = await failure_of(transport, request("https://pbx.example.com/"))

    assert type(error) is ConnectError
    assert not error.sent
    assert proxy.connections == 1
    assert f"127.0.0.1:{proxy.port}" in str(error)
    assert "pbx.example.com:443" in str(error)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_refuses_connections_is_named_with_the_host(
    closed_port: int, scheme: str
) -> None:
    async with opened(proxy=proxy_at(closed_port)) as transport:
        error = await failure_of(transport, request(f"{scheme}://pbx.example.com:1234/"))

    assert type(error) is ConnectError
    assert f"pbx.example.com:1234 through the proxy 127.0.0.1:{closed_port}: " in str(error)
    assert os.strerror(errno.ECONNREFUSED) in str(error)


async def test_a_proxy_that_stalls_is_named_with_the_host() -> None:
    async def stall(peer: Peer) -> None:
        await peer.request()
        leap(2 * MINUTE)
        await peer.until_closed()

    async with serving(stall) as proxy, opened(proxy=proxy_at(proxy.port)) as transport:
        asked = request("https://pbx.example.com/", timeouts=SLOW_TO_CONNECT)
        error = await failure_of(transport, asked)

    assert type(error) is TransportTimeout
    assert f"pbx.example.com:443 through the proxy 127.0.0.1:{proxy.port} within" in str(error)


async def test_a_certificate_error_behind_a_proxy_names_host_and_proxy() -> None:
    shown = certificates.of_server("pbx.example.com")

    async def open_the_way(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await peer.writer.start_tls(shown)

    async with serving(open_the_way) as proxy, opened(proxy=proxy_at(proxy.port)) as transport:
        error = await failure_of(transport, request("https://pbx.example.com/"))

    assert type(error) is CertificateError
    assert f"pbx.example.com:443 through the proxy 127.0.0.1:{proxy.port}: " in str(error)
