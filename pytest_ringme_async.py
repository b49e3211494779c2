"""The pytest plugin of ringme_async: a fake RingMe, an SDK object on it, and a clock that jumps.

It is a module beside the package because pytest imports it at the start of every run. It imports
pytest alone. A test that uses one of its fixtures imports the rest.

Fixtures: ``fake_ringme``, ``ringme_dealer``, ``ringme``, ``ringme_server``, ``ringme_clock``.
Marker: ``@pytest.mark.ringme(tenants=100, faults={"reset": 0.02}, seed=1)``.

No fixture is async. They work with pytest-asyncio in auto and in strict mode, with anyio's plugin,
and in tests that are not async:

* ``ringme`` is made outside of any loop, and closed on the test's loop after the test.
* ``ringme_server`` runs in a thread with its own loop.
* ``ringme_clock`` needs its loop before the test runs, since a fixture cannot replace a running
  loop. The plugin finds tests with this fixture at collection and chooses their loop:

  * pytest-asyncio: by the hook ``pytest_asyncio_loop_factories``, or by a policy before 1.4.
  * anyio: by the option ``loop_factory`` of its backend.

  The hook is active only while such a test is collected. All other tests keep their loop and their
  name. Before the test's first line, the plugin checks the loop that runs.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ringme_async import RingMe
    from ringme_async.testing import FakeApplication, FakeRingMe
    from ringme_async.testing.plugin import Clock

_CLOCK = "ringme_clock"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "ringme(tenants=0, faults=None, seed=0, ...): who lives in the fake_ringme of this test,"
        " what goes wrong, and the other settings of FakeRingMe",
    )


@pytest.fixture
def fake_ringme(request: pytest.FixtureRequest) -> FakeRingMe:
    """A RingMe in memory, with the clients and settings of the marker ``ringme``."""
    from ringme_async.testing import plugin  # noqa: PLC0415 - other tests need not load it

    return plugin.fake_of(request)


@pytest.fixture
def ringme_dealer(request: pytest.FixtureRequest, fake_ringme: FakeRingMe) -> FakeApplication:
    """An application of the fake that reaches every client."""
    from ringme_async.testing import plugin  # noqa: PLC0415 - other tests need not load it

    return plugin.dealer_of(request, fake_ringme)


@pytest.fixture
def ringme(
    request: pytest.FixtureRequest, fake_ringme: FakeRingMe, ringme_dealer: FakeApplication
) -> Iterator[RingMe]:
    """A ``RingMe`` on the fake, in memory, with the dealer's credentials; closed after the test."""
    from ringme_async.testing import plugin  # noqa: PLC0415 - other tests need not load it

    with plugin.ringme_on(request, fake_ringme, ringme_dealer) as ringme:
        yield ringme


@pytest.fixture
def ringme_server(request: pytest.FixtureRequest, fake_ringme: FakeRingMe) -> Iterator[str]:
    """The fake on a port of this machine: its base URL."""
    from ringme_async.testing import plugin  # noqa: PLC0415 - other tests need not load it

    plugin.refuse_server_with_clock(request)
    with plugin.serving(fake_ringme) as url:
        yield url


@pytest.fixture
def ringme_clock(request: pytest.FixtureRequest) -> Clock:
    """A clock that jumps: hours of the test take milliseconds."""
    from ringme_async.testing import plugin  # noqa: PLC0415 - other tests need not load it

    plugin.refuse_server_with_clock(request)
    return plugin.clock()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Generator[None]:
    """Choose the loop of a test that uses ``ringme_clock``."""
    if _CLOCK not in metafunc.fixturenames:
        return (yield)
    from ringme_async.testing import plugin  # noqa: PLC0415 - other tests need not load it

    with plugin.jumping_loops(metafunc):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Check the loop before a test that uses ``ringme_clock`` begins."""
    if not (isinstance(item, pytest.Function) and _CLOCK in item.fixturenames):
        return (yield)
    from ringme_async.testing import plugin  # noqa: PLC0415 - other tests need not load it

    with plugin.checking_the_loop(item):
        return (yield)
