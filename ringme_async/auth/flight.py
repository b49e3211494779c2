"""One token request under way, and the callers that wait for it."""

from __future__ import annotations

import asyncio

from ringme_async.auth.token import Token
from ringme_async.auth.twin import twin_of

__all__ = ["Flight"]


class Flight:
    """Hands one outcome to everybody who waits, each on a future of its own.

    So a waiter that is cancelled takes nothing but itself away. The outcome is a value, never an
    exception of a future or a task: one that nobody fetched would be reported at exit.
    """

    __slots__ = ("_waiters", "outcome", "task")

    task: asyncio.Task[None]
    """Set when it has been made, which may be after it has landed."""

    def __init__(self) -> None:
        self.outcome: Token | Exception | None = None
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def deserted(self) -> bool:
        """Is it still under way, for nobody?"""
        return self.outcome is None and not self._waiters

    def land(self, outcome: Token | Exception) -> None:
        """Wake everybody. Only the first landing counts."""
        if self.outcome is None:
            self.outcome = outcome
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def landed(self) -> None:
        """Wait for the outcome."""
        if self.outcome is not None:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def result(self) -> Token:
        """Give the token, or raise an error of the caller's own.

        Raises:
            Exception: A twin of what went wrong.
        """
        if isinstance(self.outcome, Token):
            return self.outcome
        assert self.outcome is not None
        raise twin_of(self.outcome)
