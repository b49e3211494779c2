"""One token request under way, and the callers that wait for it."""

from __future__ import annotations

import asyncio
import math

from attrs import define, field

from ringme_async.auth.token import Token
from ringme_async.errors import DeadlineExceeded, RingMeError, copy_error

__all__ = ["Patience", "SingleFlight"]

KEPT_FOR_NOBODY = 60.0
"""Seconds for which a login that nobody can wait for keeps others from starting a fresh one."""


@define(eq=False)
class Patience:
    """How long one caller can wait, and what it hears meanwhile.

    Args:
        deadline: When it has to leave, in the loop's time. Default never.
        timeout: Of which call that is the deadline: its seconds, for messages.

    Attributes:
        last_error: The last thing that went wrong with the login; None if nothing has.
    """

    deadline: float = math.inf
    timeout: float = math.inf
    last_error: RingMeError | None = field(default=None, init=False)


class SingleFlight:
    """Hands one outcome to everybody who waits, each on a future of its own.

    So a waiter that is cancelled takes nothing but itself away. The outcome is a value, never an
    exception of a future or a task: one that nobody fetched would be reported at exit.

    Between two attempts, those whose deadline comes before the next one are sent away at once. The
    flight outlives them up to there, but no longer than a minute: a fresh one would not know of the
    pause that the host wants.
    """

    __slots__ = (
        "_in_the_air",
        "_kept_until",
        "_leaving",
        "_resumes_at",
        "_sent_away",
        "_trouble",
        "_waiters",
        "outcome",
        "task",
    )

    task: asyncio.Task[None]
    """Set when it has been made, which may be after it has landed."""

    def __init__(self) -> None:
        self.outcome: Token | Exception | None = None
        # In the order they came, in which they are woken. None sends a waiter away.
        self._waiters: dict[asyncio.Future[Token | Exception | None], Patience] = {}
        self._trouble: RingMeError | None = None
        self._resumes_at = self._kept_until = -math.inf
        self._sent_away = False
        self._in_the_air = False
        self._leaving: asyncio.Task[None] | None = None

    @property
    def deserted(self) -> bool:
        """Is it still under way, for nobody?"""
        if self.outcome is not None or self._waiters:
            return False
        return not (self._sent_away and _now() < self._kept_until)

    def land(self, outcome: Token | Exception) -> None:
        """Hand the outcome to everybody; once."""
        self.outcome = outcome
        for waiter in self._waiters:
            _wake(waiter, outcome)
        if self._leaving is not None:
            self._leaving.cancel()

    def sent(self) -> None:
        """Note that a request leaves, whose answer may hold what no other answer will."""
        self._in_the_air = True

    def leave(self, task: asyncio.Task[None]) -> None:
        """Cancel the task that flies this, but not while an answer may be on its way."""
        if self._in_the_air and self.outcome is None:
            self._leaving = task
        else:
            task.cancel()

    def delayed(self, error: RingMeError, pause: float) -> None:
        """Tell everybody that an attempt has failed, and that the next one is ``pause`` s away."""
        self._in_the_air = False
        if self._leaving is not None:
            self._leaving.cancel()
        self._trouble = error
        self._resumes_at = _now() + pause
        self._kept_until = _now() + min(pause, KEPT_FOR_NOBODY)
        for waiter, patience in self._waiters.items():
            if not self._is_awaited_by(patience):
                _wake(waiter, None)

    async def landed(self, patience: Patience) -> Token | Exception:
        """Wait for the outcome; an error in it belongs to all, so raise a twin of it.

        Raises:
            DeadlineExceeded: The next attempt is beyond the deadline; its cause is what the last
                one ended with.
        """
        if self.outcome is not None:
            return self.outcome
        if not self._is_awaited_by(patience):
            raise self._too_late(patience)
        waiter: asyncio.Future[Token | Exception | None] = (
            asyncio.get_running_loop().create_future()
        )
        self._waiters[waiter] = patience
        try:
            outcome = await waiter
        finally:
            del self._waiters[waiter]
        if outcome is None:
            raise self._too_late(patience)
        return outcome

    def _is_awaited_by(self, patience: Patience) -> bool:
        if self._trouble is not None:
            patience.last_error = copy_error(self._trouble)
        return self._resumes_at <= patience.deadline

    def _too_late(self, patience: Patience) -> DeadlineExceeded:
        self._sent_away = True
        cause = patience.last_error
        error = DeadlineExceeded(
            f"the next attempt to log in, in {self._resumes_at - _now():.1f} s,"
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
