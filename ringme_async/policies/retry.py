"""Whether to try again, and when.

Plain decisions: nothing here sleeps or sends, and calendar time is read only where a date has to
be counted from it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from random import random

import attrs
from attrs import field, frozen

from ringme_async._internal.validation import WholeNumber
from ringme_async.errors import (
    ApiError,
    Busy,
    CertificateError,
    DecodeError,
    InvalidRequest,
    ResponseTooLarge,
    TransportError,
    WrongRecord,
)
from ringme_async.policies.retry_after import LONGEST_RETRY_AFTER, Clock, retry_after

__all__ = ["RetryPolicy"]
"""Tells the calendar time. A naive datetime is taken as UTC."""

_RETRYABLE_CODES = frozenset({408, 500, 502, 503, 504})
# Doubling further changes nothing but would overflow a float.
_MOST_DOUBLINGS = 1_000


def _check_seconds(_instance: object, attribute: attrs.Attribute[float], value: object) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value <= LONGEST_RETRY_AFTER
    ):
        raise InvalidRequest(
            f"{attribute.name} must be a number of seconds from 0 to a day, not {value!r}"
        )


def _check_callable(
    _instance: object, attribute: attrs.Attribute[Callable[[], float]], value: object
) -> None:
    if not callable(value):
        raise InvalidRequest(
            f"{attribute.name} must be a function that returns a number from 0 to 1, not {value!r}"
        )


def _jitter() -> float:
    # The method of the shared generator would take its whole state along into a pickle.
    return random()


@frozen
class RetryPolicy:
    """Which failures are tried again, how often, and after which wait.

    Args:
        attempts: How many requests a call may send in all, the first one included. Default 4;
            1 means no retries.
        base: Seconds that the wait before the first retry stays below; each further retry doubles
            it. Default 0.5.
        cap: Seconds that no wait passes, unless the server asks for more. Default 20.
        random: Gives a number from 0 to 1 for the jitter; for tests.

    Raises:
        InvalidRequest: An argument is out of its range; the message names it.
    """

    attempts: int = field(default=4, validator=WholeNumber(1))
    base: float = field(default=0.5, validator=_check_seconds)
    cap: float = field(default=20.0, validator=_check_seconds)
    random: Callable[[], float] = field(
        default=_jitter, validator=_check_callable, repr=False, eq=False, kw_only=True
    )

    def retryable(self, error: BaseException, *, idempotent: bool) -> bool:
        """Can the same request, sent again, end better, and do no harm?

        An idempotent request is repeated after every failure of the way (no connection, a
        time-out, a lost answer), after 408, 500, 502, 503 and 504, and after ``Busy``. Two more
        failures of the way show only in the body: it is no JSON, as a proxy's page or a body cut
        short, or it is the record of another client. JSON of the wrong kind is what the server
        means to send, and will send again.

        Any other request is repeated only where it surely was not carried out: it was never
        sent, or it was refused as ``Busy`` (API page, section 3).

        Args:
            error: What the attempt ended with. How many attempts were made is not looked at.
            idempotent: May the server carry the request out twice?
        """
        match error:
            case ResponseTooLarge() | CertificateError():
                return False
            case TransportError():
                return idempotent or not error.sent
            case Busy():
                return True
            case ApiError():
                return idempotent and error.status_code in _RETRYABLE_CODES
            case WrongRecord():
                return idempotent
            case DecodeError():
                return idempotent and error.garbled
            case _:
                return False

    def delay(
        self, error: BaseException, *, retry: int, now: Clock | datetime | None = None
    ) -> float:
        """Seconds to wait before a retry.

        Full jitter: anything from 0 to ``base`` doubled with every retry, at most ``cap``. If the
        answer carries a sane ``Retry-After``, that comes first and the jitter on top of it, so
        that nobody is early, and those who were told the same second do not all come in it.

        Args:
            error: What the last attempt ended with.
            retry: Which retry is due, from 1.
            now: The calendar time, for an answer without ``Date``. Default: the system's clock.
        """
        ceiling = min(self.cap, self.base * 2.0 ** min(retry - 1, _MOST_DOUBLINGS))
        jitter = self.random() * ceiling
        if not isinstance(error, ApiError):
            return jitter
        return jitter + (retry_after(error.headers, now) or 0.0)
