"""A fake, and a caller that reaches it in memory and over sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ringme_async.testing import FakeRingMe
from tests.testing.reach import Caller, reaching


@pytest.fixture
def fake() -> FakeRingMe:
    return FakeRingMe()


@pytest.fixture(params=["memory", "loopback", "plain"])
async def call(request: pytest.FixtureRequest, fake: FakeRingMe) -> AsyncIterator[Caller]:
    async with reaching(request.param, fake) as caller:
        yield caller


@pytest.fixture(params=["memory", "loopback"])
async def send(request: pytest.FixtureRequest, fake: FakeRingMe) -> AsyncIterator[Caller]:
    async with reaching(request.param, fake) as caller:
        yield caller


@pytest.fixture
async def inside(fake: FakeRingMe) -> AsyncIterator[Caller]:
    async with reaching("memory", fake) as caller:
        yield caller
