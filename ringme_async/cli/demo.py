"""The demo: tenants of a server on loopback are read and changed, and the books compared."""

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

Tell: TypeAlias = Callable[[Progress], None]
Follow: TypeAlias = Callable[[str, int], AbstractContextManager[Tell]]
Outcomes: TypeAlias = Mapping[int, Outcome[Client]]

NEW_ZONE: Final = "Asia/Omsk"

# So that a stalled answer is given up, and asked for again, within the demo's time.
_IMPATIENT: Final = Timeouts(attempt=5.0)


@frozen
class DemoReport:
    """What happened.

    Attributes:
        tenants: How many there were.
        own_applications: How many of them had an App ID and Secret of their own.
        read: How many were read.
        changed: How many were changed.
        read_back: How many of these showed the change when they were read again.
        failed: How many could not be read.
        faults: How often something went wrong on purpose.
        retried: How many requests were sent beyond the first for a record.
        logins: How many tokens were fetched.
        seconds: How long it took.
        disagreements: What in this the server's own books do not bear out.
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
        """How many records came in a second: read, changed and read again."""
        return (self.read + self.changed + self.read_back) / self.seconds

    @property
    def books_agree(self) -> bool:
        """Do the server's own books bear all of it out?"""
        return not self.disagreements


@define
class _Logins:
    """Counts the tokens that the SDK says it has fetched."""

    count: int = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, TokenFetched):
            self.count += 1


@frozen
class CallState:
    """What the SDK says of the three steps: an outcome for each place."""

    read: Outcomes
    changed: Outcomes
    read_back: Outcomes

    @property
    def attempts(self) -> int:
        """How many requests it took."""
        return sum(outcome.attempts for outcome in self._all())

    @property
    def retried(self) -> int:
        """How many of them were not the first for a record."""
        return sum(max(outcome.attempts - 1, 0) for outcome in self._all())

    def _all(self) -> Iterator[Outcome[Client]]:
        for step in (self.read, self.changed, self.read_back):
            yield from step.values()


async def run_demo(follow: Follow) -> DemoReport:
    """Read all tenants, change some, read those back, and look into the server's books.

    Args:
        follow: Called with the name and the size of each step; what it gives is told the progress.

    Raises:
        OSError: The server could not be put on loopback.
    """
    world = make_world()
    logins = _Logins()
    clock = asyncio.get_running_loop().time
    async with (
        world.fake.serve() as url,
        RingMe(url, auth=world.dealer, timeouts=_IMPATIENT, observers=[logins]) as ringme,
    ):
        began = clock()
        account = await _read_and_change(ringme, world, follow)
        seconds = clock() - began
    return DemoReport(
        tenants=TENANTS,
        own_applications=world.own_applications,
        read=len(_done(account.read)),
        changed=len(_done(account.changed)),
        read_back=len(_in_new_zone(account.read_back)),
        failed=sum(isinstance(outcome, Failed) for outcome in account.read.values()),
        faults=world.fake.faults.struck.total(),
        retried=account.retried,
        logins=logins.count,
        seconds=seconds,
        disagreements=tuple(disagreements(world, account, logins.count)),
    )


async def _read_and_change(ringme: RingMe, world: World, follow: Follow) -> CallState:
    clients, whos = ringme.clients, world.whos
    everybody = range(TENANTS)
    read = await _step(follow, "reading", clients.get_many(whos), everybody)
    some = [place for place in world.to_change if place in _done(read)]
    changes = [(whos[place], ClientUpdate(timezone=NEW_ZONE)) for place in some]
    changed = await _step(follow, "changing", clients.update_many(changes), some)
    again = clients.get_many([whos[place] for place in some])
    return CallState(read, changed, await _step(follow, "reading back", again, some))


async def _step(follow: Follow, what: str, run: BulkRun[Client], places: Sequence[int]) -> Outcomes:
    outcomes: dict[int, Outcome[Client]] = {}
    with follow(what, len(places)) as tell:
        async with run:
            async for outcome in run:
                outcomes[places[outcome.index]] = outcome
                tell(run.progress)
    return outcomes


def _done(outcomes: Outcomes) -> dict[int, Client]:
    return {place: one.value for place, one in outcomes.items() if isinstance(one, Done)}


def _in_new_zone(outcomes: Outcomes) -> set[int]:
    return {place for place, client in _done(outcomes).items() if client.timezone == NEW_ZONE}


def disagreements(world: World, account: CallState, logins: int) -> Iterator[str]:
    """Compare what the SDK says with what the server has written down."""
    fake = world.fake
    blocked = {
        place
        for place, outcome in account.read.items()
        if isinstance(outcome, Failed) and isinstance(outcome.error, UserBlocked)
    }
    written = {
        place for place, id in enumerate(world.ids) if fake.records[id]["timezone"] == NEW_ZONE
    }
    claims: dict[str, tuple[int | set[int], int | set[int]]] = {
        "tenants have an outcome": (len(account.read), TENANTS),
        "tenants were read": (
            {client.id for client in _done(account.read).values()},
            {id for place, id in enumerate(world.ids) if place not in world.blocked},
        ),
        "tenants are blocked": (blocked, world.blocked),
        "tenants were changed": (set(_done(account.changed)), written),
        "changed tenants show it": (_in_new_zone(account.read_back), written),
        "requests were sent": (account.attempts, fake.requests.total - fake.logins),
        "tokens were fetched": (logins, fake.logins),
        "faults are still to come": (0, fake.faults.left),
        "rules were broken": (0, len(fake.violations)),
    }
    for what, (told, booked) in claims.items():
        if told != booked:
            yield f"{_number(told)} {what} by the SDK's account, {_number(booked)} by the server's"


def _number(value: int | set[int]) -> int:
    return value if isinstance(value, int) else len(value)
