"""Names with several addresses, slow resolvers, and hosts with dead addresses."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from ringme_async.errors import ConnectError, TransportTimeout
from ringme_async.transports import Timeouts
from tests.leaping import MINUTE
from tests.transports import certificates
from tests.transports.sending import failure_of, opened, request
from tests.wire import Peer, answer, serving

pytestmark = [pytest.mark.usefixtures("each_transport"), pytest.mark.every_loop]

NAME = "pbx.example.com"
Address = tuple[int, int, int, str, tuple[str, int]]


def addresses(port: int, *hosts: str) -> list[Address]:
    tcp = socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, ""
    return [(*tcp, (host, port)) for host in hosts]


class Names:
    """Replaces the system's resolver and counts the look-ups."""

    def __init__(self, look_up: Callable[[int], Awaitable[list[Address]]]) -> None:
        self.asked: list[str] = []
        self._look_up = look_up
        loop = asyncio.get_running_loop()
        self._real = loop.getaddrinfo
        loop.getaddrinfo = self._getaddrinfo  # type: ignore[method-assign,assignment]

    async def _getaddrinfo(self, host: str, port: int, **kwargs: int) -> object:
        if not host.startswith(NAME):
            return await self._real(host, port, **kwargs)
        self.asked.append(host)
        return await self._look_up(port)


def known_as(*hosts: str) -> Names:
    async def look_up(port: int) -> list[Address]:
        return addresses(port, *hosts)

    return Names(look_up)


@contextmanager
def swallowing(host: str, port: int) -> Iterator[None]:
    """Hold an address with a full queue, so that the system drops further connects."""
    with ExitStack() as held:
        listener = held.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(8):
            client = held.enter_context(socket.socket())
            client.settimeout(0.2)
            try:
                client.connect((host, port))
            except TimeoutError:
                break
        else:
            pytest.skip("this system drops no packets")
        yield


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is not everywhere")


@needs_linux
async def test_a_host_with_a_first_address_that_drops_packets_is_reached() -> None:
    async with serving(answer(b"hello")) as server, opened() as transport:
        with swallowing("127.0.0.2", server.port):
            known_as("127.0.0.2", "127.0.0.1")
            timeouts = Timeouts(connect=MINUTE, attempt=MINUTE)
            response = await transport.send(request(server.url(host=NAME), timeouts=timeouts))

    assert response.body == b"hello"


@needs_linux
async def test_a_host_that_drops_packets_at_all_addresses_is_not_sent_to() -> None:
    async with opened() as transport, serving(answer()) as server:
        with swallowing("127.0.0.2", server.port), swallowing("127.0.0.3", server.port):
            known_as("127.0.0.2", "127.0.0.3")
            short = Timeouts(connect=0.5, attempt=MINUTE)
            asked = request(server.url(host=NAME), "PUT", b"{}", short)
            error = await failure_of(transport, asked)

    assert type(error) is TransportTimeout
    assert not error.sent


@needs_linux
async def test_a_host_with_a_first_address_that_stops_after_tcp_is_reached() -> None:
    shown = certificates.of_server(NAME)
    async with (
        serving(answer(b"hello"), tls=shown) as server,
        opened(ssl=certificates.of_client()) as transport,
    ):
        away = await asyncio.start_server(
            lambda _, writer: writer.close(), "127.0.0.2", server.port
        )
        known_as("127.0.0.2", "127.0.0.1")
        response = await transport.send(request(server.url(host=NAME)))
        away.close()
        await away.wait_closed()

    assert response.body == b"hello"


async def test_a_host_that_refuses_at_all_addresses_says_so() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        known_as("127.0.0.1", "127.0.0.1")
        async with opened() as transport:
            error = await failure_of(transport, request(f"http://{NAME}:{port}/"))

    assert type(error) is ConnectError
    assert not error.sent
    assert f"{NAME}:{port}: Connection refused" in str(error)


async def test_many_connections_at_once_look_a_name_up_once() -> None:
    async def look_up(port: int) -> list[Address]:
        await asyncio.sleep(0.05)
        return addresses(port, "127.0.0.1")

    names = Names(look_up)
    everybody = asyncio.Barrier(150)

    async def wait_for_everybody(peer: Peer) -> None:
        await peer.request()
        await everybody.wait()
        await peer.send(answer(b"hello"))

    async with serving(wait_for_everybody) as server, opened() as transport:
        url = server.url(host=NAME)
        sends = [transport.send(request(url)) for _ in range(150)]
        assert {response.body for response in await asyncio.gather(*sends)} == {b"hello"}
        await transport.aclose()

    assert names.asked == [NAME]


async def test_a_failed_look_up_fails_all_callers_and_is_not_cached() -> None:
    failing = True

    async def look_up(port: int) -> list[Address]:
        await asyncio.sleep(0)
        if failing:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return addresses(port, "127.0.0.1")

    names = Names(look_up)
    async with serving(answer(b"hello")) as server, opened() as transport:
        asked = request(server.url(host=NAME))
        errors = await asyncio.gather(*(failure_of(transport, asked) for _ in range(10)))
        assert len(names.asked) == 1
        failing = False
        response = await transport.send(asked)

    assert response.body == b"hello"
    assert len(set(map(id, errors))) == 10
    assert all("Temporary failure" in str(error) and not error.sent for error in errors)


async def test_a_cancelled_caller_does_not_cancel_the_look_up() -> None:
    may_answer = asyncio.Event()

    async def look_up(port: int) -> list[Address]:
        await may_answer.wait()
        return addresses(port, "127.0.0.1")

    names = Names(look_up)
    async with serving(answer(b"hello")) as server, opened() as transport:
        asked = request(server.url(host=NAME))
        first, second = (asyncio.create_task(transport.send(asked)) for _ in range(2))
        while not names.asked:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        may_answer.set()
        response = await second

    assert first.cancelled()
    assert response.body == b"hello"
    assert names.asked == [NAME]


async def test_closing_cancels_a_look_up_without_callers() -> None:
    async def look_up(port: int) -> list[Address]:
        return await asyncio.Event().wait() and []

    names = Names(look_up)
    before = asyncio.all_tasks()
    async with opened() as transport:
        sending = asyncio.create_task(transport.send(request(f"http://{NAME}:1/")))
        while not names.asked:
            await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait([sending])
    await asyncio.sleep(0)

    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("dots", [".", "..."])
async def test_the_last_dot_of_a_full_domain_name_is_dropped(dots: str) -> None:
    names = known_as("127.0.0.1")
    shown = certificates.of_server(NAME)
    async with (
        serving(answer(b"hello"), tls=shown) as server,
        opened(ssl=certificates.of_client()) as transport,
    ):
        response = await transport.send(request(server.url(host=f"{NAME}{dots}")))

    assert response.body == b"hello"
    assert names.asked == [f"{NAME}."]
    assert f"\r\nHost: {NAME}:{server.port}\r\n".encode() in server.requests[0]
