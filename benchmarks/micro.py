"""The cost of single steps, as a ratio to reading the record with ``json.loads`` on this machine.

A ratio says the same on a slow machine and on a busy one, so that ``--check`` can hold the steps
to ceilings.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from statistics import median

from attrs import frozen

from benchmarks.inside import HOST, QUOTA, READY, opened
from benchmarks.work import RECORD, record_at
from ringme_async import ClientUpdate, InMemoryTransport, Request, Response
from ringme_async.policies.quota_book import QuotaBook
from ringme_async.resources.clients.codec import client_to_json, decode_client, encode_update
from ringme_async.transports import Headers

ROUNDS = 7
UPDATE = ClientUpdate(timezone="Asia/Omsk", hold_music=None)
HEADERS = Headers(QUOTA)
ASKED = Request("GET", f"{HOST}/api/ver1.0/client/12/client/", {"accept-encoding": "gzip"})

_PREPARED: dict[str, Response] = {}


async def prepared(request: Request) -> Response:
    """Answer with the record asked for; a later round finds it made, and does not measure that."""
    response = _PREPARED.get(request.url)
    if response is None:
        body = record_at(request.url.encode())
        response = _PREPARED[request.url] = Response(200, QUOTA, body)
    return response


@frozen
class Step:
    """A step, its repetitions and its highest allowed ratio."""

    name: str
    times: int
    at_most: float
    run: Callable[[int], Awaitable[None]]


def often(act: Callable[[], object]) -> Callable[[int], Awaitable[None]]:
    """Repeat a step that never waits."""

    async def run(times: int) -> None:
        for _ in range(times):
            act()

    return run


async def quota_cycle(times: int) -> None:
    """Reserve quota, and learn from the answer."""
    quota = QuotaBook().of("a credential")
    for _ in range(times):
        reservation = quota.try_reserve() or await quota.reserve()
        if reservation is not None:
            reservation.learn(HEADERS)


async def in_memory(times: int) -> None:
    """Send through the transport alone."""
    transport = InMemoryTransport(prepared)
    for _ in range(times):
        await transport.send(ASKED)


async def same(_request: Request) -> Response:
    """Answer with the record of client 12."""
    return READY


async def single(times: int) -> None:
    """Call ``get`` over memory."""
    async with opened(same) as ringme:
        for _ in range(times):
            await ringme.clients.get(12)


async def bulk(times: int) -> None:
    """Call ``get_many`` over memory."""
    async with opened(prepared) as ringme:
        await ringme.clients.get_many(range(times))


CLIENT = decode_client(RECORD)
CALIBRATION = Step("json.loads of the record", 4_000, 1.0, often(lambda: json.loads(RECORD)))
# Each ceiling is 1.5 times the measured ratio.
STEPS = (
    Step("decode_client", 4_000, 0.75, often(lambda: decode_client(READY.body))),
    Step("client_to_json", 4_000, 1.4, often(lambda: client_to_json(CLIENT))),
    Step("encode_update", 4_000, 0.4, often(lambda: encode_update(UPDATE))),
    Step("quota: reserve and learn", 4_000, 0.65, quota_cycle),
    Step("InMemoryTransport.send", 4_000, 0.5, in_memory),
    # 3.7 on a quiet machine, since it looks whose record came; 3.4 before that.
    Step("clients.get, whole", 2_000, 4.3, single),
    Step("clients.get_many, whole", 2_000, 8.5, bulk),
)


async def cost(step: Step) -> float:
    """Measure one round of a step, in microseconds of CPU."""
    began = time.process_time()
    await step.run(step.times)
    return (time.process_time() - began) / step.times * 1e6


async def ratios() -> dict[str, float]:
    """Measure all steps, each round beside the calibration."""
    seen: dict[str, list[float]] = {step.name: [] for step in STEPS}
    for step in (CALIBRATION, *STEPS):
        await step.run(step.times // 4)
    for _ in range(ROUNDS):
        for step in STEPS:
            unit = await cost(CALIBRATION)
            seen[step.name].append(await cost(step) / unit)
    return {name: median(values) for name, values in seen.items()}


def main() -> None:
    """Measure and print."""
    print(json.dumps(asyncio.run(ratios())))


if __name__ == "__main__":
    main()
