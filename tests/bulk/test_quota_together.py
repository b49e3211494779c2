"""The engine and the quotas together, against a server that counts."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable
from itertools import repeat
from typing import Any

import pytest
from attrs import define, field

from ringme_async.bulk import BulkReport, BulkRun, NotBefore
from ringme_async.errors import DeadlineExceeded, RingMeError
from ringme_async.policies.quota_book import QuotaBook
from tests.bulk.scripted_job import now

pytestmark = pytest.mark.jumping


@pytest.fixture(autouse=True)
async def without_asyncios_debugging() -> None:
    """It takes a stack trace of every callback, and there are many thousands."""
    asyncio.get_running_loop().set_debug(False)


@define
class Server:
    """Counts the requests of each application in windows, and refuses what is over its ceiling."""

    ceiling: int
    window: float
    opened: dict[str, float] = field(factory=dict)
    served: dict[str, list[int]] = field(factory=dict)
    refused: int = 0
    in_flight: int = 0
    peak: int = 0

    async def answer(self, app: str, latency: float) -> dict[str, str] | None:
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            await asyncio.sleep(latency / 2)
            headers = self.count(app)
            await asyncio.sleep(latency / 2)
        finally:
            self.in_flight -= 1
        return headers

    def count(self, app: str) -> dict[str, str] | None:
        if now() >= self.opened.get(app, -self.window) + self.window:
            self.opened[app] = now()
            self.served.setdefault(app, []).append(0)
        if self.served[app][-1] >= self.ceiling:
            self.refused += 1
            return None
        self.served[app][-1] += 1
        left = self.opened[app] + self.window - now()
        return {
            "x-ratelimit-limit": str(self.ceiling),
            "x-ratelimit-remaining": str(self.ceiling - self.served[app][-1]),
            "x-ratelimit-reset": str(int(left)),
        }


@define(eq=False)
class Read:
    """A read that goes through the quota as a call does."""

    server: Server
    quotas: QuotaBook
    quota_key: str
    tenant_key: Any
    latency: float
    attempts: int = 0
    waiting_for_login: bool = False
    sent_at: float | None = None

    @property
    def retries(self) -> int:
        return max(0, self.attempts - 1)

    def not_before(self) -> float | None:
        wait = self.quotas.of(self.quota_key).exhausted_for()
        return None if wait is None else now() + wait

    def call_when_free(self, wake: Callable[[], None]) -> Callable[[], None]:
        return self.quotas.of(self.quota_key).call_when_free(wake)

    async def run(self) -> str | NotBefore:
        quota = self.quotas.of(self.quota_key)
        while True:
            if (until := self.not_before()) is not None:
                return NotBefore(until)
            reservation = quota.try_reserve() or await quota.reserve()
            if reservation is not None:
                break
        self.attempts += 1
        headers = await self.server.answer(self.quota_key, self.latency)
        if headers is None:
            reservation.refused(self.server.window)
            return NotBefore(now() + self.server.window)
        reservation.learn(headers)
        return self.quota_key

    def abandon(self, reason: str) -> RingMeError:
        return DeadlineExceeded("cut short")


def reads(server: Server, *, many_tenants: bool) -> Callable[[tuple[int, str]], Read]:
    quotas = QuotaBook()

    def make(element: tuple[int, str]) -> Read:
        number, app = element
        latency = 0.02 + 0.03 * (number * 37 % 101) / 100
        tenant = (app, number) if many_tenants else app
        return Read(server, quotas, app, tenant, latency)

    return make


def app_by_app(apps: int, each: int) -> list[tuple[int, str]]:
    return [(number, f"app-{app}") for app in range(apps) for number in range(each)]


def in_turns(apps: int, each: int) -> list[tuple[int, str]]:
    return [(number, f"app-{app}") for number in range(each) for app in range(apps)]


@pytest.mark.parametrize("ceiling", [100, 10])
@pytest.mark.parametrize("order", [app_by_app, in_turns])
@pytest.mark.parametrize("many_tenants", [True, False], ids=["dealers", "own"])
async def test_twenty_applications_use_their_quotas_to_the_last_request_and_never_pass_them(
    ceiling: int, order: Callable[[int, int], list[tuple[int, str]]], many_tenants: bool
) -> None:
    server = Server(ceiling, window=10.0)

    report: BulkReport[str] = await BulkRun(
        order(20, 250), reads(server, many_tenants=many_tenants), concurrency=64
    )

    assert len(report.values()) == 5_000
    assert server.refused == 0
    full, rest = divmod(250, ceiling)
    assert {tuple(counted) for counted in server.served.values()} == {
        (*repeat(ceiling, full), *([rest] if rest else []))
    }
    assert server.peak >= 32


async def test_a_long_input_of_one_used_up_credential_is_read_in_flat_memory() -> None:
    server = Server(1_000, window=3_600.0)
    elements = ((number, "app") for number in range(4_000))
    sizes: list[int] = []
    tracemalloc.start()
    try:
        async with BulkRun(elements, reads(server, many_tenants=True), max_waiting=500) as run:
            async for outcome in run:
                if outcome.index % 500 == 499:
                    sizes.append(tracemalloc.get_traced_memory()[0])
                    assert run.progress.pulled - run.progress.finished <= 500 + 64
    finally:
        tracemalloc.stop()

    assert server.refused == 0
    assert server.served["app"] == [1_000] * 4
    assert sizes[-1] - sizes[1] < 100_000


async def test_a_day_of_a_dealer_takes_seconds() -> None:
    server = Server(250, window=3_600.0)

    async with BulkRun(
        app_by_app(1, 6_000), reads(server, many_tenants=True), concurrency=64
    ) as run:
        async for _ in run:
            pass

    assert server.refused == 0
    assert server.served["app-0"] == [250] * 24
    assert now() > 23 * 3_600
