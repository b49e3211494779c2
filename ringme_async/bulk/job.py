"""The protocol of a job, which the engine runs: whose quota it spends, and when it may run."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar

from attrs import frozen

from ringme_async.errors import RingMeError

__all__ = ["Job", "NotBefore"]

V_co = TypeVar("V_co", covariant=True)


@frozen
class NotBefore:
    """Returned by ``run`` if the quota refused the job: it has to park until then.

    Attributes:
        at: The loop's time.
    """

    at: float


class Job(Protocol[V_co]):
    """One piece of work for one tenant, which must be safe to repeat.

    A job runs again after it was parked, and after it failed because its host was down.
    """

    @property
    def quota_key(self) -> Hashable:
        """The key of its quota: jobs of one key are parked together and share an allowance."""
        ...

    @property
    def tenant_key(self) -> Hashable:
        """The key of its tenant, within the quota key: jobs of one tenant start in input order."""
        ...

    @property
    def attempts(self) -> int:
        """How many requests it has sent so far, over all its runs."""
        ...

    @property
    def retries(self) -> int:
        """How many of these requests repeated an earlier one."""
        ...

    @property
    def waiting_for_login(self) -> bool:
        """Whether it waits for a token now."""
        ...

    @property
    def sent_at(self) -> float | None:
        """When it sent its last request, in the loop's time; only ``"auto"`` reads it."""
        ...

    def not_before(self) -> float | None:
        """Reserve a request of its quota, for the run that follows at once.

        Returns:
            None if it may run. The loop time before which its quota would refuse it. Infinity if it
            depends on jobs of its quota key that are in flight: see ``call_when_free``.
        """
        ...

    def call_when_free(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call ``wake`` once, when ``not_before`` may return something other than infinity.

        Returns:
            A function that cancels this.
        """
        ...

    async def run(self) -> V_co | NotBefore:
        """Do the work.

        Raises:
            RingMeError: It failed; any other error is a bug, and ends the run.
        """
        ...

    def abandon(self, reason: str) -> RingMeError:
        """Make the error of a job that was cut short.

        Args:
            reason: Why, such as the run's deadline or a host that was given up.
        """
        ...
