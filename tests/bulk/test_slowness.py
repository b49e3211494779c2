"""A tenant that gets slow gets fewer slots, and more again once it is quick."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from attrs import define

from ringme_async.bulk import BulkRun
from ringme_async.errors import RingMeError, ServerError
from tests.bulk.scripted_job import ScriptedJob, World, now

pytestmark = pytest.mark.jumping

SLOW = 20.0


@define(eq=False)
class Turning(ScriptedJob):
    """Takes a tenth of a second, and twenty seconds once its tenant has become slow."""

    fails: Callable[[], RingMeError] | None = None

    async def run(self) -> Any:
        tenant, number = self.name
        if tenant != "slow" or number < 50:
            await asyncio.sleep(0.1)
            return self.name
        self.world.started.append((now(), self.name))
        await asyncio.sleep(SLOW)
        if self.fails is not None:
            raise self.fails()
        return self.name


def overloaded() -> RingMeError:
    return ServerError("overloaded")


@pytest.mark.parametrize("on_outage", ["wait", "fail"])
@pytest.mark.parametrize("fails", [None, overloaded], ids=["answers", "fails"])
async def test_a_tenant_that_gets_slow_is_reduced_to_one_slot(
    fails: Callable[[], RingMeError] | None, on_outage: Any
) -> None:
    world = World()

    def make(pair: tuple[str, int]) -> Turning:
        return Turning(world, pair, [], tenant_key=pair[0], fails=fails)

    work = [(tenant, n) for n in range(61) for tenant in ("slow", "a", "b", "c", "d")]
    await BulkRun(work, make, per_tenant=8, on_outage=on_outage)

    begun = [moment for moment, _ in world.started]
    assert [round(moment - begun[0]) for moment in begun] == [0] * 8 + [20, 40, 60]
