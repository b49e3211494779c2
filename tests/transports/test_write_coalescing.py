"""The writes of one turn of the event loop leave in batches."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

import pytest

from ringme_async.transports.write_coalescing import WriteCoalescer
from tests.transports.sending import in_flight, opened, request
from tests.wire import Peer, answer, serving

BATCH = 8


async def test_a_deferred_write_leaves_at_the_end_of_the_turn() -> None:
    left: list[str] = []
    coalescer = WriteCoalescer(in_flight(BATCH))

    assert coalescer.defer(lambda: left.append("first"))
    assert coalescer.defer(lambda: left.append("second"))
    assert left == []
    await asyncio.sleep(0)
    assert left == ["first", "second"]


async def test_a_deferred_write_leaves_once() -> None:
    left: list[str] = []
    coalescer = WriteCoalescer(in_flight(BATCH))

    coalescer.defer(lambda: left.append("in the first turn"))
    await asyncio.sleep(0)
    coalescer.defer(lambda: left.append("in the second turn"))
    await asyncio.sleep(0)
    assert left == ["in the first turn", "in the second turn"]


async def test_a_write_deferred_during_a_flush_leaves_with_the_next() -> None:
    left: list[str] = []
    coalescer = WriteCoalescer(in_flight(BATCH))

    coalescer.defer(lambda: coalescer.defer(lambda: left.append("next")) and None)
    await asyncio.sleep(0)
    assert left == []
    await asyncio.sleep(0)
    assert left == ["next"]


async def test_with_few_requests_in_flight_no_write_waits() -> None:
    coalescer = WriteCoalescer(in_flight(BATCH - 1))
    assert not coalescer.defer(lambda: pytest.fail("it was to be called by the caller"))
    await asyncio.sleep(0)


async def test_a_full_batch_leaves_at_once_and_its_last_write_goes_last() -> None:
    left: list[int] = []
    coalescer = WriteCoalescer(in_flight(BATCH))

    waits = [coalescer.defer(partial(left.append, number)) for number in range(BATCH)]
    assert waits == [True] * (BATCH - 1) + [False]
    assert left == list(range(BATCH - 1))
    await asyncio.sleep(0)
    assert left == list(range(BATCH - 1))


async def test_a_write_after_a_full_batch_leaves_at_the_end_of_the_turn() -> None:
    left: list[int] = []
    coalescer = WriteCoalescer(in_flight(BATCH))

    for number in range(BATCH):
        coalescer.defer(partial(left.append, number))
    assert coalescer.defer(partial(left.append, BATCH))
    assert BATCH not in left
    await asyncio.sleep(0)
    assert left[-1] == BATCH


@pytest.mark.usefixtures("each_transport")
@pytest.mark.skipif(not hasattr(socket, "MSG_MORE"), reason="aiohttp's need the system's help")
async def test_requests_of_one_turn_leave_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def keep_answering(peer: Peer) -> None:
        while await peer.request():
            await peer.send(answer(b"{}"))

    def count_and_flush(coalescer: WriteCoalescer) -> None:
        together.append(len(coalescer._waiting))
        flush(coalescer)

    flush = WriteCoalescer._flush
    together: list[int] = []
    async with serving(keep_answering) as server, opened() as transport:

        async def send_many() -> None:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(2 * BATCH):
                    tasks.create_task(transport.send(request(server.url())))

        await send_many()
        monkeypatch.setattr(WriteCoalescer, "_flush", count_and_flush)
        # Over open connections all requests are written in one turn.
        await send_many()
    assert server.connections == 2 * BATCH
    # Below eight in flight no write waits. The last write of a batch flushes it and leaves itself.
    assert together == [BATCH - 1, 1]
