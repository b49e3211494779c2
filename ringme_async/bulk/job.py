"""What the engine runs: a job knows whose quota it spends and when it may run."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar

from attrs import frozen

from ringme_async.errors import RingMeError

__all__ = ["Job", "NotBefore"]

V_co = TypeVar("V_co", covariant=True)


@frozen
class NotBefore:
    """What ``run`` returns instead of a value when the quota refused it: park me until then.

    Attributes:
        at: Loop time.
    """

    at: float


class Job(Protocol[V_co]):
    """One piece of work for one tenant; it may be run again.

    It is after it was parked, and after it failed because its host was down. So whatever it does has
    to be safe to repeat.
    """

    @property
    def quota_key(self) -> Hashable:
        """Whose quota it spends: the group that is parked, and that is kept from taking all."""
        ...

    @property
    def tenant_key(self) -> Hashable:
        """Whom it is for, among those of its quota key: jobs of one tenant start in input order."""
        ...

    @property
    def attempts(self) -> int:
        """How many requests it has sent so far, over all its runs."""
        ...

    @property
    def retries(self) -> int:
        """How many of those repeated one that had been sent before."""
        ...

    @property
    def waiting_for_login(self) -> bool:
        """Does it wait for a token right now?"""
        ...

    @property
    def sent_at(self) -> float | None:
        """When it sent its last request, in the loop's time; asked for by ``"auto"`` alone."""
        ...

    def not_before(self) -> float | None:
        """Take a request of its quota, for the run that follows at once.

        Returns:
            None if it may run. The loop time before which its quota would refuse it. Infinity if it
            depends on others of its quota key that are in flight: see ``call_when_free``.
        """
        ...

    def call_when_free(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call ``wake`` once, when ``not_before`` may tell something other than infinity.

        Returns:
            What takes that back.
        """
        ...

    async def run(self) -> V_co | NotBefore:
        """Do the work.

        Raises:
            RingMeError: It failed; anything else is a bug, and ends the run.
        """
        ...

    def abandon(self, reason: str) -> RingMeError:
        """Make the error of a job that was cut short.

        Args:
            reason: What cut it short, such as the run's deadline or a host that was given up.
        """
        ...
