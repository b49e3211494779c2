"""Tests of a function of one's own, against a RingMe in memory.

Run them as ``pytest test_with_fake.py``; they need pytest-asyncio.
"""

# ruff: noqa: D103, S101 - what a test does is said by its name, and it asserts

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from ringme_async import ClientCredentials, ClientUpdate, InMemoryTransport, RingMe, ServerError
from ringme_async.testing import FakeRingMe, faults

pytestmark = pytest.mark.asyncio


async def move_to_omsk(ringme: RingMe, client_id: int) -> bool:
    """What is tested here: set the zone, and say whether there was something to do."""
    client = await ringme.clients.get(client_id)
    if client.timezone == "Asia/Omsk":
        return False
    await ringme.clients.update(client_id, ClientUpdate(timezone="Asia/Omsk"))
    return True


@pytest.fixture
def fake() -> FakeRingMe:
    fake = FakeRingMe()
    fake.add_tenant(12, name="Acme")
    return fake


@pytest_asyncio.fixture
async def ringme(fake: FakeRingMe) -> AsyncIterator[RingMe]:
    application = fake.add_application(tenant=12)
    auth = ClientCredentials(application.app_id, application.app_secret)
    async with RingMe(fake.base_url, auth=auth, transport=InMemoryTransport(fake)) as ringme:
        yield ringme


async def test_a_client_is_moved(fake: FakeRingMe, ringme: RingMe) -> None:
    assert await move_to_omsk(ringme, 12)

    fake.assert_updated(12, timezone="Asia/Omsk")
    fake.assert_quiet()


async def test_a_client_that_is_there_already_is_left_alone(
    fake: FakeRingMe, ringme: RingMe
) -> None:
    fake.tenant(12).set(timezone="Asia/Omsk")

    assert not await move_to_omsk(ringme, 12)

    fake.assert_not_updated(12)


async def test_an_answer_that_is_lost_is_asked_for_again(fake: FakeRingMe, ringme: RingMe) -> None:
    fake.faults.next(faults.ResetAfter(), on="PUT")

    assert await move_to_omsk(ringme, 12)

    assert len(fake.requests.of(12).where(method="PUT")) == 2


async def test_a_server_that_stays_down_is_an_error(fake: FakeRingMe, ringme: RingMe) -> None:
    fake.faults.always(faults.ServerError(503), on="GET")

    with pytest.raises(ServerError):
        await move_to_omsk(ringme, 12)
