"""What the SDK tells about its calls: frozen events, for logs, metrics and traces."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from attrs import frozen

# Nothing is printed for programs that set no logging up.
logging.getLogger("ringme_async").addHandler(logging.NullHandler())
_log = logging.getLogger("ringme_async.observe")
_call_numbers = itertools.count(1)
_TOKEN = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
# What says who asks for what, and in which form, is not for observers to say.
_NOT_FOR_OBSERVERS = frozenset(
    {
        *("accept", "accept-encoding", "authorization", "connection", "content-encoding"),
        *("content-length", "content-type", "cookie", "expect", "host", "keep-alive"),
        *("proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "user-agent"),
    }
)


@frozen
class CallStarted:
    """A call begins. ``call`` numbers it within its process."""

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
    """A call or a bulk item waits for its quota, for ``delay`` seconds.

    A bulk item is no call while it waits: then ``call`` is None. Those that wait behind it, with the
    same credentials, are not told of.
    """

    client_id: str | None
    delay: float
    call: int | None = None


@frozen
class Woken:
    """What was parked goes on."""

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
    """Takes each event as it happens; must be quick, and must not block."""

    def __call__(self, event: Event, /) -> None:
        """Take one event."""
        ...


@runtime_checkable
class HeaderObserver(Observer, Protocol):
    """An observer that has headers sent along with each attempt, such as a trace context."""

    def headers_for(self, event: AttemptSent) -> Mapping[str, str]:
        """Give the headers of an attempt that it has just been told of.

        Those that the SDK sends itself, and those that frame a message, cannot be given: they are
        left out, and that is logged. So are headers that HTTP could not carry.
        """
        ...


class Observers:
    """The installed observers as one; an observer that raises is logged and breaks nothing.

    What goes wrong is mostly wrong at every event: it is told with its traceback once, and at DEBUG
    from then on.
    """

    __slots__ = ("_givers", "_observers", "_told")

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = tuple(observers)
        self._givers = tuple(one for one in self._observers if isinstance(one, HeaderObserver))
        self._told: set[tuple[int, str]] = set()

    def __call__(self, event: Event) -> None:
        """Hand one event to each observer."""
        for observer in self._observers:
            try:
                observer(event)
            except Exception:  # noqa: BLE001 - an observer must break nothing, whatever it raises
                self._complain(logging.ERROR, observer, f"failed on {type(event).__name__}")

    def headers_for(self, event: AttemptSent) -> Mapping[str, str]:
        """Collect what observers want to be sent along with an attempt."""
        if not self._givers:
            return _NO_HEADERS
        given: dict[str, str] = {}
        for observer in self._givers:
            try:
                found = observer.headers_for(event)
                given |= {
                    name.lower(): value
                    for name, value in found.items()
                    if self._may_send(observer, name.lower(), value)
                }
            except Exception:  # noqa: BLE001 - as above
                self._complain(logging.ERROR, observer, "failed on headers")
        return given

    def trace(self, method: str, path: str, url: str, client_id: str | None) -> Trace:
        """Begin to tell of a call; silent, and free, while no observer is installed.

        Args:
            method: Its method.
            path: Its path, below the API's root.
            url: Its whole URL, without the query.
            client_id: Whom it is for.
        """
        if not self._observers:
            return _SILENT
        return _TellingTrace(self, method, path, url, client_id)

    def _may_send(self, observer: Observer, name: str, value: str) -> bool:
        """Whether a header is one that an observer may give, and that does not break the message."""
        if name in _NOT_FOR_OBSERVERS:
            self._complain(logging.WARNING, observer, f"may not set the header {name}")
            return False
        if _TOKEN.fullmatch(name) is None or not (value.isascii() and value.isprintable()):
            self._complain(logging.WARNING, observer, "gave a header that cannot be sent")
            return False
        return True

    def _complain(self, level: int, observer: Observer, what: str) -> None:
        """Log what an observer did: an error with the exception that is being handled."""
        # Not its repr, which may hold what is nobody's business.
        name = getattr(observer, "__qualname__", type(observer).__qualname__)
        exc_info = level == logging.ERROR
        if (id(observer), what) in self._told:
            level = logging.DEBUG
        self._told.add((id(observer), what))
        _log.log(level, "The observer %s %s", name, what, exc_info=exc_info)


class Trace:
    """Tells of one call, moment by moment; this one tells nobody."""

    __slots__ = ()

    def call_started(self) -> None:
        """The call begins."""

    def attempt_sent(self, attempt: int) -> Mapping[str, str]:
        """A request enters the transport; give the headers that observers want along with it."""
        return _NO_HEADERS

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
        "_loop",
        "_method",
        "_number",
        "_path",
        "_sent",
        "_tell",
        "_url",
    )

    def __init__(
        self, tell: Observers, method: str, path: str, url: str, client_id: str | None
    ) -> None:
        self._tell = tell
        self._number = next(_call_numbers)
        self._method = method
        self._path = path
        self._url = url
        self._host = url.partition("://")[2].partition("/")[0]
        self._client_id = client_id
        self._attempt = 0
        # Kept, for a call that is thrown away with its loop is told of when no loop runs.
        self._loop = asyncio.get_running_loop()
        self._began = self._sent = self._loop.time()

    def call_started(self) -> None:
        self._tell(CallStarted(self._number, self._method, self._path, self._client_id))

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
        self._tell(event)
        return self._tell.headers_for(event)

    def attempt_ended(self, status_code: int | None, error: BaseException | None) -> None:
        self._tell(
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
        self._tell(RetryScheduled(self._number, self._path, self._attempt, delay, name))

    def parked(self, delay: float) -> None:
        self._tell(Parked(self._client_id, delay, self._number))

    def woken(self) -> None:
        self._tell(Woken(self._client_id, self._number))

    def call_ended(self, error: BaseException | None) -> None:
        self._tell(
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
