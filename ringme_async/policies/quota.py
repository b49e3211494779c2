"""What each credential may still send, learned from the headers of the answers.

The server counts requests in windows of an hour and says in every answer how many are left and in
how many seconds the counter is reset (API page, section 3). A window that nothing is known of is
*unknown*: one request goes first as a probe. Then it is *known*, and requests go while fewer are
in flight than are left; *used up*, and nothing goes until it turns; or *unlimited*, if the probe's
answer has no such headers.

Answers arrive out of order, so the smallest Remaining of a window counts: whatever the server had
not counted by then is still in flight here, and subtracted. An answer to a request sent before
the window turned is ignored, unless its Reset proves that the server counted it in the new one:
then it is spent there, and to forget it would be refused in the end. The same holds for an answer
that runs ahead, from an hour that the server has begun while ours has its margin to go. It can
only lower the number now, and is what is known when our window turns: to believe a number that
jumps up would be refused wherever answers overtake each other, and gain a second or two.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from attrs import define, field

from ringme_async.policies.api_errors import RESET_UNSTATED

__all__ = ["Quota", "Reservation"]

_LONGEST_RESET: Final = 86_400.0
# Reset is in whole seconds, so the window may turn up to a second later than it says.
_MARGIN: Final = 1.0
# A loop may fire a timer a hair early; whoever slept until then must not find it too soon.
_TIMER_SLACK: Final = 0.001
# Anything longer is no count of requests, and int() refuses what is very long.
_MOST_DIGITS: Final = 15


@define(eq=False)
class Reservation:
    """The right to send one request, to be settled with what became of it.

    The first settlement counts, any further one does nothing. One that is never settled stays
    counted as in flight until the window has turned twice.
    """

    _quota: Quota
    window: int
    sent_at: float
    spent_before: int
    _settled: bool = False

    def renew(self) -> bool:
        """Move the moment of sending to now: a login came between.

        Returns:
            Whether the request may still go. If not, it is given back.
        """
        moment = self._quota.redate(self.window)
        if moment is None:
            self.give_back()
            return False
        self.sent_at, self.spent_before = moment
        return True

    def learn(self, headers: Mapping[str, str], now: float | None = None) -> None:
        """Tell that an answer arrived.

        Args:
            headers: The answer's, looked up by their names in lower case. What is no whole number
                from 0 up, or a Reset of over a day, is taken as missing. Without Remaining, a
                probe makes the quota unlimited until told otherwise, and any other request counts
                as spent. Without Reset the window keeps its end; a new one gets 60 s.
            now: The running loop's time, if the caller knows it already.
        """
        now = self._settle(now)
        if now is None:
            return
        limit = _repeated_number(headers.get("x-ratelimit-limit"))
        if limit is not None:
            self._quota.limit = limit
        remaining = _whole_number(headers.get("x-ratelimit-remaining"))
        if remaining is None:
            self._quota.learn_no_headers(self.window)
            return
        reset = _repeated_number(headers.get("x-ratelimit-reset"))
        if reset is not None and reset > _LONGEST_RESET:
            reset = None
        self._quota.learn(remaining, reset, self, now)

    def refused(self, reset_after: float) -> None:
        """Tell of a 429 ``rate_limit_exceeded``: nothing is left, whoever spent it.

        Args:
            reset_after: Seconds until the limit is reset; for nonsense, 60 are taken.
        """
        now = self._settle()
        if now is not None:
            self._quota.refuse_all(reset_after, now)

    def lost(self) -> None:
        """Tell that no answer came, although the request may have been counted: it is spent."""
        if self._settle() is not None:
            self._quota.count_spent()

    def give_back(self) -> None:
        """Tell that the request surely was not counted; another may go in its place."""
        if self._settle() is not None:
            self._quota.wake_waiters()

    def _settle(self, now: float | None = None) -> float | None:
        if self._settled:
            return None
        self._settled = True
        return self._quota.settle(self.window, now)


@define(eq=False)
class Quota:
    """What one credential may still send in its present window.

    A probe that is not answered within ``patience`` no longer holds up the others: one more goes
    then, another after twice that time, and so on, but never more than the last known Limit. So
    one stalled tenant of a dealer's application does not stop all of them.

    Args:
        patience: Seconds to wait for a probe's answer before another one goes. Default 1.

    Attributes:
        limit: The last X-RateLimit-Limit seen; None before.
    """

    _patience: float = field(default=1.0, alias="patience")
    limit: int | None = field(default=None, init=False)
    # None: unknown. Infinite: unlimited. Within a window it never grows.
    _remaining: float | None = field(default=None, init=False)
    _resets_at: float = field(default=math.inf, init=False)
    # What is known already of the window after this one, and when that turns.
    _next_remaining: float | None = field(default=None, init=False)
    _next_resets_at: float = field(default=math.inf, init=False)
    _not_before: float = field(default=-math.inf, init=False)
    _began_at: float = field(default=-math.inf, init=False)
    _window: int = field(default=0, init=False)
    _in_flight: int = field(default=0, init=False)
    # Sent in the window before this one. Older ones are forgotten, so that a leak heals.
    _in_flight_older: int = field(default=0, init=False)
    _probes: int = field(default=0, init=False)
    _next_probe_at: float = field(default=math.inf, init=False)
    _spent_unseen: int = field(default=0, init=False)
    # Made for the first who has to wait: of the quotas of many tenants, most never see one.
    _waiters: OrderedDict[asyncio.Future[Reservation | None], None] | None = field(
        default=None, init=False, repr=False
    )
    # What else wants to hear of a free request, without a place in line.
    _listeners: dict[Callable[[], None], None] | None = field(default=None, init=False, repr=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False, repr=False)

    def exhausted_for(self) -> float | None:
        """Seconds until the used-up window turns; None if it is not surely used up.

        It is not while the answer to something in flight could still free a request: ``reserve``
        waits for that.
        """
        if self._remaining is None or (self._remaining > 0 and self._next_remaining is None):
            # Nor would it be if the window had turned, of which nothing more would be known.
            return None
        now = self._advance()
        return self._reset_due() - now if self._is_used_up() else None

    def try_reserve(self, now: float | None = None) -> Reservation | None:
        """Take a request at once; None if none is free, or others wait in line.

        Args:
            now: The running loop's time, if the caller knows it already.
        """
        now = self._advance(now)
        if self._waiters or not self._is_free(now):
            return None
        return self._reserve_now(now)

    async def reserve(self) -> Reservation | None:
        """Take a request, waiting in line for a probe or for what is in flight.

        Returns:
            None once the window is used up; ``exhausted_for`` then tells for how long.
        """
        reservation = self.try_reserve()
        if reservation is not None or self._is_used_up():
            return reservation
        waiter: asyncio.Future[Reservation | None] = asyncio.get_running_loop().create_future()
        if self._waiters is None:
            self._waiters = OrderedDict()
        line = self._waiters
        line[waiter] = None
        self._set_timer()
        try:
            return await waiter
        except BaseException:
            line.pop(waiter, None)
            self._remove_waiter(waiter)
            raise

    def call_when_free(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call ``wake`` once, when a request is free or the window is used up.

        A bulk run waits like this: its jobs keep their slots for others meanwhile.

        Returns:
            What takes that back.
        """
        listeners = self._listeners
        if listeners is None:
            listeners = self._listeners = {}
        listeners[wake] = None
        self._set_timer()

        def forget() -> None:
            listeners.pop(wake, None)
            self._set_timer()

        return forget

    @property
    def in_use(self) -> bool:
        """Whether anything is in flight, waits in line or listens."""
        return bool(self._in_flight or self._in_flight_older or self._waiters or self._listeners)

    def cost_of_forgetting(self, now: float) -> int:
        """Say what forgetting it would cost: 0 nothing, 1 a probe, 2 a probe that is refused."""
        self._advance(now)
        if self._remaining is None or self._remaining == math.inf:
            return 0
        return 2 if self._is_used_up() else 1

    # What reservations report: ``land`` first, then one of the others.

    def redate(self, window: int) -> tuple[float, int] | None:
        """Date a request of ``window`` anew that is not sent yet; None if it must not be sent."""
        now = self._advance()
        taken = self._in_flight + self._in_flight_older
        if window != self._window or (self._remaining is not None and self._remaining < taken):
            return None
        return now, self._spent_unseen

    def settle(self, window: int, now: float | None) -> float:
        """Count a request that was sent in ``window`` as no longer in flight; give the time."""
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
        """Take in what an answer says of the window in which the server counted its request."""
        # What went astray since the request was sent may have been counted after it.
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
                self._learn_of_next_window(left, ends_by)
            elif ends_by < self._resets_at:
                # Each estimate is late by its answer's latency: the earliest is the nearest.
                self._resets_at = ends_by
        if self._waiters or self._listeners:
            self.wake_waiters()

    def _learn_of_next_window(self, left: float, ends_by: float) -> None:
        self._next_remaining = (
            left if self._next_remaining is None else min(self._next_remaining, left)
        )
        self._next_resets_at = min(self._next_resets_at, ends_by)

    def learn_no_headers(self, window: int) -> None:
        """Take in an answer that says nothing of the quota."""
        if window == self._window and self._remaining is None:
            self._open_window(math.inf, math.inf)
            self.wake_waiters()
        else:
            self.count_spent()

    def refuse_all(self, reset_after: float, now: float) -> None:
        """Let nothing go for that time; several such times overlap, and the last one counts."""
        if not 0 <= reset_after <= _LONGEST_RESET:
            reset_after = RESET_UNSTATED
        self._not_before = max(self._not_before, now + reset_after + _MARGIN)
        self._open_window(0, self._not_before)
        self.wake_waiters()

    def count_spent(self) -> None:
        """Count a request as spent that no answer speaks of."""
        self._spent_unseen += 1
        if self._remaining is not None:
            self._remaining -= 1
        if self._next_remaining is not None:
            self._next_remaining -= 1
        self.wake_waiters()

    def wake_waiters(self) -> None:
        """Hand out what is free, first come, first served; if it is used up, send all away."""
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

    # Who may go.

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

    # Those in line.

    def _remove_waiter(self, waiter: asyncio.Future[Reservation | None]) -> None:
        if waiter.done() and not waiter.cancelled():
            # It was served in the very moment of its cancellation: the turn is the next one's.
            reservation = waiter.result()
            if reservation is not None:
                reservation.give_back()
        self._set_timer()

    def _set_timer(self) -> None:
        """Look again when the window turns, or when a probe has had its time."""
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
            self._timer = asyncio.get_running_loop().call_at(when, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self.wake_waiters()


def _whole_number(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text.strip(" \t")
    if len(digits) <= _MOST_DIGITS and digits.isascii() and digits.isdigit():
        return int(digits)
    return None


# The limit is the same in all answers, and the reset in those of one second.
_repeated_number = lru_cache(maxsize=64)(_whole_number)
