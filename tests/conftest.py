"""What all tests share: the choice of a clock, and a mended aioresponses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.aioresponses_shim import mend_aioresponses
from tests.jumping_loop import JumpingLoop


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "jumping: run the test on a loop whose clock jumps instead of waiting"
    )
    mend_aioresponses()
    # Without a loop said to be none, pytest-asyncio's look at the current one makes one on 3.11,
    # which nobody closes.
    asyncio.set_event_loop(None)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.get_closest_marker("jumping") is not None:
        return {"jumping": JumpingLoop}
    return {"real": asyncio.new_event_loop}
