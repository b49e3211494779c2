"""The lifetime of one ``RingMe``: its process, its event loop and the calls in flight."""

from __future__ import annotations

import asyncio
import inspect
import os
import warnings
from collections.abc import Callable

from ringme_async._internal.deadlines import Deadline, Deadlines
from ringme_async.errors import InvalidRequest, RingMeClosed

__all__ = ["WHEN_CLOSED", "Lifetime"]

WHEN_CLOSED = "the RingMe was closed"
# Seconds that cancelled calls get to end.
_GRACE = 10.0
_PACKAGE = __name__.partition(".")[0]


class Lifetime:
    """Binds a ``RingMe`` to the process and event loop of its first call, until closed.

    If a used ``RingMe`` is garbage-collected without ``aclose``, a ResourceWarning names the line
    where it was made.

    Args:
        name: The ``repr`` of the ``RingMe``.
        let_go: Releases connections without waiting; called after the warning.
    """

    __slots__ = (
        "_close_callbacks",
        "_closed",
        "_deadlines",
        "_let_go",
        "_loop",
        "_made_at",
        "_name",
        "_process",
    )

    def __init__(self, name: str, let_go: Callable[[], None]) -> None:
        self._name = name
        self._let_go = let_go
        self._made_at = _line_of_caller()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._deadlines = Deadlines()
        self._close_callbacks: dict[Callable[[str], None], asyncio.AbstractEventLoop] = {}

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of the first call; None before it."""
        return self._loop

    def until(self, deadline: float, loop: asyncio.AbstractEventLoop) -> Deadline:
        """Begin a call.

        Args:
            deadline: The call's deadline, in the running loop's time.
            loop: The running loop.

        Returns:
            A context manager that ends its block at the deadline, or when the ``RingMe`` is closed.

        Raises:
            InvalidRequest: The first call ran in another process or event loop.
            RingMeClosed: The ``RingMe`` is closed.
        """
        if self._loop is None:
            self._loop, self._process = loop, os.getpid()
        elif self._loop is not loop or self._process != os.getpid():
            self._check_process()
            raise self._wrong_loop()
        if self._closed:
            raise RingMeClosed("this RingMe was closed before the call")
        return Deadline(deadline, self._deadlines, loop)

    def on_close(self, end: Callable[[str], None]) -> Callable[[], None]:
        """Register a callback for ``close``, if that happens on the loop that runs now.

        Args:
            end: Called with the reason.

        Returns:
            A function that removes the callback.
        """
        self._close_callbacks[end] = asyncio.get_running_loop()

        def unregister() -> None:
            self._close_callbacks.pop(end, None)

        return unregister

    def close(self) -> None:
        """Refuse further calls, and end the calls in flight.

        Raises:
            InvalidRequest: The first call ran in another process or event loop.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not None:
            self._check_process()
            if self._loop is not loop and not self._loop.is_closed():
                raise self._wrong_loop()
        self._closed = True
        if self._loop is loop:
            self._deadlines.end_all()
        for end, its_loop in tuple(self._close_callbacks.items()):
            if its_loop is loop:
                end(WHEN_CLOSED)

    async def ended(self) -> None:
        """After ``close``, wait at most 10 s until no call is in flight.

        A ``RuntimeWarning`` counts the calls that ignore their cancellation.
        """
        if self._loop is not asyncio.get_running_loop():
            return
        try:
            async with asyncio.timeout(_GRACE):
                await self._deadlines.idle()
        except TimeoutError:
            warnings.warn(
                f"{self._name} was closed without calls that hang: {self._deadlines.count}",
                RuntimeWarning,
                stacklevel=2,
            )
        finally:
            self._deadlines.close()

    def __del__(self) -> None:
        # An interrupted constructor has set no attributes.
        if not hasattr(self, "_process") or self._loop is None:
            return
        if self._closed or os.getpid() != self._process:
            return
        filename, line = self._made_at
        try:
            warnings.warn_explicit(
                f"{self._name} was never closed; use `async with`, or await its aclose()",
                ResourceWarning,
                filename,
                line,
            )
        finally:
            if self._loop.is_closed() or self._runs_on_its_loop():
                self._let_go()

    def _runs_on_its_loop(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise InvalidRequest(
                "this RingMe belongs to the process that this one was forked from;"
                " make one in each process"
            )

    def _wrong_loop(self) -> InvalidRequest:
        ended = self._loop is not None and self._loop.is_closed()
        which = "an event loop that has ended" if ended else "another event loop"
        return InvalidRequest(
            f"this RingMe belongs to {which}; make one in each loop, inside of its asyncio.run"
        )


def _line_of_caller() -> tuple[str, int]:
    """Find the nearest caller outside of this package."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        frame = frame.f_back
    return ("?", 0) if frame is None else (frame.f_code.co_filename, frame.f_lineno)
