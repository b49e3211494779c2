"""What the SDK tells about its calls: frozen events, for logs, metrics and traces."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterable
from typing import Protocol

from attrs import frozen

_log = logging.getLogger("ringme_async.observe")
_call_numbers = itertools.count(1)


@frozen
class CallStarted:
    """A call begins. ``call`` numbers it within its process."""

    call: int
    method: str
    path: str
    client_id: str | None


@frozen
class AttemptSent:
    """A request enters the transport. ``attempt`` counts from 1."""

    call: int
    method: str
    path: str
    host: str
    attempt: int


@frozen
class AttemptEnded:
    """An attempt came back: with a status, or with the name of what went wrong."""

    call: int
    method: str
    path: str
    host: str
    attempt: int
    seconds: float
    status_code: int | None
    error_type: str | None


@frozen
class RetryScheduled:
    """A failed attempt will be repeated after ``delay`` seconds."""

    call: int
    path: str
    attempt: int
    delay: float
    error_type: str


@frozen
class TokenFetched:
    """The token endpoint gave a token."""

    host: str
    grant: str
    seconds: float


@frozen
class Parked:
    """A call or a bulk item waits for its quota, for ``delay`` seconds."""

    client_id: str | None
    delay: float


@frozen
class Woken:
    """What was parked goes on."""

    client_id: str | None


@frozen
class CallEnded:
    """A call is over. ``error_type`` is None if it ended in a value."""

    call: int
    method: str
    path: str
    client_id: str | None
    attempts: int
    seconds: float
    error_type: str | None


Event = (
    CallStarted
    | AttemptSent
    | AttemptEnded
    | RetryScheduled
    | TokenFetched
    | Parked
    | Woken
    | CallEnded
)


class Observer(Protocol):
    """Takes each event as it happens; must be quick, and must not block."""

    def __call__(self, event: Event) -> None:
        """Take one event."""
        ...


class Observers:
    """The installed observers as one; an observer that raises is logged and breaks nothing."""

    __slots__ = ("_observers",)

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = tuple(observers)

    def __call__(self, event: Event) -> None:
        """Hand one event to each observer."""
        for observer in self._observers:
            try:
                observer(event)
            except Exception:  # noqa: BLE001 - an observer must break nothing, whatever it raises
                _log.exception("An observer failed on %s", type(event).__name__)

    def trace(self, method: str, path: str, host: str, client_id: str | None) -> Trace:
        """Begin to tell of a call; silent, and free, while no observer is installed."""
        if not self._observers:
            return _SILENT
        return _TellingTrace(self, method, path, host, client_id)


class Trace:
    """Tells of one call, moment by moment; this one tells nobody."""

    __slots__ = ()

    def call_started(self) -> None:
        """The call begins."""

    def attempt_sent(self, attempt: int) -> None:
        """A request enters the transport."""

    def attempt_ended(self, status_code: int | None, error: BaseException | None) -> None:
        """The attempt sent last came back."""

    def retry_scheduled(self, delay: float, error: BaseException) -> None:
        """The attempt sent last will be repeated."""

    def parked(self, delay: float) -> None:
        """The call waits for its quota."""

    def woken(self) -> None:
        """The wait for the quota is over."""

    def call_ended(self, error: BaseException | None) -> None:
        """The call is over."""


_SILENT = Trace()


class _TellingTrace(Trace):
    __slots__ = (
        "_attempt",
        "_began",
        "_client_id",
        "_host",
        "_method",
        "_number",
        "_path",
        "_sent",
        "_tell",
    )

    def __init__(
        self, tell: Observers, method: str, path: str, host: str, client_id: str | None
    ) -> None:
        self._tell = tell
        self._number = next(_call_numbers)
        self._method = method
        self._path = path
        self._host = host
        self._client_id = client_id
        self._attempt = 0
        self._began = self._sent = _now()

    def call_started(self) -> None:
        self._tell(CallStarted(self._number, self._method, self._path, self._client_id))

    def attempt_sent(self, attempt: int) -> None:
        self._attempt = attempt
        self._sent = _now()
        self._tell(AttemptSent(self._number, self._method, self._path, self._host, attempt))

    def attempt_ended(self, status_code: int | None, error: BaseException | None) -> None:
        self._tell(
            AttemptEnded(
                self._number,
                self._method,
                self._path,
                self._host,
                self._attempt,
                _now() - self._sent,
                status_code,
                _type_name(error),
            )
        )

    def retry_scheduled(self, delay: float, error: BaseException) -> None:
        name = type(error).__name__
        self._tell(RetryScheduled(self._number, self._path, self._attempt, delay, name))

    def parked(self, delay: float) -> None:
        self._tell(Parked(self._client_id, delay))

    def woken(self) -> None:
        self._tell(Woken(self._client_id))

    def call_ended(self, error: BaseException | None) -> None:
        self._tell(
            CallEnded(
                self._number,
                self._method,
                self._path,
                self._client_id,
                self._attempt,
                _now() - self._began,
                _type_name(error),
            )
        )


def _now() -> float:
    return asyncio.get_running_loop().time()


def _type_name(error: BaseException | None) -> str | None:
    return None if error is None else type(error).__name__
