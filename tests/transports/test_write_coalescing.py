"""What is sent in one turn of the event loop leaves together."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

import pytest

from ringme_async.transports.write_coalescing import WriteCoalescer
from tests.transports.sending import opened, request, under_way
from tests.wire import Peer, answer, serving

LOAD = 8


async def test_what_is_put_off_leaves_when_the_turn_has_ended() -> None:
    left: list[str] = []
    coalescer = WriteCoalescer(under_way(LOAD))

    assert coalescer.defer(lambda: left.append("first"))
    assert coalescer.defer(lambda: left.append("second"))
    assert left == []
    await asyncio.sleep(0)
    assert left == ["first", "second"]


async def test_what_is_put_off_leaves_once() -> None:
    left: list[str] = []
    coalescer = WriteCoalescer(under_way(LOAD))

    coalescer.defer(lambda: left.append("in the first turn"))
    await asyncio.sleep(0)
    coalescer.defer(lambda: left.append("in the second turn"))
    await asyncio.sleep(0)
    assert left == ["in the first turn", "in the second turn"]


async def test_what_is_put_off_while_others_leave_goes_with_the_next() -> None:
    left: list[str] = []
    coalescer = WriteCoalescer(under_way(LOAD))

    coalescer.defer(lambda: coalescer.defer(lambda: left.append("next")) and None)
    await asyncio.sleep(0)
    assert left == []
    await asyncio.sleep(0)
    assert left == ["next"]


async def test_with_little_under_way_nothing_waits() -> None:
    coalescer = WriteCoalescer(under_way(LOAD - 1))
    assert not coalescer.defer(lambda: pytest.fail("it was to be called by the caller"))
    await asyncio.sleep(0)


async def test_a_full_load_leaves_at_once_and_whoever_fills_it_goes_last() -> None:
    left: list[int] = []
    coalescer = WriteCoalescer(under_way(LOAD))

    waits = [coalescer.defer(partial(left.append, number)) for number in range(LOAD)]
    assert waits == [True] * (LOAD - 1) + [False]
    assert left == list(range(LOAD - 1))
    await asyncio.sleep(0)
    assert left == list(range(LOAD - 1))


async def test_what_is_sent_after_a_full_load_leaves_when_the_turn_has_ended() -> None:
    left: list[int] = []
    coalescer = WriteCoalescer(under_way(LOAD))

    for number in range(LOAD):
        coalescer.defer(partial(left.append, number))
    assert coalescer.defer(partial(left.append, LOAD))
    assert LOAD not in left
    await asyncio.sleep(0)
    assert left[-1] == LOAD


@pytest.mark.usefixtures("each_transport")
@pytest.mark.skipif(not hasattr(socket, "MSG_MORE"), reason="aiohttp's need the system's help")
async def test_requests_that_are_sent_in_one_turn_leave_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def keep_answering(peer: Peer) -> None:
        while await peer.request():
            await peer.send(answer(b"{}"))

    def leave(coalescer: WriteCoalescer) -> None:
        together.append(len(coalescer._waiting))
        real(coalescer)

    real = WriteCoalescer._leave
    together: list[int] = []
    async with serving(keep_answering) as server, opened() as transport:

        async def send_many() -> None:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(2 * LOAD):
                    tasks.create_task(transport.send(request(server.url())))

        await send_many()
        monkeypatch.setattr(WriteCoalescer, "_leave", leave)
        # With their connections open, all are sent in the turn in which they are asked for.
        await send_many()
    assert server.connections == 2 * LOAD
    # The first seven found little under way; the last of a load goes by itself.
    assert together == [LOAD - 1, 1]
