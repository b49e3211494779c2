"""Observers get events of parked calls, single and in bulk."""

from __future__ import annotations

import pytest

from ringme_async import AttemptSent, ClientCredentials, Event, Parked, Tenant, Woken
from tests.observers.world import make_fake, observed

pytestmark = pytest.mark.jumping


def names(events: list[Event]) -> list[str]:
    kinds = (AttemptSent, Parked, Woken)
    return [type(event).__name__ for event in events if isinstance(event, kinds)]


async def test_a_parked_call_is_reported_with_its_number() -> None:
    events: list[Event] = []
    async with observed(make_fake(ceiling=1), events.append) as ringme:
        await ringme.clients.get(1)
        await ringme.clients.get(2, on_quota="wait", timeout=7200)

    (parked,) = [event for event in events if isinstance(event, Parked)]
    (woken,) = [event for event in events if isinstance(event, Woken)]
    last = [event for event in events if isinstance(event, AttemptSent)][-1]
    assert parked.client_id == woken.client_id == "2"
    assert parked.call == woken.call == last.call
    assert 3000 < parked.delay < 3700


async def test_a_bulk_item_parked_before_it_was_sent_is_reported_once() -> None:
    events: list[Event] = []
    async with observed(make_fake(ceiling=2), events.append) as ringme:
        report = await ringme.clients.get_many([1, 2, 3], concurrency=1)

    assert report.ok
    assert names(events) == ["AttemptSent", "AttemptSent", "Parked", "Woken", "AttemptSent"]
    (parked,) = [event for event in events if isinstance(event, Parked)]
    assert (parked.client_id, parked.call) == ("3", None)
    assert 3000 < parked.delay < 3700


async def test_a_refused_bulk_item_is_reported() -> None:
    fake = make_fake(ceiling=5)
    home = fake.add_tenant()
    ours = fake.add_application("ours", "secret", tenant=home, ceiling=2)
    fake.add_application("other", "secret", tenant=home, ceiling=9)
    events: list[Event] = []
    mine = Tenant(auth=ClientCredentials(ours.app_id, ours.app_secret))
    others = Tenant(auth=ClientCredentials("other", "secret"))
    async with observed(fake, events.append) as ringme:
        await ringme.clients.get(mine)
        await ringme.clients.get(others)
        events.clear()
        report = await ringme.clients.get_many([mine])

    assert report.ok
    assert names(events) == ["AttemptSent", "Parked", "Woken", "AttemptSent"]


async def test_a_bulk_item_that_may_not_park_is_not_reported() -> None:
    events: list[Event] = []
    async with observed(make_fake(ceiling=2), events.append) as ringme:
        report = await ringme.clients.get_many([1, 2, 3], concurrency=1, on_quota="fail")

    assert len(report.failures) == 1
    assert names(events) == ["AttemptSent", "AttemptSent"]
