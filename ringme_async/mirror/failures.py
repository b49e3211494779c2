"""Records and counts of failures; never a secret, as no error holds one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, TypeAlias

from attrs import frozen

from ringme_async import JSON, ApiError, Failed, RingMeError, TokenError
from ringme_async.mirror.jsonl_file import Entry

__all__ = ["FailureCounter", "FailureKind", "describe"]

_Key: TypeAlias = tuple[str, int | None]

_MOST_SHOWN: Final = 3


@frozen(kw_only=True)
class FailureKind:
    """Failures with the same class and HTTP status.

    Attributes:
        error: The name of the error class.
        status_code: The common HTTP status; None without an answer.
        count: The number of failures.
        example: The first sentence of the first failure's message.
        next_step: What to do next; empty if there is nothing to do.
    """

    error: str
    status_code: int | None
    count: int
    example: str
    next_step: str


class FailureCounter:
    """Counts failures by kind and keeps one example of each, so memory stays flat."""

    __slots__ = ("_counts", "_first")

    def __init__(self, failures: Iterable[RingMeError] = ()) -> None:
        self._counts = Counter[_Key]()
        self._first: dict[_Key, RingMeError] = {}
        for error in failures:
            self.add(error)

    def add(self, error: RingMeError) -> None:
        """Count a failure."""
        key = type(error).__name__, _status_code(error)
        self._counts[key] += 1
        self._first.setdefault(key, error)

    def most_common(self) -> tuple[FailureKind, ...]:
        """Return the three commonest kinds, the most frequent first."""
        return tuple(
            FailureKind(
                error=key[0],
                status_code=key[1],
                count=count,
                example=self._first[key].reason.partition(". ")[0].removesuffix("."),
                next_step=self._first[key].next_step,
            )
            for key, count in self._counts.most_common(_MOST_SHOWN)
        )


def describe(failed: Failed) -> Entry:
    """Return the journal's fields for a failure."""
    error = failed.error
    status: JSON = None
    if isinstance(error, ApiError):
        status = error.status
    elif isinstance(error, TokenError):
        status = error.error
    return {
        "error": type(error).__name__,
        "message": str(error),
        "status_code": _status_code(error),
        "status": status,
        "maybe_applied": error.maybe_applied,
        "attempts": failed.attempts,
    }


def _status_code(error: RingMeError) -> int | None:
    return error.status_code if isinstance(error, ApiError | TokenError) else None
