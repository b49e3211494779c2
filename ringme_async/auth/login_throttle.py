"""The server's limit on logins, kept by waiting (API page, section 2)."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict

import attrs
from attrs import field, frozen

from ringme_async._internal.validation import number_above_zero, whole_number

__all__ = ["LoginLimit", "LoginThrottle", "LoginThrottles"]


def _a_rate(_limit: object, attribute: attrs.Attribute[float], value: object) -> None:
    number_above_zero(attribute.name, value)


def _a_count(_limit: object, attribute: attrs.Attribute[int], value: object) -> None:
    whole_number(attribute.name, value, least=1)


@frozen
class LoginLimit:
    """How many logins one host takes.

    The server lets 20 a second pass, in any sliding second, and 6 at once; the defaults stay below.
    It counts all who log in there: processes that work on one host at the same time have to share
    it, each with a part of ``per_second`` and of ``concurrent``.

    Args:
        per_second: Token requests started in a second, evenly spaced. Default 18.
        concurrent: Token requests in flight. Default 6.

    Raises:
        InvalidRequest: One of them is not above 0.
    """

    per_second: float = field(default=18.0, validator=_a_rate)
    concurrent: int = field(default=6, validator=_a_count)


class LoginThrottle:
    """Lets token requests to one host pass one by one, in the order they came.

    Entered for each request and left when its answer is there. The next is called only when the
    one before has really started, and the interval counts from then: a busy loop that comes late
    to one start cannot push two of them together. Who is cancelled leaves no gap.
    """

    __slots__ = (
        "_called",
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
        self._called: asyncio.Future[None] | None = None
        self._running = 0
        self._not_before = -math.inf
        self._timer: asyncio.TimerHandle | None = None

    def is_idle(self, now: float) -> bool:
        """Could this gate be forgotten without anybody noticing?"""
        waiting = self._queue or self._called is not None
        return not waiting and self._running == 0 and now >= self._not_before

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        await self._take_turn(loop)
        self._running += 1
        self._not_before = loop.time() + self._interval
        self._call_next(loop)

    async def __aexit__(self, *exc_info: object) -> None:
        self._running -= 1
        self._call_next(asyncio.get_running_loop())

    async def _take_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        turn: asyncio.Future[None] = loop.create_future()
        self._queue[turn] = None
        if len(self._queue) == 1:
            self._call_next(loop)
        try:
            await turn
        except BaseException:
            self._give_up(turn, loop)
            raise
        self._called = None

    def _give_up(self, turn: asyncio.Future[None], loop: asyncio.AbstractEventLoop) -> None:
        self._queue.pop(turn, None)
        if self._called is turn:
            self._called = None
        self._call_next(loop)

    def _call_next(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._queue or self._called is not None or self._running >= self._concurrent:
            return
        if loop.time() < self._not_before:
            self._timer = loop.call_at(self._not_before, self._on_time)
        else:
            self._on_time()

    def _on_time(self) -> None:
        # Not asked again whether it is time: a loop may fire a timer one tick of its clock early.
        self._timer = None
        while self._queue:
            turn, _ = self._queue.popitem(last=False)
            if not turn.done():
                self._called = turn
                turn.set_result(None)
                return


class LoginThrottles:
    """The gates of all hosts; those that nobody uses are forgotten."""

    __slots__ = ("_limit", "_sweep_at", "_throttles")

    _FEWEST_TO_SWEEP = 64

    def __init__(self, limit: LoginLimit) -> None:
        self._limit = limit
        self._throttles: dict[str, LoginThrottle] = {}
        self._sweep_at = self._FEWEST_TO_SWEEP

    def __len__(self) -> int:
        return len(self._throttles)

    def of(self, origin: str) -> LoginThrottle:
        """Give the gate of a host, to be entered at once and not to be kept."""
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
        self._sweep_at = max(self._FEWEST_TO_SWEEP, 2 * len(self._throttles))
