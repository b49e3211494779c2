"""The events of calls, for logs, metrics and traces."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from attrs import frozen

# Without a handler, logging would print warnings of programs that configure no logging.
logging.getLogger("ringme_async").addHandler(logging.NullHandler())
_log = logging.getLogger("ringme_async.observe")
_call_numbers = itertools.count(1)
_TOKEN = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
# The SDK sets these itself: an observer's value could break the authorization or the framing.
_NOT_FOR_OBSERVERS = frozenset(
    {
        *("accept", "accept-encoding", "authorization", "connection", "content-encoding"),
        *("content-length", "content-type", "cookie", "expect", "host", "keep-alive"),
        *("proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "user-agent"),
    }
)


@frozen
class CallStarted:
    """A call begins. ``call`` is its number within the process."""

    call: int
    method: str
    path: str
    client_id: str | None


@frozen
class AttemptSent:
    """A request enters the transport. ``attempt`` counts from 1; ``url`` has no query."""

    call: int
    method: str
    path: str
    host: str
    attempt: int
    client_id: str | None
    url: str


@frozen
class AttemptEnded:
    """An attempt ended, with a status or with the class name of its error."""

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
    """A failed attempt will be retried after ``delay`` seconds."""

    call: int
    path: str
    attempt: int
    delay: float
    error_type: str


@frozen
class TokenFetched:
    """The token endpoint issued a token."""

    host: str
    grant: str
    seconds: float


@frozen
class Parked:
    """A call or a bulk item waits ``delay`` seconds for its quota.

    A bulk item is no call while it waits, so ``call`` is None. Items that wait behind it, with the
    same credentials, give no event.
    """

    client_id: str | None
    delay: float
    call: int | None = None


@frozen
class Woken:
    """A parked call or bulk item goes on."""

    client_id: str | None
    call: int | None = None


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
    """Receives each event as it happens; it must be quick and must not block."""

    def __call__(self, event: Event, /) -> None:
        """Receive one event."""
        ...


@runtime_checkable
class HeaderObserver(Observer, Protocol):
    """An observer that adds headers to each attempt, such as a trace context."""

    def headers_for(self, event: AttemptSent) -> Mapping[str, str]:
        """Return headers for an attempt, right after its ``AttemptSent``.

        Headers that the SDK sets itself, headers that frame a message and headers that HTTP cannot
        carry are left out, with a warning in the log.
        """
        ...


class Observers:
    """All observers as one; an exception of an observer is logged and breaks no call.

    A broken observer mostly fails at every event, so its traceback is logged once. Later failures
    are logged at DEBUG.
    """

    __slots__ = ("_header_observers", "_logged", "_observers")

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = tuple(observers)
        self._header_observers = tuple(
            observer for observer in self._observers if isinstance(observer, HeaderObserver)
        )
        self._logged: set[tuple[int, str]] = set()

    def __call__(self, event: Event) -> None:
        """Pass one event to each observer."""
        for observer in self._observers:
            try:
                observer(event)
            except Exception:  # noqa: BLE001 - an observer must break nothing, whatever it raises
                self._log_failure(logging.ERROR, observer, f"failed on {type(event).__name__}")

    def headers_for(self, event: AttemptSent) -> Mapping[str, str]:
        """Collect the headers that observers add to an attempt."""
        if not self._header_observers:
            return _NO_HEADERS
        headers: dict[str, str] = {}
        for observer in self._header_observers:
            try:
                found = observer.headers_for(event)
                headers |= {
                    name.lower(): value
                    for name, value in found.items()
                    if self._may_send(observer, name.lower(), value)
                }
            except Exception:  # noqa: BLE001 - as above
                self._log_failure(logging.ERROR, observer, "failed on headers")
        return headers

    def trace(self, method: str, path: str, url: str, client_id: str | None) -> Trace:
        """Make the trace of a call; without observers it does nothing and costs nothing.

        Args:
            method: The method.
            path: The path below the API's root.
            url: The whole URL, without the query.
            client_id: The client's id.
        """
        if not self._observers:
            return _SILENT
        return _EmittingTrace(self, method, path, url, client_id)

    def _may_send(self, observer: Observer, name: str, value: str) -> bool:
        """Whether an observer may set a header, and HTTP can carry it."""
        if name in _NOT_FOR_OBSERVERS:
            self._log_failure(logging.WARNING, observer, f"may not set the header {name}")
            return False
        if _TOKEN.fullmatch(name) is None or not (value.isascii() and value.isprintable()):
            self._log_failure(logging.WARNING, observer, "gave a header that cannot be sent")
            return False
        return True

    def _log_failure(self, level: int, observer: Observer, what: str) -> None:
        """Log the failure of an observer; at ERROR with the current exception."""
        # The name, because a repr may hold secrets.
        name = getattr(observer, "__qualname__", type(observer).__qualname__)
        exc_info = level == logging.ERROR
        if (id(observer), what) in self._logged:
            level = logging.DEBUG
        self._logged.add((id(observer), what))
        _log.log(level, "The observer %s %s", name, what, exc_info=exc_info)


class Trace:
    """Emits the events of one call; this base class emits none."""

    __slots__ = ()

    def call_started(self) -> None:
        """The call begins."""

    def attempt_sent(self, attempt: int) -> Mapping[str, str]:
        """A request enters the transport; return the headers that observers add."""
        return _NO_HEADERS

    def attempt_ended(self, status_code: int | None, error: BaseException | None) -> None:
        """The last attempt ended."""

    def retry_scheduled(self, delay: float, error: BaseException) -> None:
        """The last attempt will be retried."""

    def parked(self, delay: float) -> None:
        """The call waits for its quota."""

    def woken(self) -> None:
        """The wait for the quota is over."""

    def call_ended(self, error: BaseException | None) -> None:
        """The call is over."""


_SILENT = Trace()


class _EmittingTrace(Trace):
    __slots__ = (
        "_attempt",
        "_began",
        "_client_id",
        "_emit",
        "_host",
        "_loop",
        "_method",
        "_number",
        "_path",
        "_sent",
        "_url",
    )

    def __init__(
        self, emit: Observers, method: str, path: str, url: str, client_id: str | None
    ) -> None:
        self._emit = emit
        self._number = next(_call_numbers)
        self._method = method
        self._path = path
        self._url = url
        self._host = url.partition("://")[2].partition("/")[0]
        self._client_id = client_id
        self._attempt = 0
        # A call that is thrown away with its loop ends when no loop runs: keep the loop's clock.
        self._loop = asyncio.get_running_loop()
        self._began = self._sent = self._loop.time()

    def call_started(self) -> None:
        self._emit(CallStarted(self._number, self._method, self._path, self._client_id))

    def attempt_sent(self, attempt: int) -> Mapping[str, str]:
        self._attempt = attempt
        self._sent = self._loop.time()
        event = AttemptSent(
            self._number,
            self._method,
            self._path,
            self._host,
            attempt,
            self._client_id,
            self._url,
        )
        self._emit(event)
        return self._emit.headers_for(event)

    def attempt_ended(self, status_code: int | None, error: BaseException | None) -> None:
        self._emit(
            AttemptEnded(
                self._number,
                self._method,
                self._path,
                self._host,
                self._attempt,
                self._loop.time() - self._sent,
                status_code,
                _type_name(error),
            )
        )

    def retry_scheduled(self, delay: float, error: BaseException) -> None:
        name = type(error).__name__
        self._emit(RetryScheduled(self._number, self._path, self._attempt, delay, name))

    def parked(self, delay: float) -> None:
        self._emit(Parked(self._client_id, delay, self._number))

    def woken(self) -> None:
        self._emit(Woken(self._client_id, self._number))

    def call_ended(self, error: BaseException | None) -> None:
        self._emit(
            CallEnded(
                self._number,
                self._method,
                self._path,
                self._client_id,
                self._attempt,
                self._loop.time() - self._began,
                _type_name(error),
            )
        )


def _type_name(error: BaseException | None) -> str | None:
    return None if error is None else type(error).__name__
