"""Fixtures that run a test with each network transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from importlib.util import find_spec

import pytest

from ringme_async.transports.aiohttp import AiohttpTransport
from ringme_async.transports.httptools import HttptoolsTransport
from tests.transports import sending
from tests.unhurried import unhurried_loop


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "every_loop: run the test on uvloop as well, if it is there")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]] | None:
    if item.get_closest_marker("every_loop") is None or find_spec("uvloop") is None:
        return None
    import uvloop

    return {"asyncio": unhurried_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=[AiohttpTransport, HttptoolsTransport])
def each_transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``sending.made`` make each network transport in turn."""
    monkeypatch.setattr(sending, "make", request.param)
