"""A job that does as its script says, on the loop's clock."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from attrs import define, field

from ringme_async.bulk import BulkRun, NotBefore
from ringme_async.errors import DeadlineExceeded, RingMeError

Step = float | NotBefore | BaseException


@define(eq=False)
class World:
    """What the jobs of a test have in common: what was started when, and what is parked."""

    started: list[tuple[float, Any]] = field(factory=list)
    running: int = 0
    peak: int = 0
    cancelled: int = 0
    parked_until: dict[Hashable, float] = field(factory=dict)
    on_hold: set[Hashable] = field(factory=set)
    listeners: list[Callable[[], None]] = field(factory=list)

    def set_free(self, key: Hashable) -> None:
        """End the hold of a credential, and tell everybody."""
        self.on_hold.discard(key)
        listeners, self.listeners = self.listeners, []
        for wake in listeners:
            wake()


@define(eq=False)
class ScriptedJob:
    """Takes a step for each run: sleeps, is refused by its quota, or fails."""

    world: World
    name: Any
    steps: list[Step]
    quota_key: Hashable = "dealer"
    tenant_key: Hashable = None
    attempts: int = 0
    waiting_for_login: bool = False
    sent_at: float | None = None
    maybe_applied: bool = False

    @property
    def retries(self) -> int:
        return max(0, self.attempts - 1)

    def not_before(self) -> float | None:
        if self.quota_key in self.world.on_hold:
            return math.inf
        until = self.world.parked_until.get(self.quota_key)
        return until if until is not None and until > now() else None

    def call_when_free(self, wake: Callable[[], None]) -> Callable[[], None]:
        self.world.listeners.append(wake)
        return lambda: self.world.listeners.remove(wake)

    async def run(self) -> Any:
        world = self.world
        world.started.append((now(), self.name))
        world.running += 1
        world.peak = max(world.peak, world.running)
        self.attempts += 1
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        try:
            if isinstance(step, NotBefore):
                self.world.parked_until[self.quota_key] = step.at
                return step
            if isinstance(step, BaseException):
                raise step
            await asyncio.sleep(step)
        except asyncio.CancelledError:
            world.cancelled += 1
            raise
        finally:
            world.running -= 1
        return self.name

    def abandon(self, reason: str) -> RingMeError:
        return DeadlineExceeded(
            "cut short", attempts=self.attempts, maybe_applied=self.maybe_applied
        )


def itself(key: Any) -> Any:
    return key


def now() -> float:
    return asyncio.get_running_loop().time()


def scripted(
    world: World, steps: Callable[[Any], list[Step]] | None = None, **fields: Any
) -> Callable[[Any], ScriptedJob]:
    """Make jobs with a tenant and a credential each, and steps as told; default one second."""

    def make(name: Any) -> ScriptedJob:
        script = [1.0] if steps is None else steps(name)
        return ScriptedJob(
            world, name, script, **({"tenant_key": name, "quota_key": name} | fields)
        )

    return make


async def names_of(run: BulkRun[Any]) -> list[Any]:
    """Stream a run, and give whom its outcomes are for as they come."""
    async with run:
        return [outcome.who async for outcome in run]


def counting(world: list[int], elements: Iterable[Any]) -> Any:
    """Iterate, and count what was taken."""
    for element in elements:
        world.append(element)
        yield element
