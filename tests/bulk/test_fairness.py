"""How long a stalled tenant delays others: simulated, with numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from functools import cache
from typing import Any

import pytest

from ringme_async.bulk import BulkRun
from ringme_async.errors import TransportTimeout
from tests.bulk.scripted_job import ScriptedJob, World, now
from tests.jumping_loop import JumpingLoop

Read = tuple[int, int]
LATENCY = 0.05
STALL = 30.0
TENANTS = 50
READS = 60


class Stalled(ScriptedJob):
    """Takes thirty seconds, and nothing comes."""

    async def run(self) -> Any:
        await asyncio.sleep(STALL)
        raise TransportTimeout("nothing came")


class SlowButSure(ScriptedJob):
    """Takes thirty seconds for its answer."""

    async def run(self) -> Any:
        await asyncio.sleep(STALL)
        return self.name


def one_by_one(tenants: Sequence[int], reads: int) -> list[Read]:
    return [(tenant, number) for number in range(reads) for tenant in tenants]


def tenant_by_tenant(tenants: Sequence[int], reads: int) -> list[Read]:
    return [(tenant, number) for tenant in tenants for number in range(reads)]


def own_credentials(tenant: int) -> Hashable:
    return tenant


def a_dealers(_: int) -> Hashable:
    return "dealer"


async def seconds_of_the_well(
    work: list[Read], key_of: Callable[[int], Hashable], kind: type[ScriptedJob]
) -> float:
    """Run, and give when the last tenant but number 0 was done."""
    world = World()

    def make(read: Read) -> ScriptedJob:
        tenant, number = read
        if tenant == 0:
            return kind(world, read, [], quota_key=key_of(tenant), tenant_key=tenant)
        # Not all the same, so that they do not march in step.
        latency = LATENCY * (0.5 + (number * 7 + tenant * 13) % 101 / 100)
        return ScriptedJob(world, read, [latency], quota_key=key_of(tenant), tenant_key=tenant)

    left = sum(tenant != 0 for tenant, _ in work)
    async with BulkRun(work, make) as run:
        async for outcome in run:
            left -= outcome.who[0] != 0
            if left == 0:
                break
    return now()


def simulated(
    work: list[Read], key_of: Callable[[int], Hashable], kind: type[ScriptedJob]
) -> float:
    with asyncio.Runner(debug=False, loop_factory=JumpingLoop) as runner:
        return runner.run(seconds_of_the_well(work, key_of, kind))


WELL = range(1, TENANTS)


@cache
def undisturbed(
    order: Callable[[Sequence[int], int], list[Read]], key_of: Callable[[int], Hashable]
) -> float:
    return simulated(order(WELL, READS), key_of, Stalled)


@pytest.mark.parametrize("kind", [Stalled, SlowButSure])
@pytest.mark.parametrize("key_of", [own_credentials, a_dealers])
@pytest.mark.parametrize("order", [one_by_one, tenant_by_tenant])
@pytest.mark.parametrize("everybody", [[0, *WELL], [*WELL, 0]], ids=["first", "last"])
def test_a_tenant_that_stalls_costs_the_other_forty_nine_less_than_a_twentieth(
    kind: type[ScriptedJob],
    key_of: Callable[[int], Hashable],
    order: Callable[[Sequence[int], int], list[Read]],
    everybody: list[int],
) -> None:
    seconds = simulated(order(everybody, READS), key_of, kind)

    assert seconds <= undisturbed(order, key_of) * 1.05
