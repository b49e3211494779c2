"""The transports over the network, each before the same faults."""

from __future__ import annotations

import pytest

from ringme_async.transports.aiohttp import AiohttpTransport
from ringme_async.transports.httptools import HttptoolsTransport
from tests.transports import sending


@pytest.fixture(params=[AiohttpTransport, HttptoolsTransport])
def each_transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what ``sending.make`` makes be each of them in turn."""
    monkeypatch.setattr(sending, "make", request.param)
