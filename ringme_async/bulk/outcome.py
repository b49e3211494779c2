"""What became of one element of the input."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from attrs import field, frozen

from ringme_async.errors import RingMeError
from ringme_async.tenant import Who

__all__ = ["Done", "Failed", "NotAttempted", "Outcome"]

V_co = TypeVar("V_co", covariant=True)


@frozen
class Done(Generic[V_co]):
    """It ended in a value.

    Attributes:
        who: Whom it was for, as it stood in the input.
        index: Its place in the input, from 0.
        attempts: How many requests were sent for it.
        value: What came back.
        retries: How many of the requests repeated one that had been sent before.
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
    """It ended in an error.

    Attributes:
        who: Whom it was for, as it stood in the input.
        index: Its place in the input, from 0.
        attempts: How many requests were sent for it.
        error: What went wrong; its ``maybe_applied`` says whether a change may have been made.
            It carries no traceback: those of many failures would keep all that their calls had
            in hand.
        retries: How many of the requests repeated one that had been sent before.
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
    """The run ended before it was begun, or its host was given up; nothing was changed.

    Attributes:
        who: Whom it was for, as it stood in the input.
        index: Its place in the input, from 0.
        attempts: How many requests were sent for it before it was parked.
        reason: Why it was not begun, or not gone on with.
        retries: How many of the requests repeated one that had been sent before.
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
