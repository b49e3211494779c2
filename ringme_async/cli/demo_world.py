"""Where the demo plays: a server with 1,000 tenants, some of them blocked, and some trouble."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import field, frozen

from ringme_async import ClientCredentials, Tenant, Who
from ringme_async.testing import FakeApplication, FakeRingMe, faults
from ringme_async.testing.faults import Fault

TENANTS: Final = 1_000

_OWN_EVERY: Final = 10
_BLOCKED_EVERY: Final = 125
_FIRST_BLOCKED: Final = 120
_CHANGED_EVERY: Final = 9

# Each of these strikes a tenant of its own, once, so that nothing fails for good but the blocked.
_ON_READING: Final[Sequence[Fault]] = (
    faults.Stall(60.0),
    *[faults.ResetBefore()] * 8,
    *[faults.ResetAfter()] * 4,
    *[faults.CutBody()] * 4,
    *[faults.ServerError(500)] * 4,
    *[faults.ServerError(503, retry_after=1)] * 4,
    *[faults.Html(502)] * 4,
    *[faults.Busy()] * 4,
    *[faults.TokenDeath()] * 3,
)
_ON_CHANGING: Final[Sequence[Fault]] = (
    *[faults.ResetAfter()] * 3,
    *[faults.ServerError(502)] * 3,
    *[faults.CutBody()] * 2,
)


@frozen
class World:
    """The server and its tenants; a place is one in the order in which they are read.

    Attributes:
        fake: The server.
        dealer: The credentials by which most tenants are reached.
        ids: The tenants' ids, by place.
        whos: How they are named in a call, by place: by id, or with credentials of their own.
        blocked: The places of those that the provider has blocked.
    """

    fake: FakeRingMe
    dealer: ClientCredentials
    ids: list[int] = field(factory=list[int])
    whos: list[Who] = field(factory=list[Who])
    blocked: set[int] = field(factory=set[int])

    @property
    def own_applications(self) -> int:
        """How many tenants have an App ID and Secret of their own."""
        return sum(isinstance(who, Tenant) for who in self.whos)

    @property
    def to_change(self) -> list[int]:
        """The places of the tenants whose time zone is changed."""
        return [place for place in range(0, TENANTS, _CHANGED_EVERY) if place not in self.blocked]


def make_world() -> World:
    """Make a server with its tenants, and script what will go wrong."""
    fake = FakeRingMe()
    world = World(fake, _credentials(fake.add_dealer()))
    for place, tenant in enumerate(fake.add_tenants(TENANTS)):
        world.ids.append(tenant.id)
        if place % _OWN_EVERY:
            world.whos.append(tenant.id)
        else:
            auth = _credentials(fake.add_application(tenant=tenant))
            world.whos.append(Tenant("@me", auth=auth, name=f"tenant {tenant.id}"))
        if place % _BLOCKED_EVERY == _FIRST_BLOCKED:
            fake.block(tenant)
            world.blocked.add(place)
    _make_trouble(world)
    return world


def _credentials(application: FakeApplication) -> ClientCredentials:
    return ClientCredentials(application.app_id, application.app_secret)


def _make_trouble(world: World) -> None:
    readable = [place for place in range(TENANTS) if place not in world.blocked]
    for on, troubles, places in (
        ("GET", _ON_READING, readable),
        ("PUT", _ON_CHANGING, world.to_change),
    ):
        for number, fault in enumerate(troubles):
            place = places[number * len(places) // len(troubles)]
            world.fake.faults.next(fault, on=on, tenant=world.ids[place])
