"""The requests that one credential may still send, learned from response headers.

The server counts requests in windows of an hour. Every answer says how many requests remain and
when the counter resets (API page, section 3). In an *unknown* window one request goes first, as a
probe. In a *known* window requests go while fewer are in flight than remain. In a *used up* window
nothing goes until the reset. A window is *unlimited* if the probe's answer has no such headers.

Answers arrive out of order, so the smallest Remaining of a window counts. Requests that the server
had not counted by then are still in flight here, and are subtracted.

A late answer, to a request sent before the reset, is ignored. The exception is an answer whose
Reset proves that the server counted it in the new window: ignoring it would end in a refusal.

An early answer comes from the server's next window, while ours still has its margin to run. It can
lower the number now, and becomes the known number of our next window. Raising the number at once
would cause refusals wherever answers overtake each other, and gain a second or two.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

from attrs import define, field

from ringme_async.policies.rate_limit_headers import (
    LONGEST_RESET,
    RESET_UNSTATED,
    limit_in,
    remaining_in,
    reset_in,
)

__all__ = ["Quota", "Reservation"]

# Reset is in whole seconds: the real reset may come up to a second later.
_MARGIN: Final = 1.0
# The loop may fire a timer slightly early; the reset must count as due then, too.
_TIMER_SLACK: Final = 0.001


@define(eq=False)
class Reservation:
    """The right to send one request, settled once with its result.

    Settling again does nothing. A reservation that is never settled counts as in flight until the
    second reset.
    """

    _quota: Quota
    window: int
    sent_at: float
    spent_before: int
    _settled: bool = False

    def renew(self) -> bool:
        """Move the time of sending to now, after a login.

        Returns:
            False if the request must not be sent any more; it is given back.
        """
        redated = self._quota.redate(self.window)
        if redated is None:
            self.give_back()
            return False
        self.sent_at, self.spent_before = redated
        return True

    def learn(self, headers: Mapping[str, str], now: float | None = None) -> None:
        """Settle with the headers of an answer.

        A value counts as missing unless it is a whole number from 0; a Reset over a day does, too.
        Without Remaining, a probe makes the quota unlimited until a later answer limits it, and
        any other request counts as spent. Without Reset, a window keeps its end, and a new window
        gets 60 s.

        Args:
            headers: The answer's headers, with names in lower case.
            now: The running loop's time, if the caller has read it already.
        """
        now = self._settle(now)
        if now is None:
            return
        limit = limit_in(headers)
        if limit is not None:
            self._quota.limit = limit
        remaining = remaining_in(headers)
        if remaining is None:
            self._quota.learn_no_headers(self.window)
            return
        self._quota.learn(remaining, reset_in(headers), self, now)

    def refused(self, reset_after: float) -> None:
        """Settle with a 429: nothing remains. 60 s replace a reset out of range."""
        now = self._settle()
        if now is not None:
            self._quota.refuse_all(reset_after, now)

    def lost(self) -> None:
        """Settle without an answer: the server may have counted the request, so it is spent."""
        if self._settle() is not None:
            self._quota.count_spent()

    def give_back(self) -> None:
        """Settle as surely not counted; another request may go instead."""
        if self._settle() is not None:
            self._quota.wake_waiters()

    def _settle(self, now: float | None = None) -> float | None:
        if self._settled:
            return None
        self._settled = True
        return self._quota.settle(self.window, now)


@define(eq=False)
class Quota:
    """The requests that one credential may still send in its current window.

    If a probe has no answer within ``patience``, another probe goes. The wait doubles each time, and
    no more probes go than the last known Limit allows. So one stalled tenant of a dealer's
    application does not stop its neighbours.

    Args:
        patience: Seconds to wait for a probe's answer before the next probe. Default 1.

    Attributes:
        limit: The last X-RateLimit-Limit seen; None before.
    """

    _patience: float = field(default=1.0, alias="patience")
    limit: int | None = field(default=None, init=False)
    # None: unknown. Infinite: unlimited. It never grows within a window.
    _remaining: float | None = field(default=None, init=False)
    _resets_at: float = field(default=math.inf, init=False)
    # Learned from early answers, for the window after this one.
    _next_remaining: float | None = field(default=None, init=False)
    _next_resets_at: float = field(default=math.inf, init=False)
    _not_before: float = field(default=-math.inf, init=False)
    _began_at: float = field(default=-math.inf, init=False)
    _window: int = field(default=0, init=False)
    _in_flight: int = field(default=0, init=False)
    # Sent in the window before this one. Older requests are forgotten, so that leaks heal.
    _in_flight_older: int = field(default=0, init=False)
    _probes: int = field(default=0, init=False)
    _next_probe_at: float = field(default=math.inf, init=False)
    _spent_unseen: int = field(default=0, init=False)
    # Made for the first waiter: most of the many quotas never have one.
    _waiters: OrderedDict[asyncio.Future[Reservation | None], None] | None = field(
        default=None, init=False, repr=False
    )
    # Callbacks of bulk runs, which hold no place in the queue.
    _listeners: dict[Callable[[], None], None] | None = field(default=None, init=False, repr=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False, repr=False)

    def exhausted_for(self) -> float | None:
        """Seconds until the reset of a used-up window; None if requests may still be free.

        A request in flight that may yet be given back counts as free: ``reserve`` waits for it.
        """
        if self._remaining is None or (self._remaining > 0 and self._next_remaining is None):
            # A reset that is due would leave the window unknown, which is not used up either.
            return None
        now = self._advance()
        return self._reset_due() - now if self._is_used_up() else None

    def try_reserve(self, now: float | None = None) -> Reservation | None:
        """Reserve a request now; None if none is free or others are waiting."""
        now = self._advance(now)
        if self._waiters or not self._is_free(now):
            return None
        return self._reserve_now(now)

    async def reserve(self) -> Reservation | None:
        """Reserve a request, waiting until one is free; None once the window is used up."""
        reservation = self.try_reserve()
        if reservation is not None or self._is_used_up():
            return reservation
        waiter: asyncio.Future[Reservation | None] = asyncio.get_running_loop().create_future()
        if self._waiters is None:
            self._waiters = OrderedDict()
        queue = self._waiters
        queue[waiter] = None
        self._set_timer()
        try:
            return await waiter
        except BaseException:
            queue.pop(waiter, None)
            self._remove_waiter(waiter)
            raise

    def call_when_free(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call ``wake`` once, when a request is free or the window is used up.

        Bulk runs wait this way, so that a waiting job holds no slot. The returned function
        cancels the callback.
        """
        listeners = self._listeners
        if listeners is None:
            listeners = self._listeners = {}
        listeners[wake] = None
        self._set_timer()

        def cancel() -> None:
            listeners.pop(wake, None)
            self._set_timer()

        return cancel

    @property
    def in_use(self) -> bool:
        """Whether a request is in flight, or a waiter or listener is registered."""
        return bool(self._in_flight or self._in_flight_older or self._waiters or self._listeners)

    def cost_of_forgetting(self, now: float) -> int:
        """The cost of evicting this quota: 0 nothing, 1 a probe, 2 a refused probe."""
        self._advance(now)
        if self._remaining is None or self._remaining == math.inf:
            return 0
        return 2 if self._is_used_up() else 1

    # Called by reservations: ``settle`` first, then one of the others.

    def redate(self, window: int) -> tuple[float, int] | None:
        """Give an unsent request of ``window`` the current time; None if it must not be sent."""
        now = self._advance()
        reserved = self._in_flight + self._in_flight_older
        if window != self._window or (self._remaining is not None and self._remaining < reserved):
            return None
        return now, self._spent_unseen

    def settle(self, window: int, now: float | None) -> float:
        """Count a request of ``window`` as no longer in flight; return the time."""
        now = self._advance(now)
        if window == self._window:
            self._in_flight -= 1
            if self._remaining is None:
                self._probes -= 1
        elif window == self._window - 1:
            self._in_flight_older -= 1
        return now

    def learn(
        self, remaining: int, reset: int | None, reservation: Reservation, now: float
    ) -> None:
        """Update from an answer, which speaks of the window that the server counted it in."""
        # Requests lost since this one was sent may be missing in its Remaining.
        left = remaining - (self._spent_unseen - reservation.spent_before)
        is_late = reservation.window != self._window
        if reset is None:
            surely_ends_after = -math.inf
            ends_by = math.inf if self._resets_at < math.inf else now + RESET_UNSTATED + _MARGIN
        else:
            surely_ends_after = reservation.sent_at + reset - _MARGIN
            ends_by = now + reset + _MARGIN
        if is_late and surely_ends_after <= self._began_at:
            pass
        elif self._remaining is None:
            self._open_window(left, ends_by)
        else:
            self._remaining = min(self._remaining, left)
            if surely_ends_after > self._reset_due():
                self._learn_next_window(left, ends_by)
            elif ends_by < self._resets_at:
                # Each estimate is late by its answer's latency, so the earliest is the best.
                self._resets_at = ends_by
        if self._waiters or self._listeners:
            self.wake_waiters()

    def _learn_next_window(self, left: float, ends_by: float) -> None:
        self._next_remaining = (
            left if self._next_remaining is None else min(self._next_remaining, left)
        )
        self._next_resets_at = min(self._next_resets_at, ends_by)

    def learn_no_headers(self, window: int) -> None:
        """Update from an answer without Remaining."""
        if window == self._window and self._remaining is None:
            self._open_window(math.inf, math.inf)
            self.wake_waiters()
        else:
            self.count_spent()

    def refuse_all(self, reset_after: float, now: float) -> None:
        """Send nothing for that long; of overlapping refusals the longest counts."""
        if not 0 <= reset_after <= LONGEST_RESET:
            reset_after = RESET_UNSTATED
        self._not_before = max(self._not_before, now + reset_after + _MARGIN)
        self._open_window(0, self._not_before)
        self.wake_waiters()

    def count_spent(self) -> None:
        """Count a request as spent that no Remaining has confirmed."""
        self._spent_unseen += 1
        if self._remaining is not None:
            self._remaining -= 1
        if self._next_remaining is not None:
            self._next_remaining -= 1
        self.wake_waiters()

    def wake_waiters(self) -> None:
        """Serve waiters in order while requests are free; send all away if used up."""
        if not (self._waiters or self._listeners):
            return
        now = self._advance()
        while self._waiters and (self._is_used_up() or self._is_free(now)):
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_result(None if self._is_used_up() else self._reserve_now(now))
        if self._listeners and (self._is_used_up() or self._is_free(now)):
            listeners = list(self._listeners)
            self._listeners.clear()
            for wake in listeners:
                wake()
        self._set_timer()

    # The window.

    def _advance(self, now: float | None = None) -> float:
        if now is None:
            now = asyncio.get_running_loop().time()
        by_now = now + _TIMER_SLACK
        while (
            self._remaining is not None and self._resets_at < by_now and self._not_before < by_now
        ):
            self._begin_next_window()
        return now

    def _reset_due(self) -> float:
        return max(self._not_before, self._resets_at)

    def _begin_next_window(self) -> None:
        self._began_at = self._reset_due()
        self._remaining, self._next_remaining = self._next_remaining, None
        self._resets_at, self._next_resets_at = self._next_resets_at, math.inf
        self._window += 1
        self._in_flight_older = self._in_flight
        self._in_flight = 0
        self._probes = 0

    def _open_window(self, left: float, turns_at: float) -> None:
        self._remaining = left
        self._resets_at = turns_at

    # The next request.

    def _is_used_up(self) -> bool:
        return self._remaining is not None and self._remaining <= 0

    def _is_free(self, now: float) -> bool:
        if self._remaining is not None:
            return self._remaining > self._in_flight + self._in_flight_older
        if self._probes == 0:
            return True
        return self._may_probe_again() and now > self._next_probe_at - _TIMER_SLACK

    def _may_probe_again(self) -> bool:
        return self.limit is None or self._in_flight + self._in_flight_older < self.limit

    def _reserve_now(self, now: float) -> Reservation:
        if self._remaining is None:
            self._next_probe_at = now + self._patience * 2.0**self._probes
            self._probes += 1
        self._in_flight += 1
        return Reservation(self, self._window, now, self._spent_unseen)

    # Waiters and the timer.

    def _remove_waiter(self, waiter: asyncio.Future[Reservation | None]) -> None:
        if waiter.done() and not waiter.cancelled():
            # Served as it was cancelled: without giving back, its request would be lost.
            reservation = waiter.result()
            if reservation is not None:
                reservation.give_back()
        self._set_timer()

    def _set_timer(self) -> None:
        """Wake waiters at the reset, or when the next probe is due."""
        if not (self._waiters or self._listeners):
            when = math.inf
        elif self._remaining is not None:
            when = self._reset_due()
        else:
            when = self._next_probe_at if self._may_probe_again() else math.inf
        if self._timer is not None:
            if self._timer.when() == when:
                return
            self._timer.cancel()
            self._timer = None
        if when < math.inf:
            self._timer = asyncio.get_running_loop().call_at(when, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.wake_waiters()
