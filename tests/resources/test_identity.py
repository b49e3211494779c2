"""An answer is the answer to its own call, whatever else a server writes on the connection."""

from __future__ import annotations

import asyncio
import json
import re
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession
from attrs import evolve, field, frozen

from ringme_async import (
    AiohttpTransport,
    BearerToken,
    ClientUpdate,
    DecodeError,
    Event,
    Failed,
    Headers,
    Observer,
    Request,
    Response,
    RetryPolicy,
    RingMe,
    Tenant,
    Transport,
    WrongRecord,
)
from ringme_async.transports.httptools import HttptoolsTransport
from tests.records import EXAMPLE
from tests.wire import Peer, Script, answer, serving

STRANGER = 666
SECRET = "Str4nger"
_ASKED = re.compile(rb"\w+ /api/ver1.0/client/(\w+|@me)/client/ ")


def record(client_id: int, **fields: object) -> bytes:
    return json.dumps({**json.loads(EXAMPLE), "id": client_id, **fields}).encode()


STRAYS = {
    "a record": answer(record(STRANGER, name="Stranger Ltd")),
    "a refusal": answer(b'{"status": "client_not_found"}', status="404 Not Found"),
    "a record and half of another": answer(record(STRANGER)) + answer(record(STRANGER))[:50],
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
}


async def _turns() -> None:
    """Let the client take in what was sent, so that what follows is a read of its own."""
    for _ in range(10):
        await asyncio.sleep(0)


async def in_the_last_segment(peer: Peer, body: bytes, stray: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    await peer.send(head + b"%x\r\n%s\r\n" % (len(body), body))
    await _turns()
    await peer.send(b"0\r\n\r\n" + stray)


async def with_the_end_of_the_body(peer: Peer, body: bytes, stray: bytes) -> None:
    whole = answer(body)
    await peer.send(whole[:-1])
    await _turns()
    await peer.send(whole[-1:] + stray)


async def in_one_segment(peer: Peer, body: bytes, stray: bytes) -> None:
    await peer.send(answer(body) + stray)


async def on_the_idle_connection(peer: Peer, body: bytes, stray: bytes) -> None:
    await peer.send(answer(body))
    await _turns()
    await peer.send(stray)
    await _turns()


Manner = Callable[[Peer, bytes, bytes], Awaitable[None]]
MANNERS = (
    in_the_last_segment,
    with_the_end_of_the_body,
    in_one_segment,
    on_the_idle_connection,
)


class OverAGivenSession(AiohttpTransport):
    """The transport over a session of the caller's, which it closes with itself."""

    __slots__ = ("_given",)

    def __init__(self) -> None:
        self._given = ClientSession()
        super().__init__(self._given)

    async def aclose(self) -> None:
        await super().aclose()
        await self._given.close()


Make = Callable[[], Transport]
TRANSPORTS: tuple[Make, ...] = (AiohttpTransport, HttptoolsTransport)
AT_ONCE = RetryPolicy(base=0)


@asynccontextmanager
async def opened(make: Make, script: Script) -> AsyncIterator[RingMe]:
    """Open a ``RingMe`` to a server that talks by a script."""
    async with (
        serving(script) as server,
        RingMe(
            server.url(""), auth=BearerToken("t0ken"), transport=make(), retry=AT_ONCE
        ) as ringme,
    ):
        yield ringme


def following(manner: Manner, stray: bytes, every: int = 1) -> Script:
    """Answer each request rightly, and follow every so many answers with a stray one."""
    answered = 0

    async def talk(peer: Peer) -> None:
        nonlocal answered
        while asked := _ASKED.match(await peer.request()):
            answered += 1
            body = record(int(asked[1]))
            if answered % every:
                await peer.send(answer(body))
            else:
                await manner(peer, body, stray)

    return talk


async def one_behind(peer: Peer) -> None:
    """Answer each request with the record of the one before it."""
    last = STRANGER
    while asked := _ASKED.match(await peer.request()):
        await peer.send(answer(record(last, name=SECRET)))
        last = int(asked[1])


@pytest.mark.parametrize("make", TRANSPORTS)
@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS)
async def test_bytes_after_an_answer_do_not_answer_the_next_call(
    make: Make, manner: Manner, stray: bytes
) -> None:
    async with opened(make, following(manner, stray)) as ringme:
        for n in range(2, 12):
            client = await ringme.clients.get(n)
            assert client.id == n
            # What comes on an idle connection has come before the next call.
            await _turns()


@pytest.mark.parametrize("make", [*TRANSPORTS, OverAGivenSession])
@pytest.mark.parametrize("manner", MANNERS)
async def test_a_run_gives_each_tenant_its_own_record_or_an_error(
    make: Make, manner: Manner
) -> None:
    update = ClientUpdate(timezone="Asia/Omsk")
    async with opened(make, following(manner, STRAYS["a record"], every=3)) as ringme:
        reads = await ringme.clients.get_many(range(2, 100), concurrency=8)
        writes = await ringme.clients.update_many(
            ((n, update) for n in range(2, 100)), concurrency=8
        )
    for outcome in (*reads, *writes):
        assert isinstance(outcome, Failed) or outcome.value.id == outcome.who


@pytest.mark.parametrize("make", [*TRANSPORTS, OverAGivenSession])
async def test_a_connection_that_brought_a_wrong_record_is_not_used_again(make: Make) -> None:
    connections = 0

    async def talk(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        await (one_behind if connections == 1 else following(in_one_segment, b""))(peer)

    async with opened(make, talk) as ringme:
        assert [(await ringme.clients.get(n)).id for n in (2, 3, 4)] == [2, 3, 4]
    assert connections == 2


@frozen(repr=False)
class Watched:
    """A transport that answers every request with one body, and counts what it sees."""

    body: bytes
    remaining: str = "1000"
    discarded: list[int] = field(factory=list)
    asked: list[Request] = field(factory=list)

    async def send(self, request: Request) -> Response:
        self.asked.append(request)
        headers = Headers({"x-ratelimit-remaining": self.remaining, "x-ratelimit-reset": "3600"})
        return Response(200, headers, self.body, connection=self)

    def discard(self) -> None:
        self.discarded.append(len(self.asked))

    async def aclose(self) -> None:
        pass


THE_STRANGERS = record(STRANGER, name=SECRET, extra_field=SECRET)
GARBLED = record(STRANGER, name=SECRET, extension_len=[SECRET])
UPDATE = ClientUpdate(timezone="Asia/Omsk")
OTHER_TENANT = Tenant(2, auth=BearerToken("0ther"), name="acme")
CALLS: Mapping[str, Callable[[RingMe], Awaitable[object]]] = {
    "get": lambda ringme: ringme.clients.get(2),
    "get a tenant": lambda ringme: ringme.clients.get(OTHER_TENANT),
    "update": lambda ringme: ringme.clients.update("2", UPDATE),
    "update a tenant": lambda ringme: ringme.clients.update(OTHER_TENANT, UPDATE),
}


def watched(transport: Watched, *observers: Observer) -> RingMe:
    return RingMe(
        "https://pbx.example.com",
        auth=BearerToken("t0ken"),
        transport=transport,
        retry=AT_ONCE,
        observers=observers,
    )


@pytest.mark.parametrize("body", [THE_STRANGERS, GARBLED], ids=["sound", "garbled"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_the_record_of_another_client_is_an_error_that_shows_nothing_of_it(
    call: Callable[[RingMe], Awaitable[object]], body: bytes
) -> None:
    transport, events = Watched(body), list[Event]()
    async with watched(transport, events.append) as ringme:
        with pytest.raises(WrongRecord) as caught:
            await call(ringme)
    error = caught.value
    assert (error.field, error.value, error.body, error.attempts) == ("id", STRANGER, b"", 4)
    assert error.maybe_applied is (transport.asked[0].method == "PUT")
    assert ("may have been applied" in str(error)) is error.maybe_applied
    told = [repr(event) for event in events]
    # The first frame is this test's own.
    error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
    shown = traceback.TracebackException.from_exception(error, capture_locals=True).format()
    assert SECRET not in "".join([*told, *shown, repr(vars(error))])
    # Each answer's connection is discarded before the next request.
    assert transport.discarded == [1, 2, 3, 4]


async def test_a_record_of_another_client_does_not_change_the_quota() -> None:
    transport = Watched(THE_STRANGERS, remaining="0")
    async with watched(transport) as ringme:
        for _ in range(2):
            with pytest.raises(WrongRecord):
                await ringme.clients.get(2)
    assert len(transport.asked) == 8


async def test_runs_and_plans_count_wrong_records_and_take_none_of_them() -> None:
    async with watched(Watched(THE_STRANGERS)) as ringme:
        reads = await ringme.clients.get_many([2, 3, STRANGER])
        writes = await ringme.clients.update_many({2: UPDATE, OTHER_TENANT: UPDATE})
        plan = await ringme.clients.plan({2: UPDATE, 3: UPDATE})
        planned = await ringme.clients.plan({STRANGER: UPDATE})
        elsewhere = evolve(planned[0], who=2, client_id=2)
        applied = await evolve(planned, changes=(elsewhere,)).apply()
    assert reads.counts == {"done": 1, "WrongRecord": 2, "not_attempted": 0}
    assert writes.counts == {"done": 0, "WrongRecord": 2, "not_attempted": 0}
    assert applied.counts == {"done": 0, "WrongRecord": 1, "not_attempted": 0}
    assert len(plan.changes) == plan.as_wished == 0
    assert all(isinstance(failure, Failed) for failure in plan.failures)
    assert SECRET not in str(plan)


async def test_at_me_and_ids_with_leading_zeros_are_accepted() -> None:
    async with watched(Watched(record(12))) as ringme:
        assert (await ringme.clients.get("@me")).id == 12
        assert (await ringme.clients.get("0012")).id == 12


async def test_a_record_without_its_id_keeps_its_own_error() -> None:
    async with watched(Watched(b'{"name": "acme"}')) as ringme:
        with pytest.raises(DecodeError, match="id is missing") as caught:
            await ringme.clients.get(2)
    assert not isinstance(caught.value, WrongRecord)
