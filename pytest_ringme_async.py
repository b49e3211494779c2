"""The pytest plugin of ringme_async: a fake RingMe, an SDK object on it, and a clock that jumps.

It stands beside the package because pytest imports it at the start of every run. It is small and
imports nothing but pytest; a test that asks for one of its fixtures imports the rest.

Fixtures: ``fake_ringme``, ``ringme_dealer``, ``ringme``, ``ringme_server``, ``ringme_clock``.
Marker: ``@pytest.mark.ringme(tenants=100, faults={"reset": 0.02}, seed=1)``.

None of the fixtures is async, so that they are the same to pytest-asyncio in auto and in strict
mode, to anyio's plugin, and to tests that are not async at all:

* ``ringme`` is made outside of any loop, and closed on that of the test when the test has ended.
* ``ringme_server`` runs in a thread with a loop of its own.
* ``ringme_clock`` has to be there before the loop is, since a fixture cannot replace a loop that
  runs. So the tests that use it are recognised by their fixtures' names at collection, and their
  loop is chosen in the way that the plugin which will run them provides: with pytest-asyncio the
  hook ``pytest_asyncio_loop_factories``, or a policy where a version before 1.4 has no such hook;
  with anyio the option ``loop_factory`` of its backend. The hook is there only while such a test is
  collected: all other tests keep the loop and the name that they have without this plugin.
  Before the test's first line, the loop that really runs is looked at.
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
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "ringme(tenants=0, faults=None, seed=0, ...): who lives in the fake_ringme of this test,"
        " what goes wrong, and the other settings of FakeRingMe",
    )


@pytest.fixture
def fake_ringme(request: pytest.FixtureRequest) -> FakeRingMe:
    """A RingMe in memory, empty but for what the marker ``ringme`` says."""
    from ringme_async.testing import plugin  # noqa: PLC0415 - other tests need none of it

    return plugin.fake_of(request)


@pytest.fixture
def ringme_dealer(request: pytest.FixtureRequest, fake_ringme: FakeRingMe) -> FakeApplication:
    """An application of the fake that reaches every client; it has an ``app_id`` and a secret."""
    from ringme_async.testing import plugin  # noqa: PLC0415 - other tests need none of it

    return plugin.dealer_of(request, fake_ringme)


@pytest.fixture
def ringme(
    request: pytest.FixtureRequest, fake_ringme: FakeRingMe, ringme_dealer: FakeApplication
) -> Iterator[RingMe]:
    """A ``RingMe`` on the fake, in memory, with the dealer's credentials; closed after the test."""
    from ringme_async.testing import plugin  # noqa: PLC0415 - other tests need none of it

    with plugin.ringme_on(request, fake_ringme, ringme_dealer) as ringme:
        yield ringme


@pytest.fixture
def ringme_server(request: pytest.FixtureRequest, fake_ringme: FakeRingMe) -> Iterator[str]:
    """The fake on a port of this machine: its base URL."""
    from ringme_async.testing import plugin  # noqa: PLC0415 - other tests need none of it

    plugin.refuse_mixture(request)
    with plugin.serving(fake_ringme) as url:
        yield url


@pytest.fixture
def ringme_clock(request: pytest.FixtureRequest) -> Clock:
    """Time that jumps: the test's hours take milliseconds."""
    from ringme_async.testing import plugin  # noqa: PLC0415 - other tests need none of it

    plugin.refuse_mixture(request)
    return plugin.clock()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Generator[None]:
    """Choose the loop of a test that uses ``ringme_clock``."""
    if _CLOCK not in metafunc.fixturenames:
        return (yield)
    from ringme_async.testing import plugin  # noqa: PLC0415 - other tests need none of it

    with plugin.jumping_loops(metafunc):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Look at the loop before a test that uses ``ringme_clock`` begins."""
    if not (isinstance(item, pytest.Function) and _CLOCK in item.fixturenames):
        return (yield)
    from ringme_async.testing import plugin  # noqa: PLC0415 - other tests need none of it

    with plugin.looking_at_the_loop(item):
        return (yield)
