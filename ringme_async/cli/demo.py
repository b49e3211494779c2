"""The demo: reads and changes tenants of a server on loopback, and compares its records."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final, TypeAlias

from attrs import define, frozen

from ringme_async import (
    BulkRun,
    Client,
    ClientUpdate,
    Done,
    Event,
    Failed,
    Outcome,
    Progress,
    RingMe,
    Timeouts,
    TokenFetched,
    UserBlocked,
)
from ringme_async.cli.demo_world import TENANTS, World, make_world

ProgressCallback: TypeAlias = Callable[[Progress], None]
TrackProgress: TypeAlias = Callable[[str, int], AbstractContextManager[ProgressCallback]]
Outcomes: TypeAlias = Mapping[int, Outcome[Client]]

NEW_ZONE: Final = "Asia/Omsk"

# So that a stalled answer is given up, and asked for again, within the demo's time.
_IMPATIENT: Final = Timeouts(attempt=5.0)


@frozen
class DemoReport:
    """The result of the demo.

    Attributes:
        tenants: All tenants.
        own_applications: Tenants with an App ID and Secret of their own.
        read: Tenants read.
        changed: Tenants changed.
        read_back: Changed tenants that showed the change when read again.
        failed: Tenants that could not be read.
        faults: Scripted faults that struck.
        retried: Requests beyond the first for a record.
        logins: Tokens fetched.
        seconds: The duration.
        disagreements: Differences from the server's own records.
    """

    tenants: int
    own_applications: int
    read: int
    changed: int
    read_back: int
    failed: int
    faults: int
    retried: int
    logins: int
    seconds: float
    disagreements: Sequence[str]

    @property
    def records_per_second(self) -> float:
        """Records a second: read, changed and read again."""
        return (self.read + self.changed + self.read_back) / self.seconds

    @property
    def books_agree(self) -> bool:
        """True if the server's own records confirm the result."""
        return not self.disagreements


@define
class _Logins:
    """Counts the SDK's events of fetched tokens."""

    count: int = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, TokenFetched):
            self.count += 1


@frozen
class DemoSteps:
    """The SDK's outcomes of the three steps, by the tenant's index."""

    read: Outcomes
    changed: Outcomes
    read_back: Outcomes

    @property
    def attempts(self) -> int:
        """The number of requests."""
        return sum(outcome.attempts for outcome in self._all())

    @property
    def retried(self) -> int:
        """The number of requests beyond the first for a record."""
        return sum(max(outcome.attempts - 1, 0) for outcome in self._all())

    def _all(self) -> Iterator[Outcome[Client]]:
        for step in (self.read, self.changed, self.read_back):
            yield from step.values()


async def run_demo(track: TrackProgress) -> DemoReport:
    """Read all tenants, change some, read them back, and compare with the server's records.

    Args:
        track: Called with the name and size of each step; returns a callback for its progress.

    Raises:
        OSError: The server could not listen on loopback.
    """
    world = make_world()
    logins = _Logins()
    clock = asyncio.get_running_loop().time
    async with (
        world.fake.serve() as url,
        RingMe(url, auth=world.dealer, timeouts=_IMPATIENT, observers=[logins]) as ringme,
    ):
        began = clock()
        steps = await _read_and_change(ringme, world, track)
        seconds = clock() - began
    return DemoReport(
        tenants=TENANTS,
        own_applications=world.own_applications,
        read=len(_done(steps.read)),
        changed=len(_done(steps.changed)),
        read_back=len(_in_new_zone(steps.read_back)),
        failed=sum(isinstance(outcome, Failed) for outcome in steps.read.values()),
        faults=world.fake.faults.struck.total(),
        retried=steps.retried,
        logins=logins.count,
        seconds=seconds,
        disagreements=tuple(disagreements(world, steps, logins.count)),
    )


async def _read_and_change(ringme: RingMe, world: World, track: TrackProgress) -> DemoSteps:
    clients, targets = ringme.clients, world.targets
    everybody = range(TENANTS)
    read = await _step(track, "reading", clients.get_many(targets), everybody)
    some = [index for index in world.to_change if index in _done(read)]
    changes = [(targets[index], ClientUpdate(timezone=NEW_ZONE)) for index in some]
    changed = await _step(track, "changing", clients.update_many(changes), some)
    again = clients.get_many([targets[index] for index in some])
    return DemoSteps(read, changed, await _step(track, "reading back", again, some))


async def _step(
    track: TrackProgress, what: str, run: BulkRun[Client], indexes: Sequence[int]
) -> Outcomes:
    outcomes: dict[int, Outcome[Client]] = {}
    with track(what, len(indexes)) as update:
        async with run:
            async for outcome in run:
                outcomes[indexes[outcome.index]] = outcome
                update(run.progress)
    return outcomes


def _done(outcomes: Outcomes) -> dict[int, Client]:
    return {index: one.value for index, one in outcomes.items() if isinstance(one, Done)}


def _in_new_zone(outcomes: Outcomes) -> set[int]:
    return {index for index, client in _done(outcomes).items() if client.timezone == NEW_ZONE}


def disagreements(world: World, steps: DemoSteps, logins: int) -> Iterator[str]:
    """Compare the SDK's outcomes with the server's own records."""
    fake = world.fake
    blocked = {
        index
        for index, outcome in steps.read.items()
        if isinstance(outcome, Failed) and isinstance(outcome.error, UserBlocked)
    }
    written = {
        index for index, id in enumerate(world.ids) if fake.records[id]["timezone"] == NEW_ZONE
    }
    claims: dict[str, tuple[int | set[int], int | set[int]]] = {
        "tenants have an outcome": (len(steps.read), TENANTS),
        "tenants were read": (
            {client.id for client in _done(steps.read).values()},
            {id for index, id in enumerate(world.ids) if index not in world.blocked},
        ),
        "tenants are blocked": (blocked, world.blocked),
        "tenants were changed": (set(_done(steps.changed)), written),
        "changed tenants show it": (_in_new_zone(steps.read_back), written),
        "requests were sent": (steps.attempts, fake.requests.total - fake.logins),
        "tokens were fetched": (logins, fake.logins),
        "faults are still to come": (0, fake.faults.left),
        "rules were broken": (0, len(fake.violations)),
    }
    for what, (by_sdk, by_server) in claims.items():
        if by_sdk != by_server:
            yield f"{_number(by_sdk)} {what} by the SDK's account, {_number(by_server)} by the server's"


def _number(value: int | set[int]) -> int:
    return value if isinstance(value, int) else len(value)
