"""One stand-in for the tests that need no configuration of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from .client import RunningStandIn, start_standin
from .test_standin import DEALER, Plain


@pytest.fixture
async def standin() -> AsyncIterator[RunningStandIn]:
    """A stand-in with 1,000 tenants and the dealer's application ``dealer``, ``hush``."""
    async with start_standin({"applications": [DEALER]}) as server:
        yield server


@pytest.fixture
async def shared(standin: RunningStandIn) -> AsyncIterator[Plain]:
    """Plain aiohttp at such a stand-in."""
    async with aiohttp.ClientSession() as session:
        yield Plain(standin, session)
