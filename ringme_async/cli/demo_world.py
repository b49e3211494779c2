"""The demo's server: 1,000 tenants, some of them blocked, and scripted faults."""

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

# Each fault strikes one tenant once, so that only blocked tenants fail for good.
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
    """The server and its tenants, indexed in reading order.

    Attributes:
        fake: The server.
        dealer: The credentials for most tenants.
        ids: The tenants' ids, by index.
        targets: The calls' arguments, by index: an id, or a ``Tenant`` with its own credentials.
        blocked: The indexes of tenants that the provider has blocked.
    """

    fake: FakeRingMe
    dealer: ClientCredentials
    ids: list[int] = field(factory=list[int])
    targets: list[Who] = field(factory=list[Who])
    blocked: set[int] = field(factory=set[int])

    @property
    def own_applications(self) -> int:
        """The number of tenants with an App ID and Secret of their own."""
        return sum(isinstance(who, Tenant) for who in self.targets)

    @property
    def to_change(self) -> list[int]:
        """The indexes of the tenants whose time zone is changed."""
        return [index for index in range(0, TENANTS, _CHANGED_EVERY) if index not in self.blocked]


def make_world() -> World:
    """Create a server with its tenants, and script the faults."""
    fake = FakeRingMe()
    world = World(fake, _credentials(fake.add_dealer()))
    for index, tenant in enumerate(fake.add_tenants(TENANTS)):
        world.ids.append(tenant.id)
        if index % _OWN_EVERY:
            world.targets.append(tenant.id)
        else:
            auth = _credentials(fake.add_application(tenant=tenant))
            world.targets.append(Tenant("@me", auth=auth, name=f"tenant {tenant.id}"))
        if index % _BLOCKED_EVERY == _FIRST_BLOCKED:
            fake.block(tenant)
            world.blocked.add(index)
    _make_trouble(world)
    return world


def _credentials(application: FakeApplication) -> ClientCredentials:
    return ClientCredentials(application.app_id, application.app_secret)


def _make_trouble(world: World) -> None:
    readable = [index for index in range(TENANTS) if index not in world.blocked]
    for on, troubles, indexes in (
        ("GET", _ON_READING, readable),
        ("PUT", _ON_CHANGING, world.to_change),
    ):
        for number, fault in enumerate(troubles):
            index = indexes[number * len(indexes) // len(troubles)]
            world.fake.faults.next(fault, on=on, tenant=world.ids[index])
