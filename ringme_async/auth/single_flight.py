"""Single flight: one login for each key, shared by all its callers."""

from __future__ import annotations

import asyncio
import math

from attrs import define, field

from ringme_async.auth.token import Token
from ringme_async.errors import DeadlineExceeded, RingMeError, copy_error

__all__ = ["Patience", "SingleFlight"]

KEPT_WITHOUT_WAITERS = 60.0
"""Seconds for which a login without waiters blocks a new one, so that the host's pause is kept."""


@define(eq=False)
class Patience:
    """How long one caller waits for a login, and the last error of that login.

    Args:
        deadline: When the caller stops waiting, in the loop's time. Default never.
        timeout: The call's time-out in seconds, for messages.

    Attributes:
        last_error: The error of the last failed attempt; None if no attempt has failed.
    """

    deadline: float = math.inf
    timeout: float = math.inf
    last_error: RingMeError | None = field(default=None, init=False)


class SingleFlight:
    """One login in flight, which gives its outcome to every waiter.

    Each waiter has its own future, so cancelling one does not affect the others. An error is the
    value of a future, because asyncio reports an exception that no waiter retrieves.

    Between two attempts, a waiter fails at once if its deadline is before the next attempt. The
    login goes on without waiters until that attempt, for a minute at most. A new login would not
    know the pause that the host asked for.
    """

    __slots__ = (
        "_kept_until",
        "_last_error",
        "_pending_cancel",
        "_request_in_flight",
        "_retry_at",
        "_turned_away",
        "_waiters",
        "outcome",
        "task",
    )

    task: asyncio.Task[None]
    """The task that runs the login; an eager task may end before this is set."""

    def __init__(self) -> None:
        self.outcome: Token | Exception | None = None
        # In order of arrival, in which they are woken. The result None means: too late to wait.
        self._waiters: dict[asyncio.Future[Token | Exception | None], Patience] = {}
        self._last_error: RingMeError | None = None
        self._retry_at = self._kept_until = -math.inf
        self._turned_away = False
        self._request_in_flight = False
        self._pending_cancel: asyncio.Task[None] | None = None

    @property
    def is_abandoned(self) -> bool:
        """True if the login is in flight and nobody waits for it."""
        if self.outcome is not None or self._waiters:
            return False
        return not (self._turned_away and _now() < self._kept_until)

    def set_outcome(self, outcome: Token | Exception) -> None:
        """Give the outcome to every waiter; called once."""
        self.outcome = outcome
        for waiter in self._waiters:
            _wake(waiter, outcome)
        if self._pending_cancel is not None:
            self._pending_cancel.cancel()

    def record_send(self) -> None:
        """Note that a request is in flight, whose answer may hold the only valid refresh token."""
        self._request_in_flight = True

    def cancel_when_safe(self, task: asyncio.Task[None]) -> None:
        """Cancel the task, but only once no answer can be on its way."""
        if self._request_in_flight and self.outcome is None:
            self._pending_cancel = task
        else:
            task.cancel()

    def record_delay(self, error: RingMeError, pause: float) -> None:
        """Note a failed attempt and the seconds until the next; wake waiters it is too late for."""
        self._request_in_flight = False
        if self._pending_cancel is not None:
            self._pending_cancel.cancel()
        self._last_error = error
        self._retry_at = _now() + pause
        self._kept_until = _now() + min(pause, KEPT_WITHOUT_WAITERS)
        for waiter, patience in self._waiters.items():
            if not self._can_wait(patience):
                _wake(waiter, None)

    async def wait(self, patience: Patience) -> Token | Exception:
        """Wait for the outcome; all waiters share an error in it, so raise a copy.

        Raises:
            DeadlineExceeded: The next attempt is after the deadline; the cause is the last
                attempt's error.
        """
        if self.outcome is not None:
            return self.outcome
        if not self._can_wait(patience):
            raise self._deadline_error(patience)
        waiter: asyncio.Future[Token | Exception | None] = (
            asyncio.get_running_loop().create_future()
        )
        self._waiters[waiter] = patience
        try:
            outcome = await waiter
        finally:
            del self._waiters[waiter]
        if outcome is None:
            raise self._deadline_error(patience)
        return outcome

    def _can_wait(self, patience: Patience) -> bool:
        """Note the last error for the caller; True if it can wait for the next attempt."""
        if self._last_error is not None:
            patience.last_error = copy_error(self._last_error)
        return self._retry_at <= patience.deadline

    def _deadline_error(self, patience: Patience) -> DeadlineExceeded:
        self._turned_away = True
        cause = patience.last_error
        error = DeadlineExceeded(
            f"the next attempt to log in, in {self._retry_at - _now():.1f} s,"
            f" is beyond the deadline (timeout={patience.timeout:g} s)",
            attempts=0 if cause is None else cause.attempts,
        )
        error.__cause__ = cause
        return error


def _wake(
    waiter: asyncio.Future[Token | Exception | None], outcome: Token | Exception | None
) -> None:
    if not waiter.done():
        waiter.set_result(outcome)


def _now() -> float:
    return asyncio.get_running_loop().time()
