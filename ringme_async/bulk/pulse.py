"""Whether a host is there at all: what a row of failures, with no answer in between, says of it.

A failure that may be the host's own (no connection, no answer, a 5xx) is not judged at once but by
what comes next from that host. If that is an answer, whatever it says, the failure was the
element's. If it is one more failure, and so on until there are ten in a row, from five tenants at
least, the host is down: whoever failed comes again, and the host is asked by one job at a time,
after a second, then after two, four and so on, never more than a minute.

Only what was started after the last answer is counted: somebody who stalls while the host answers
others tells nothing of it, however late he fails.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from attrs import define, field

from ringme_async.bulk.outcome import Failed
from ringme_async.bulk.ticket import Ticket
from ringme_async.errors import (
    DeadlineExceeded,
    InvalidRequest,
    ResponseTooLarge,
    RingMeError,
    ServerError,
    TransportError,
)

__all__ = ["Pulse", "Sign", "sign_of"]

V = TypeVar("V")

_FAILURES_OF_AN_OUTAGE: Final = 10
_TENANTS_OF_AN_OUTAGE: Final = 5
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
# Nothing but failures for that long: it is given up; sooner if it never answered, as its name may
# be misspelt.
_LONGEST_OUTAGE: Final = 1800.0
_LONGEST_START: Final = 60.0

Sign = bool | None
"""Whether a host is there; None if nothing can be said."""


def sign_of(error: RingMeError | None) -> Sign:
    """Tell by how a job ended whether its host is there."""
    if isinstance(error, DeadlineExceeded):
        cause = error.__cause__
        if cause is None:
            return False if error.attempts else None
        return False if isinstance(cause, TransportError | ServerError) else None
    if isinstance(error, TransportError | ServerError):
        return isinstance(error, ResponseTooLarge)
    return None if isinstance(error, InvalidRequest) else True


@define(eq=False)
class Pulse(Generic[V]):
    """A host from which nothing but failures has come since a moment.

    Args:
        since: The moment of the first of them.
        is_known: Whether the host has answered before.

    Attributes:
        suspects: What failed, and is not judged yet.
    """

    since: float
    is_known: bool
    suspects: list[tuple[Ticket[V], Failed]] = field(
        factory=list[tuple[Ticket[V], Failed]], init=False
    )
    _row: int = field(default=0, init=False)
    _tenants: set[Hashable] = field(factory=set[Hashable], init=False)
    _pause: float | None = field(default=None, init=False)
    _failed_for_good: int = field(default=0, init=False)

    @property
    def is_down(self) -> bool:
        """Whether it rests, and is asked by one job at a time."""
        return self._pause is not None

    def miss(self, tenant: Hashable) -> None:
        """Count a failure."""
        self._row += 1
        if len(self._tenants) < _TENANTS_OF_AN_OUTAGE:
            self._tenants.add(tenant)

    def is_given_up(self, now: float) -> bool:
        """Whether it has been waited for long enough."""
        return now - self.since >= (_LONGEST_OUTAGE if self.is_known else _LONGEST_START)

    def fail_for_good(self) -> bool:
        """Count a failure of a host that is given up.

        Returns:
            Whether there were so many of them that there is no sense in trying what waits, too.
        """
        self._failed_for_good += 1
        return self.looks_down and self._failed_for_good >= _FAILURES_OF_AN_OUTAGE

    @property
    def is_undecided(self) -> bool:
        """Whether there were too few failures to tell."""
        return self._row < _FAILURES_OF_AN_OUTAGE

    @property
    def looks_down(self) -> bool:
        """Whether there were enough failures, from enough tenants."""
        return not self.is_undecided and len(self._tenants) >= _TENANTS_OF_AN_OUTAGE

    def next_pause(self) -> float:
        """Give the seconds until it is asked again."""
        longer = _FIRST_PAUSE if self._pause is None else self._pause * 2
        self._pause = min(longer, _LONGEST_PAUSE)
        return self._pause
