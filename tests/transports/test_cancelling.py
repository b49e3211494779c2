"""A request that is cancelled at any step leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import gzip
import io

import pytest

from ringme_async.transports import Transport
from tests.transports import certificates
from tests.transports.sending import made, request
from tests.wire import Peer, WireServer, answer, serving

pytestmark = pytest.mark.usefixtures("each_transport")

# Far more steps of the loop than any request here takes.
MOST_STEPS = 400


async def answer_in_pieces(peer: Peer) -> None:
    data = answer(gzip.compress(b"hello"), "Content-Encoding: gzip")
    while await peer.request():
        for place in range(0, len(data), 16):
            await peer.send(data[place : place + 16])
            await asyncio.sleep(0)


async def settle(server: WireServer, open_connections: int) -> None:
    """Run the loop until the server has no more connections than allowed."""
    while server.open_connections > open_connections:
        await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0)


async def cancel_after(steps: int, transport: Transport, server: WireServer, body: bytes) -> bool:
    """Cancel a request after some steps of the loop. Returns: True if it was in flight."""
    sending = asyncio.create_task(transport.send(request(server.url(), "PUT", body)))
    for _ in range(steps):
        await asyncio.sleep(0)
    in_flight = sending.cancel()
    await asyncio.wait([sending])
    assert sending.cancelled() is in_flight
    return in_flight


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
async def test_a_request_cancelled_at_any_step_leaves_nothing_behind(tls: bool, warm: bool) -> None:
    # aiohttp then warns about open connections.
    asyncio.get_running_loop().set_debug(True)
    shown = certificates.of_server("127.0.0.1") if tls else None
    trust = certificates.of_client() if tls else None
    async with serving(answer_in_pieces, tls=shown) as server:
        for steps in range(MOST_STEPS):
            transport = made(ssl=trust)
            if warm:
                await transport.send(request(server.url()))
            before = asyncio.all_tasks()
            in_flight = await cancel_after(steps, transport, server, b"{}")
            if in_flight:
                # A cancelled exchange loses its connection. An unused connection may stay.
                await settle(server, open_connections=1)
                assert (await transport.send(request(server.url()))).body == b"hello"
            await transport.aclose()
            await settle(server, open_connections=0)
            left = asyncio.all_tasks() - before
            assert not left
            if not in_flight:
                break
        else:
            raise AssertionError("the request never ended")
        gc.collect()


async def test_an_upload_cancelled_in_the_middle_ends_its_connection_and_its_task() -> None:
    started = asyncio.Event()

    async def read_a_little(peer: Peer) -> None:
        await peer.reader.readexactly(10)
        started.set()
        await peer.until_closed()

    async with serving(read_a_little) as server:
        transport = made()
        before = asyncio.all_tasks()
        body = io.BytesIO(b"x" * 20_000_000).getvalue()
        sending = asyncio.create_task(transport.send(request(server.url(), "PUT", body)))
        await started.wait()
        sending.cancel()
        await asyncio.wait([sending])
        await server.idle.wait()
        await settle(server, open_connections=0)
        left = {task for task in asyncio.all_tasks() - before if not task.done()}
        await transport.aclose()

    assert sending.cancelled()
    assert not left


async def test_a_simultaneous_time_out_of_the_caller_stays_the_caller_s() -> None:
    async with serving(answer_in_pieces) as server:
        transport = made()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await transport.send(request(server.url()))
        await transport.aclose()
