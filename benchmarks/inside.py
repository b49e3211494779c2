"""The cost of the SDK itself, over a transport in memory, each measurement in its own process.

Prints what it found, as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from statistics import fmean

from benchmarks.work import RECORD, TOKEN, record_at
from ringme_async import (
    BearerToken,
    ClientCredentials,
    InMemoryTransport,
    LoginLimit,
    Request,
    Response,
    RingMe,
    Tenant,
)

Found = dict[str, float]

HOST = "https://pbx.example.com"
QUOTA = {
    "content-type": "application/json",
    "x-ratelimit-limit": "1000000000",
    "x-ratelimit-remaining": "999999999",
    "x-ratelimit-reset": "3599",
}
READY = Response(200, QUOTA, RECORD)
WARM_UP = 2_000
# Repeat a short run for this many seconds of CPU. A core is a few percent faster in its first second,
# which would favour short runs over long ones.
LONG_ENOUGH = 2.0


async def ready(request: Request) -> Response:
    """Answer with the record of the client whom the URL names."""
    return Response(200, QUOTA, record_at(request.url.encode()))


async def different(request: Request) -> Response:
    """Answer each client with its own record, and each login with its own token."""
    if request.url.endswith("/oauth/token"):
        app_id = request.body.partition(b"client_id=")[2].partition(b"&")[0].decode()
        token = {"access_token": f"token-of-{app_id}", "token_type": "Bearer", "expires_in": 3600}
        return Response(200, {"content-type": "application/json"}, json.dumps(token).encode())
    is_own = "/@me/" in request.url
    return Response(200, QUOTA, RECORD if is_own else record_at(request.url.encode()))


def opened(answer: Callable[[Request], Awaitable[Response]] = ready) -> RingMe:
    """Open the SDK over memory, with everything on and no login limit."""
    return RingMe(
        HOST,
        auth=BearerToken(TOKEN),
        transport=InMemoryTransport(answer),
        login_limit=LoginLimit(per_second=1e9, concurrent=1_000),
    )


def rss() -> float:
    """Return the process's memory in bytes; without ``/proc``, its peak."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    return float(pages * resource.getpagesize())


async def spent_on(count: int, run: Callable[[int], Awaitable[None]]) -> float:
    """Measure the CPU time per item of ``count``, in microseconds; repeat a short run."""
    await run(WARM_UP)
    gc.collect()
    runs, began = 0, time.process_time()
    while runs == 0 or time.process_time() - began < LONG_ENOUGH:
        await run(count)
        runs += 1
    return (time.process_time() - began) / (runs * count) * 1e6


async def read_all(ringme: RingMe, whos: Iterable[int | Tenant]) -> None:
    """Stream records and keep none."""
    async with ringme.clients.get_many(whos) as run:
        async for outcome in run:
            if not outcome.ok:
                raise RuntimeError(str(outcome))


async def share(count: int) -> Found:
    """Measure the SDK's own share of a call: one by one, in bulk, and streamed."""
    async with opened() as ringme:

        async def one_by_one(count: int) -> None:
            for number in range(count):
                await ringme.clients.get(number)

        async def kept(count: int) -> None:
            await ringme.clients.get_many(range(count))

        async def streamed(count: int) -> None:
            await read_all(ringme, range(count))

        return {
            "get": await spent_on(count, one_by_one),
            "get_many": await spent_on(count, kept),
            "get_many, streamed": await spent_on(count, streamed),
        }


async def keeping(count: int) -> Found:
    """Measure the bytes of each kept record."""
    async with opened(different) as ringme:
        few = await ringme.clients.get_many(range(WARM_UP))
        gc.collect()
        before = rss()
        report = await ringme.clients.get_many(range(count))
        gc.collect()
        return {"bytes": (rss() - before) / len(report.values()), "few": len(few)}


async def flat(count: int) -> Found:
    """Stream records without keeping them, and measure memory on the way."""
    seen: list[float] = []
    async with opened(different) as ringme:

        async def numbers() -> AsyncIterator[int]:
            for number in range(count):
                if number % max(1, count // 100) == 0:
                    seen.append(rss())
                yield number

        async with ringme.clients.get_many(numbers()) as run:
            async for _ in run:
                pass
    tenth = max(1, len(seen) // 10)
    first, last = fmean(seen[:tenth]), fmean(seen[-tenth:])
    return {"first_mb": first / 2**20, "last_mb": last / 2**20, "grown_mb": (last - first) / 2**20}


async def one_credential(count: int) -> Found:
    """Measure the cost of a record in a run of this size."""
    async with opened() as ringme:
        # Ids of one length, as a longer id takes longer to encode.
        whos = range(10**6, 10**6 + count)
        return {"us": await spent_on(count, lambda count: read_all(ringme, whos[:count]))}


async def own_credentials(count: int) -> Found:
    """Measure the cost of a record when each tenant has its own credentials and so its own login."""

    async def run(count: int) -> None:
        # Ids of one length, as above.
        tenants = (
            Tenant("@me", auth=ClientCredentials(f"app-{number}", "secret"))
            for number in range(10**7, 10**7 + count)
        )
        # A new RingMe for each run, as a used one would have the tokens already.
        async with opened(different) as ringme:
            await read_all(ringme, tenants)

    return {"us": await spent_on(count, run)}


LOOKS: dict[str, Callable[[int], Awaitable[Found]]] = {
    "share": share,
    "keeping": keeping,
    "flat": flat,
    "one_credential": one_credential,
    "own_credentials": own_credentials,
}


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("look", choices=LOOKS)
    parser.add_argument("--count", type=int, default=10_000)
    options = parser.parse_args()

    async def run() -> Found:
        return await LOOKS[options.look](options.count)

    print(json.dumps(asyncio.run(run())))


if __name__ == "__main__":
    main()
