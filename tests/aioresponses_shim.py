"""Makes aioresponses 0.7.9 work on aiohttp 3.14, whose responses want one argument more."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

from aiohttp import ClientResponse
from aioresponses import core

__all__ = ["mend_aioresponses"]


class _Response(ClientResponse):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **kwargs)


def mend_aioresponses() -> None:
    """Let aioresponses build its responses; doing it again changes nothing."""
    setattr(core, "ClientResponse", _Response)  # noqa: B010  # the name is not exported
