"""One stand-in for the tests of a file that need no configuration of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from .client import RunningStandIn, running_standin


@pytest.fixture(scope="module")
def standin() -> Iterator[RunningStandIn]:
    """A stand-in with 1,000 tenants and the dealer's application ``dealer``, ``hush-hush``."""
    dealer = {"app_id": "dealer", "secret": "hush-hush", "tenant": 1, "reach": {}}
    with running_standin({"applications": [dealer], "login_per_second": None}) as server:
        yield server


@pytest.fixture
async def server(standin: RunningStandIn) -> AsyncIterator[RunningStandIn]:
    """The same with new books and no trouble; the test must break no rule of the API page."""
    await standin.do("set_rules", rules=[])
    await standin.do("set_faults")
    await standin.do("revoke_tokens")
    await standin.do("reset_books")
    yield standin
    books = await standin.books(tenants="failed")
    assert books["violations"] == {}, books["first_violations"]
    assert books["other_host"]["requests"] == 0, books["other_host"]["heads"]
