"""A RingMe on the fake, observed."""

from __future__ import annotations

from typing import Any

from ringme_async import ClientCredentials, InMemoryTransport, Observer, RingMe
from ringme_async.testing import FakeRingMe


def make_fake(tenants: int = 3, ceiling: int = 1_000_000, **options: Any) -> FakeRingMe:
    fake = FakeRingMe(**options)
    fake.add_tenants(tenants)
    fake.add_dealer("app-id", "app-secret", ceiling=ceiling)
    return fake


def observed(fake: FakeRingMe, *observers: Observer, **settings: Any) -> RingMe:
    return RingMe(
        fake.base_url,
        auth=ClientCredentials("app-id", "app-secret"),
        transport=InMemoryTransport(fake),
        observers=observers,
        **settings,
    )
