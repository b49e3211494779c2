"""Read the same tenants with plain aiohttp, with aiohttp-retry and with ringme-async.

Run it as ``python beside_plain_aiohttp.py``, or with a number such as 0.2 to have less of everything.
It needs no account: the server is a fake on this machine, with the real one's limits and some
trouble. aiohttp-retry takes part if it is installed.

What the others do here is what one writes with them in an afternoon: a token, a semaphore, a gather.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

import aiohttp
from attrs import frozen

from ringme_async import ClientCredentials, RetryPolicy, RingMe, Tenant
from ringme_async.testing import FakeApplication, FakeRingMe

CONCURRENCY = 64
ATTEMPTS = 6  # for all that try again
AGAIN = {408, 429}  # and every 5xx


@frozen
class Task:
    """One read: by whose application, and of which client."""

    application: FakeApplication
    client_id: int | str


@frozen
class Scene:
    """A server with something about it, and what is to be read from it."""

    title: str
    fake: FakeRingMe
    tasks: Sequence[Task]


def trouble(size: float) -> Scene:
    """A dealer's token, and five requests in a hundred go wrong; some of them end the token."""
    fake = FakeRingMe()
    dealer = fake.add_dealer()
    tenants = fake.add_tenants(int(2_000 * size))
    fake.faults.random(seed=1, status=0.02, reset=0.015, cut=0.01, token_death=0.005)
    return Scene("trouble and token death", fake, [Task(dealer, one.id) for one in tenants])


def logins(size: float) -> Scene:
    """Every tenant has an App ID of its own, and the server takes 20 logins a second."""
    fake = FakeRingMe()
    applications = [fake.add_application() for _ in range(int(120 * size))]
    return Scene("an App ID for each", fake, [Task(one, "@me") for one in applications])


def hours(size: float) -> Scene:
    """More is to be read than an hour allows; to save time, the hour has three seconds."""
    fake = FakeRingMe(ceiling=30, quota_window=3.0)
    applications = [fake.add_application() for _ in range(int(20 * size))]
    tasks = [Task(one, "@me") for _ in range(75) for one in applications]
    return Scene("more than an hour allows", fake, tasks)


# aiohttp's, or that of aiohttp-retry, which is no subclass.
Session = Any

Reader = Callable[[str, Sequence[Task]], Awaitable[int]]


async def with_ringme_async(url: str, tasks: Sequence[Task]) -> int:
    """Read with this package."""
    whos = [
        Tenant(
            task.client_id,
            auth=ClientCredentials(task.application.app_id, task.application.app_secret),
        )
        for task in tasks
    ]
    async with RingMe(url, retry=RetryPolicy(attempts=ATTEMPTS)) as ringme:
        report = await ringme.clients.get_many(whos, concurrency=CONCURRENCY)
    return report.counts["done"]


async def with_aiohttp(url: str, tasks: Sequence[Task]) -> int:
    """Read with aiohttp as it is."""
    async with aiohttp.ClientSession(url) as session:
        return await gathered(session, tasks)


async def with_aiohttp_retry(url: str, tasks: Sequence[Task]) -> int:
    """Read with aiohttp-retry: as many attempts, and pauses that double."""
    from aiohttp_retry import ExponentialRetry, RetryClient  # noqa: PLC0415 - it may be missing

    options = ExponentialRetry(attempts=ATTEMPTS, statuses=AGAIN)
    async with aiohttp.ClientSession(url) as session:
        client = RetryClient(session, retry_options=options, logger=_QUIET)
        return await gathered(client, tasks)


async def gathered(session: Session, tasks: Sequence[Task]) -> int:
    """Log in once for each application, read all at once within a semaphore, count the records."""
    tokens: dict[str, asyncio.Task[str]] = {}
    slots = asyncio.Semaphore(CONCURRENCY)

    async def log_in(application: FakeApplication) -> str:
        form = {
            "grant_type": "client_credentials",
            "client_id": application.app_id,
            "client_secret": application.app_secret,
        }
        async with session.post("/oauth/token", data=form) as answer:
            answer.raise_for_status()
            token: str = (await answer.json())["access_token"]
            return token

    async def read(task: Task) -> dict[str, object]:
        async with slots:
            app_id = task.application.app_id
            if app_id not in tokens:
                tokens[app_id] = asyncio.create_task(log_in(task.application))
            headers = {"Authorization": f"Bearer {await tokens[app_id]}"}
            path = f"/api/ver1.0/client/{task.client_id}/client/"
            async with session.get(path, headers=headers) as answer:
                answer.raise_for_status()
                record: dict[str, object] = await answer.json()
                return record

    outcomes = await asyncio.gather(*map(read, tasks), return_exceptions=True)
    return sum(isinstance(outcome, dict) for outcome in outcomes)


_QUIET = logging.getLogger("beside_plain_aiohttp")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False

READERS: dict[str, Reader] = {"plain aiohttp": with_aiohttp}
if find_spec("aiohttp_retry") is not None:
    READERS["aiohttp-retry"] = with_aiohttp_retry
READERS["ringme-async"] = with_ringme_async


@asynccontextmanager
async def timed() -> AsyncIterator[Callable[[], float]]:
    """Tell the seconds since the block was entered."""
    clock = asyncio.get_running_loop().time
    began = clock()
    yield lambda: clock() - began


async def main(size: float) -> None:
    """Let everybody read in every scene, and print what came of it."""
    print(f"{'':<26}{'':<15}{'read':>6}{'of':>7}{'refused':>9}{'seconds':>9}")
    for make_scene in (trouble, logins, hours):
        for name, read in READERS.items():
            scene = make_scene(size)
            async with scene.fake.serve() as url, timed() as elapsed:
                done = await read(url, scene.tasks)
                refused = scene.fake.answers.get(429, 0)
                print(
                    f"{scene.title:<26}{name:<15}{done:>6}{len(scene.tasks):>7}{refused:>9}"
                    f"{elapsed():>9.1f}"
                )


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0))
