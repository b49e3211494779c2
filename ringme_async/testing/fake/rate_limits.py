"""The hourly limit: one counter for each client, a ceiling for each application.

API page, section 3. The page leaves some rules open; the fake uses these:

* A window begins with the first request after the previous window ended.
* A request counts if it has a valid token and is not refused with 429.
* Requests to the token endpoint do not count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from attrs import define, field

from ringme_async.testing.fake.accounts import FakeApplication

_KEPT_WINDOWS = 1_000


@define(eq=False)
class WindowCounts:
    """The requests of one application in one window of its client's counter.

    Attributes:
        started: When the window began, by the loop's clock.
        served: How many requests counted.
        refused: How many got ``rate_limit_exceeded``.
    """

    started: float
    served: int = 0
    refused: int = 0


@define(eq=False)
class RequestCounts:
    """The requests of one application, in all and for each of the last 1,000 windows."""

    served: int = 0
    refused: int = 0
    windows: list[WindowCounts] = field(factory=list[WindowCounts])

    def window(self, started: float) -> WindowCounts:
        """Return the counts of the window that began at ``started``."""
        if not self.windows or self.windows[-1].started != started:
            del self.windows[: 1 - _KEPT_WINDOWS]
            self.windows.append(WindowCounts(started))
        return self.windows[-1]


class RequestCountsByApp(Mapping[str, RequestCounts]):
    """The request counts of all applications that sent a request, by App ID."""

    def __init__(self) -> None:
        self._counts: dict[str, RequestCounts] = {}

    def __getitem__(self, app_id: str) -> RequestCounts:
        return self._counts[app_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    def of(self, application: FakeApplication) -> RequestCounts:
        """Return the counts of an application; zeros if it sent nothing."""
        counts = self._counts.get(application.app_id)
        if counts is None:
            counts = self._counts[application.app_id] = RequestCounts()
        return counts


@define(eq=False)
class _Counter:
    used: int = 0
    started: float = -math.inf
    ends: float = -math.inf


class RateLimits:
    """The counters of all clients.

    Attributes:
        window: The length of a window in seconds; the API's is an hour. A change holds from the
            next window on.
        ceiling: The default limit, also shown in answers to requests of unknown applications.
    """

    def __init__(self, window: float, ceiling: int) -> None:
        self.window = window
        self.ceiling = ceiling
        self.books: RequestCountsByApp = RequestCountsByApp()
        self._counters: dict[int, _Counter] = {}

    def admit(self, application: FakeApplication, now: float) -> bool:
        """Count one request, unless its application is over its ceiling."""
        counter = self._counter_at(application.tenant.id, now)
        counts = self.books.of(application)
        window_counts = counts.window(counter.started)
        if counter.used >= application.ceiling:
            counts.refused += 1
            window_counts.refused += 1
            return False
        counter.used += 1
        counts.served += 1
        window_counts.served += 1
        return True

    def spend(self, tenant_id: int, requests: int, now: float) -> None:
        """Count requests of another application."""
        self._counter_at(tenant_id, now).used += requests

    def headers(self, application: FakeApplication | None, now: float) -> dict[str, str]:
        """Return the three headers of an answer, from the current counter."""
        if application is None:
            return _headers(self.ceiling, self.ceiling, self.window)
        counter = self._counters.get(application.tenant.id)
        if counter is None or now >= counter.ends:
            return _headers(application.ceiling, application.ceiling, self.window)
        remaining = max(0, application.ceiling - counter.used)
        return _headers(application.ceiling, remaining, counter.ends - now)

    def _counter_at(self, tenant_id: int, now: float) -> _Counter:
        counter = self._counters.get(tenant_id)
        if counter is None:
            counter = self._counters[tenant_id] = _Counter()
        if now >= counter.ends:
            counter.used = 0
            counter.started = now
            counter.ends = now + self.window
        return counter


def _headers(limit: int, remaining: int, seconds: float) -> dict[str, str]:
    return {
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": str(remaining),
        "x-ratelimit-reset": str(math.ceil(seconds)),
    }
