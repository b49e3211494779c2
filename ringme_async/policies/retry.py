"""Decide whether to retry a failed request, and after which wait.

Nothing here sleeps or sends. The wall clock is read only for a Retry-After date.
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

_RETRYABLE_CODES = frozenset({408, 500, 502, 503, 504})
# More doublings would overflow a float.
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
    # A bound method of the generator would put its whole state into a pickle.
    return random()


@frozen
class RetryPolicy:
    """Which failures are retried, how often, and after which wait.

    Args:
        attempts: The most requests of a call, the first one included; 1 means no retries.
            Default 4.
        base: The longest wait before the first retry, in seconds; each further retry doubles it.
            Default 0.5.
        cap: The longest wait in seconds, unless the server asks for more. Default 20.
        random: Returns a number from 0 to 1 for the jitter; for tests.

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
        """Return whether a retry may succeed and does no harm.

        An idempotent request is retried after every transport failure, after 408, 500, 502, 503
        and 504, and after ``Busy``. Two more transport failures show only in the body: it is no
        JSON, or the record of another client. JSON of the wrong type is not retried, because the
        server would send it again.

        Any other request is retried only if it surely was not carried out: it was never sent, or
        refused as ``Busy`` (API page, section 3).

        Args:
            error: The error of the attempt. The number of attempts plays no part here.
            idempotent: True if the server may carry the request out twice without harm.
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

        Full jitter: a random wait from 0 to ``base``, doubled with every retry, at most ``cap``. A
        valid ``Retry-After`` is added to the jitter, so that no call is early and calls with the
        same ``Retry-After`` spread out.

        Args:
            error: The error of the last attempt.
            retry: The number of the retry, from 1.
            now: The wall clock, for an answer without ``Date``. Default: the system's clock.
        """
        ceiling = min(self.cap, self.base * 2.0 ** min(retry - 1, _MOST_DOUBLINGS))
        jitter = self.random() * ceiling
        if not isinstance(error, ApiError):
            return jitter
        return jitter + (retry_after(error.headers, now) or 0.0)
