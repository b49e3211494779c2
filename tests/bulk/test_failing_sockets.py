"""Broken tenants of a healthy host, over real sockets."""

from __future__ import annotations

import asyncio

import pytest

from ringme_async import ClientCredentials, RetryPolicy, RingMe, Timeouts
from ringme_async.testing import FakeRingMe, faults


@pytest.mark.parametrize(
    ("fault", "start"),
    [(faults.ServerError(), 1), (faults.ServerError(), 911), (faults.Stall(1e6), 911)],
    ids=["5xx at the start", "5xx at the end", "stalling at the end"],
)
async def test_ninety_broken_tenants_of_a_thousand_cost_no_other_an_outcome(
    fault: faults.Fault, start: int
) -> None:
    fake = FakeRingMe()
    fake.add_tenants(1_000)
    broken = range(start, start + 90)
    for who in broken:
        fake.faults.always(fault, tenant=who)
    dealer = fake.add_dealer()
    auth = ClientCredentials(dealer.app_id, dealer.app_secret)
    async with (
        asyncio.timeout(120),
        fake.serve() as url,
        RingMe(
            url, auth=auth, timeouts=Timeouts(attempt=1.0), retry=RetryPolicy(attempts=1)
        ) as ringme,
    ):
        report = await ringme.clients.get_many(range(1, 1_001))

    assert {failure.who for failure in report.failures} == set(broken)
    assert report.counts["done"] == 910
