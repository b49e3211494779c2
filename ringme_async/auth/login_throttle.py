"""Throttle for logins: they wait, so that they stay below the server's limit (API page, section 2)."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict

import attrs
from attrs import field, frozen

from ringme_async._internal.validation import number_above_zero, whole_number

__all__ = ["LoginLimit", "LoginThrottle", "LoginThrottles"]


def _above_zero(_limit: object, attribute: attrs.Attribute[float], value: object) -> None:
    number_above_zero(attribute.name, value)


def _whole_from_one(_limit: object, attribute: attrs.Attribute[int], value: object) -> None:
    whole_number(attribute.name, value, least=1)


@frozen
class LoginLimit:
    """The limit on logins at one host.

    The server accepts 20 logins in any sliding second, and 6 at once. The default rate stays below
    that. The server counts the logins of all programs. So processes that use one host at the same
    time must divide ``per_second`` and ``concurrent`` among them.

    Args:
        per_second: Token requests started in a second, evenly spaced. Default 18.
        concurrent: Token requests in flight. Default 6.

    Raises:
        InvalidRequest: One of them is not above 0.
    """

    per_second: float = field(default=18.0, validator=_above_zero)
    concurrent: int = field(default=6, validator=_whole_from_one)


class LoginThrottle:
    """Limits the rate and the concurrency of logins to one host, first come, first served.

    A login holds it from before its request until the answer. The next login is admitted only when
    the one before has started, and the interval counts from that start. So a busy loop that delays
    one start cannot bring two starts together. A cancelled login leaves no gap.
    """

    __slots__ = (
        "_admitted",
        "_concurrent",
        "_interval",
        "_not_before",
        "_queue",
        "_running",
        "_timer",
    )

    def __init__(self, limit: LoginLimit) -> None:
        self._interval = 1.0 / limit.per_second
        self._concurrent = limit.concurrent
        self._queue: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._admitted: asyncio.Future[None] | None = None
        self._running = 0
        self._not_before = -math.inf
        self._timer: asyncio.TimerHandle | None = None

    def is_idle(self, now: float) -> bool:
        """True if a new throttle would behave the same."""
        waiting = self._queue or self._admitted is not None
        return not waiting and self._running == 0 and now >= self._not_before

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        await self._wait_in_queue(loop)
        self._running += 1
        self._not_before = loop.time() + self._interval
        self._admit_next(loop)

    async def __aexit__(self, *exc_info: object) -> None:
        self._running -= 1
        self._admit_next(asyncio.get_running_loop())

    async def _wait_in_queue(self, loop: asyncio.AbstractEventLoop) -> None:
        waiter: asyncio.Future[None] = loop.create_future()
        self._queue[waiter] = None
        if len(self._queue) == 1:
            self._admit_next(loop)
        try:
            await waiter
        except BaseException:
            self._leave_queue(waiter, loop)
            raise
        self._admitted = None

    def _leave_queue(self, waiter: asyncio.Future[None], loop: asyncio.AbstractEventLoop) -> None:
        self._queue.pop(waiter, None)
        if self._admitted is waiter:
            self._admitted = None
        self._admit_next(loop)

    def _admit_next(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._queue or self._admitted is not None or self._running >= self._concurrent:
            return
        if loop.time() < self._not_before:
            self._timer = loop.call_at(self._not_before, self._admit_first)
        else:
            self._admit_first()

    def _admit_first(self) -> None:
        # Does not check the time again: a loop may fire a timer one clock tick early.
        self._timer = None
        while self._queue:
            waiter, _ = self._queue.popitem(last=False)
            if not waiter.done():
                self._admitted = waiter
                waiter.set_result(None)
                return


class LoginThrottles:
    """A throttle for each host; idle ones are removed."""

    __slots__ = ("_limit", "_sweep_at", "_throttles")

    _MIN_TO_SWEEP = 64

    def __init__(self, limit: LoginLimit) -> None:
        self._limit = limit
        self._throttles: dict[str, LoginThrottle] = {}
        self._sweep_at = self._MIN_TO_SWEEP

    def __len__(self) -> int:
        return len(self._throttles)

    def of(self, origin: str) -> LoginThrottle:
        """Give the throttle of a host, to be entered at once and not to be kept."""
        throttle = self._throttles.get(origin)
        if throttle is None:
            if len(self._throttles) >= self._sweep_at:
                self._sweep()
            throttle = self._throttles[origin] = LoginThrottle(self._limit)
        return throttle

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        self._throttles = {
            origin: throttle
            for origin, throttle in self._throttles.items()
            if not throttle.is_idle(now)
        }
        self._sweep_at = max(self._MIN_TO_SWEEP, 2 * len(self._throttles))
