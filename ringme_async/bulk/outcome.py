"""The outcome of one element of the input: done, failed or not attempted."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from attrs import field, frozen

from ringme_async.errors import RingMeError
from ringme_async.tenant import Who

__all__ = ["Done", "Failed", "NotAttempted", "Outcome"]

V_co = TypeVar("V_co", covariant=True)


@frozen
class Done(Generic[V_co]):
    """The job returned a value.

    Attributes:
        who: The element's tenant, as it was given in the input.
        index: The element's place in the input, from 0.
        attempts: How many requests were sent for it.
        value: The value.
        retries: How many of the requests repeated an earlier one.
    """

    who: Who
    index: int
    attempts: int
    value: V_co
    retries: int = field(default=0, kw_only=True)

    @property
    def ok(self) -> Literal[True]:
        """True."""
        return True


@frozen
class Failed:
    """The job failed, or the element is malformed.

    Attributes:
        who: The element's tenant, as it was given in the input.
        index: The element's place in the input, from 0.
        attempts: How many requests were sent for it.
        error: The error; its ``maybe_applied`` says whether a change may have been made. It has no
            traceback, as the tracebacks of many failures would keep their calls' data alive.
        retries: How many of the requests repeated an earlier one.
    """

    who: Who
    index: int
    attempts: int
    error: RingMeError
    retries: int = field(default=0, kw_only=True)

    @property
    def ok(self) -> Literal[False]:
        """False."""
        return False


@frozen
class NotAttempted:
    """The run ended before the job was started, or its host was given up; nothing was changed.

    Attributes:
        who: The element's tenant, as it was given in the input.
        index: The element's place in the input, from 0.
        attempts: How many requests were sent for it before it was parked.
        reason: Why the job was not started, or not continued.
        retries: How many of the requests repeated an earlier one.
    """

    who: Who
    index: int
    attempts: int = 0
    reason: str = "the run ended"
    retries: int = field(default=0, kw_only=True)

    @property
    def ok(self) -> Literal[False]:
        """False."""
        return False


Outcome = Done[V_co] | Failed | NotAttempted
