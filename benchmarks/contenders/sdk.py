"""The SDK with everything on: types, token, quota, retry policy, deadline."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from benchmarks.work import TOKEN, Go, Opened, Work, by_workers
from ringme_async import AiohttpTransport, BearerToken, Client, ClientUpdate, RingMe, Transport
from ringme_async.events import Observer

UPDATE = ClientUpdate(timezone="Asia/Omsk", hold_music=None)


def opened_ringme(
    work: Work, transport: Transport, *observers: Observer
) -> AbstractAsyncContextManager[RingMe]:
    """Open the SDK with a user's settings."""
    return RingMe(work.origin, auth=BearerToken(TOKEN), transport=transport, observers=observers)


def in_bulk(work: Work, ringme: RingMe) -> Go:
    """Do the work by ``get_many`` or ``update_many``."""

    async def get(count: int) -> int:
        report = await ringme.clients.get_many(range(1, count + 1), concurrency=work.concurrency)
        return len(report.values())

    async def put(count: int) -> int:
        changes = dict.fromkeys(range(1, count + 1), UPDATE)
        report = await ringme.clients.update_many(changes, concurrency=work.concurrency)
        return len(report.values())

    return get if work.method == "GET" else put


def one_by_one(work: Work, ringme: RingMe) -> Go:
    """Do the work by workers that each call ``get`` or ``update``."""

    async def put(number: int) -> Client:
        return await ringme.clients.update(number, UPDATE)

    return by_workers(work, ringme.clients.get if work.method == "GET" else put)


def over(
    make: Callable[[], Transport],
    way: Callable[[Work, RingMe], Go],
    observers: Callable[[], tuple[Observer, ...]] = tuple,
) -> Opened:
    """Create a contender from a transport and a way to use the SDK."""

    @asynccontextmanager
    async def opened(work: Work) -> AsyncIterator[Go]:
        async with opened_ringme(work, make(), *observers()) as ringme:
            yield way(work, ringme)

    return opened


def fast_transport() -> Transport:
    """Create the transport of the extra ``[fast]``."""
    from ringme_async.transports.httptools import (  # noqa: PLC0415 - its extra may be missing
        HttptoolsTransport,
    )

    return HttptoolsTransport()


def logging_observer() -> tuple[Observer, ...]:
    """Create the logging observer."""
    from ringme_async.observers import LoggingObserver  # noqa: PLC0415 - others need none of it

    return (LoggingObserver(),)


many_over_aiohttp = over(AiohttpTransport, in_bulk)
single_over_aiohttp = over(AiohttpTransport, one_by_one)
many_logged = over(AiohttpTransport, in_bulk, logging_observer)
many_over_httptools = over(fast_transport, in_bulk)
single_over_httptools = over(fast_transport, one_by_one)
