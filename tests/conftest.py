"""What all tests share: the choice of a clock, and a mended aioresponses."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.aioresponses_shim import mend_aioresponses
from tests.jumping_loop import JumpingLoop
from tests.unhurried import unhurried_loop

TESTS = Path(__file__).parent
# Folders and files that take most of the time, and in which the interpreter matters least.
SLOW = {
    "standin",
    "mirror",
    "cli",
    "docs",
    "test_quota_simulation.py",
    "test_quota_together.py",
    "test_outages.py",
    "test_scale.py",
    "test_auto.py",
    "test_examples.py",
    "test_plugin.py",
    "test_trade_in_processes.py",
}

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "slow: many processes or long simulations; one interpreter is enough for it"
    )
    config.addinivalue_line(
        "markers", "jumping: run the test on a loop whose clock jumps instead of waiting"
    )
    mend_aioresponses()
    # A shell that starts the tests in the background has them ignore Ctrl-C, and so would every
    # program that they start in order to interrupt it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Without a loop said to be none, pytest-asyncio's look at the current one makes one on 3.11,
    # which nobody closes.
    asyncio.set_event_loop(None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if SLOW & set(item.path.relative_to(TESTS).parts):
            item.add_marker(pytest.mark.slow)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.get_closest_marker("jumping") is not None:
        return {"jumping": JumpingLoop}
    return {"real": unhurried_loop}
