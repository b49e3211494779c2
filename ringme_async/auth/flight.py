"""One token request under way, and the callers that wait for it."""

from __future__ import annotations

import asyncio

from ringme_async.auth.token import Token

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
        self._waiters: set[asyncio.Future[Token | Exception]] = set()

    @property
    def deserted(self) -> bool:
        """Is it still under way, for nobody?"""
        return self.outcome is None and not self._waiters

    def land(self, outcome: Token | Exception) -> None:
        """Hand the outcome to everybody; once."""
        self.outcome = outcome
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(outcome)

    async def landed(self) -> Token | Exception:
        """Wait for the outcome; an error in it belongs to all, so raise a twin of it."""
        if self.outcome is not None:
            return self.outcome
        waiter: asyncio.Future[Token | Exception] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            return await waiter
        finally:
            self._waiters.discard(waiter)
