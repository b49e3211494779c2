"""A transport without a network: a function answers the requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ringme_async._internal.deadlines import Deadlines
from ringme_async.errors import TransportTimeout
from ringme_async.transports import Request, Response
from ringme_async.transports.body_decoder import (
    DEFAULT_MAX_BODY,
    asking_for_gzip,
    decompressed,
    peer_of,
    refusal_of_closed,
    refusal_on_other_loop,
    whole_number,
)

__all__ = ["Handler", "InMemoryTransport"]

Handler = Callable[[Request], Awaitable[Response]]
"""Answers a request. Its exceptions reach the caller unchanged."""


class InMemoryTransport:
    """Passes each request to an async function and returns its response.

    Like every transport it asks for gzip and decompresses it (API page, section 3), keeps the
    attempt's time-out, and caps bodies. It serves several event loops, one after the other.

    Args:
        handler: Answers the requests, several at once. It may raise a ``TransportError`` as a
            network failure. Any other exception counts as a bug and gets out too.
        max_body: The largest body after decompression, in bytes. Default 8 MiB.

    Raises:
        InvalidRequest: ``max_body`` is not a whole number from 1 up.
    """

    __slots__ = ("_closed", "_deadlines", "_handler", "_loop", "_max_body")

    def __init__(self, handler: Handler, *, max_body: int = DEFAULT_MAX_BODY) -> None:
        self._handler = handler
        self._max_body = whole_number("max_body", max_body, least=1)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._deadlines = Deadlines()
        self._closed = False

    async def send(self, request: Request) -> Response:
        """Call the handler with a request.

        Raises:
            TransportTimeout: The handler took longer than ``timeouts.attempt``.
            ResponseTooLarge: The body is over ``max_body``.
            ResponseLost: The body cannot be decompressed.
            InvalidRequest: The transport is closed, or in use on another event loop.
        """
        loop = self._open()
        with self._deadlines.until(loop.time() + request.timeouts.attempt, loop):
            response = await self._handler(asking_for_gzip(request))
            return decompressed(request, response, self._max_body)
        raise TransportTimeout(
            f"no whole answer from {peer_of(request.url)} within {request.timeouts.attempt:g} s"
        )

    async def aclose(self) -> None:
        """Refuse further requests. Further calls do nothing."""
        self._closed = True
        # Requests in flight go on, and need their deadlines.
        if self._deadlines.is_idle:
            self._deadlines.close()

    def _open(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise refusal_of_closed(self)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None and not (self._deadlines.is_idle or self._loop.is_closed()):
                raise refusal_on_other_loop(self)
            # The old deadlines may have a timer on a loop that no longer runs.
            self._loop, self._deadlines = loop, Deadlines()
        return loop
