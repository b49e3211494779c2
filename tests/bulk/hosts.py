"""Hosts that are down for a while or fail some of their tenants, and jobs for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from attrs import define, field

from ringme_async.bulk import BulkRun
from ringme_async.errors import ConnectError, DeadlineExceeded, RingMeError
from tests.bulk.scripted_job import now

__all__ = ["MINUTE", "Host", "HostJob", "probe_of", "runs_at"]

MINUTE = 60.0


def refused(_: object) -> RingMeError:
    return ConnectError("refused")


@define(eq=False)
class Host:
    """Answers within a tenth of a second, and fails from one moment to another."""

    name: str = "host"
    down: tuple[float, float] = (0.0, 0.0)
    error: Callable[[Any], RingMeError] = refused
    takes: float = 0.0
    ill: Callable[[Any], bool] = lambda _: False
    asked_when_down: list[float] = field(factory=list)
    begun: list[Any] = field(factory=list)

    async def answer(self, tenant: Any) -> None:
        self.begun.append(tenant)
        await asyncio.sleep(0.05)
        begun = self.down[0] <= now() < self.down[1]
        if begun:
            self.asked_when_down.append(now())
        if begun or self.ill(tenant):
            await asyncio.sleep(self.takes)
            raise self.error(tenant)
        await asyncio.sleep(0.05)


@define(eq=False)
class HostJob:
    """A job for one tenant of a host; ``probe_of`` makes its probe."""

    host: Host
    name: Any
    tenant_key: Any
    attempts: int = 0
    retries: int = 0
    waiting_for_login: bool = False
    sent_at: float | None = None

    @property
    def quota_key(self) -> tuple[str, str]:
        return (self.host.name, "dealer")

    def not_before(self) -> float | None:
        return None

    async def run(self) -> Any:
        self.attempts += 1
        await self.host.answer(self.name)
        return self.name

    def abandon(self, reason: str) -> RingMeError:
        return DeadlineExceeded("cut short", attempts=self.attempts)


def probe_of(job: HostJob) -> HostJob:
    return HostJob(job.host, job.name, job.tenant_key)


def runs_at(*hosts: Host, tenants: int | None = None, **options: Any) -> Callable[[Any], BulkRun]:
    """Make runs whose elements go to the hosts in turn."""

    def make(number: int) -> HostJob:
        host = hosts[number % len(hosts)]
        return HostJob(host, number, number if tenants is None else (host.name, number % tenants))

    def run(elements: Any) -> BulkRun:
        settings = {"on_outage": "wait", "host_of": lambda key: key[0], **options}
        return BulkRun(elements, make, **settings)

    return run
