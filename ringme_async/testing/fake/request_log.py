"""The journal of requests, and the rules of the API that they broke."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias, cast, overload

from attrs import define, field, frozen

from ringme_async._internal.redaction import MASK
from ringme_async.testing.fake.accounts import FakeApplication, FakeTenant
from ringme_async.testing.fake.client_schema import JSON
from ringme_async.testing.fake.exchange import Exchange, is_api
from ringme_async.testing.fake.fault_kinds import Fault
from ringme_async.testing.redaction import Masker
from ringme_async.transports import Headers

_MASKED = frozenset({"authorization", "proxy-authorization", "cookie"})
# These hold no secrets.
_PLAIN = frozenset(
    {"accept", "accept-encoding", "content-length", "content-type", "host", "user-agent"}
)
_PLAIN_OR_MASKED = _PLAIN | _MASKED
_KEPT_HEADERS = 256
_KEPT_REMARKS = 1_000
_SHOWN = 20

_Shown: TypeAlias = tuple[tuple[str, str], ...]


@frozen
class JournalEntry:
    """One request that the fake received, with secrets masked.

    Attributes:
        number: Its number among all requests, from 1.
        at: When it arrived, by the loop's clock.
        method: The method.
        host: The host, with the port if the URL has one.
        path: The path.
        query: The query, without ``?``; empty for logins.
        tenant: The id of the client; None if the request was for none or an unknown one.
        app: The App ID of the sender; None if unknown.
        status: The code of the answer; None if the request was lost before it was handled.
        fault: The fault that it met, or None.
        sent: The JSON object or the form in its body, secrets masked.
        changed: The fields of the record that it changed.
        headers: The header fields, secrets masked.
    """

    number: int
    at: float
    method: str
    host: str
    path: str
    query: str
    tenant: int | None
    app: str | None
    status: int | None
    fault: Fault | None
    sent: Mapping[str, JSON]
    changed: tuple[str, ...]
    headers: Mapping[str, str] = field(repr=False)

    @property
    def applied(self) -> bool:
        """Did it succeed, even if its answer was lost?"""
        return self.status is not None and 200 <= self.status < 300

    def __str__(self) -> str:
        whom = f" for {self.tenant}" if self.tenant is not None else ""
        sent = f" {dict(self.sent)}" if self.sent else ""
        fault = f", {self.fault}" if self.fault is not None else ""
        status = "not looked at" if self.status is None else str(self.status)
        return f"{self.number}: {self.method} {self.path}{whom}{sent} -> {status}{fault}"


@frozen
class Violation:
    """A rule of the API that a request broke.

    Attributes:
        rule: ``"gzip"``, ``"login_limit"`` or ``"hourly_limit"``.
        message: How it broke the rule.
        number: The request's number.
        at: When it arrived, by the loop's clock.
    """

    rule: str
    message: str
    number: int
    at: float


class Journal(Sequence[JournalEntry]):
    """A sequence of requests, oldest first: all that are remembered, or a selection.

    Attributes:
        total: How many there were, remembered or not.
    """

    def __init__(self, entries: Sequence[JournalEntry], total: int | None = None) -> None:
        self._entries = entries
        self.total: int = len(entries) if total is None else total

    def of(self, who: int | FakeTenant | FakeApplication) -> Journal:
        """Select the requests for one client, or of one application."""
        if isinstance(who, FakeApplication):
            return Journal([entry for entry in self if entry.app == who.app_id])
        tenant_id = who if isinstance(who, int) else who.id
        return Journal([entry for entry in self if entry.tenant == tenant_id])

    def where(
        self, *, method: str | None = None, path: str | None = None, status: int | None = None
    ) -> Journal:
        """Select by method, by the beginning of the path and by the code of the answer."""
        return Journal(
            [
                entry
                for entry in self
                if method in (None, entry.method)
                and (path is None or entry.path.startswith(path))
                and status in (None, entry.status)
            ]
        )

    @overload
    def __getitem__(self, index: int) -> JournalEntry: ...
    @overload
    def __getitem__(self, index: slice) -> Journal: ...
    def __getitem__(self, index: int | slice) -> JournalEntry | Journal:
        if isinstance(index, slice):
            return Journal(list(self._entries)[index])
        return self._entries[index]

    def __iter__(self) -> Iterator[JournalEntry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __str__(self) -> str:
        return "\n".join(_listed(self)) or "nothing"

    def __repr__(self) -> str:
        return f"<Journal of {len(self)} request{'' if len(self) == 1 else 's'}>"


@define(eq=False)
class RequestLog:
    """Writes the journal and counts; the counts include requests that the journal forgot.

    Attributes:
        total: How many requests there were.
        logins: How many tokens the token endpoint issued.
        answers: How often each code was answered.
        per_second: How many requests arrived in each second of the loop's clock.
        in_flight: How many requests are in flight now.
        most_in_flight: The highest number in flight.
        violations: The first 1,000 broken rules.
        refusals: The first 1,000 requests answered with 400 or above without a fault.
    """

    entries: deque[JournalEntry]
    total: int = 0
    logins: int = 0
    answers: Counter[int] = field(factory=Counter[int])
    per_second: Counter[int] = field(factory=Counter[int])
    in_flight: int = 0
    most_in_flight: int = 0
    violations: list[Violation] = field(factory=list[Violation])
    refusals: list[JournalEntry] = field(factory=list[JournalEntry])
    _headers: dict[_Shown, Mapping[str, str]] = field(factory=dict[_Shown, Mapping[str, str]])

    def begin(self, at: float) -> None:
        """Count a request that arrived."""
        self.total += 1
        self.per_second[int(at)] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def end(self) -> None:
        """Count a request as answered."""
        self.in_flight -= 1

    def record(self, exchange: Exchange) -> None:
        """Record a request whose answer is known."""
        status = exchange.response.status
        self.answers[status] += 1
        refused = status >= 400 and exchange.fault is None
        if refused or self.entries.maxlen != 0:
            entry = self._entry(exchange, status or None)
            self.entries.append(entry)
            if refused and len(self.refusals) < _KEPT_REMARKS:
                self.refusals.append(entry)

    def violation(self, rule: str, message: str, at: float) -> None:
        """Record that the current request breaks a rule."""
        if len(self.violations) < _KEPT_REMARKS:
            self.violations.append(Violation(rule, message, self.total, at))

    def _entry(self, exchange: Exchange, status: int | None) -> JournalEntry:
        application = exchange.application
        headers = exchange.request.headers
        path, query, sent = exchange.path, "", exchange.sent
        masker = Masker(contacts=False)
        if is_api(path) and (exchange.query or sent or exchange.route is None):
            # Headers first: the masker learns their secrets, and masks them elsewhere too.
            masker.headers(headers)
            query = masker.query(exchange.query)
            masker.json({**sent})
            path = masker.path(path)
            sent = cast("Mapping[str, JSON]", masker.json({**sent}))
        return JournalEntry(
            self.total,
            exchange.at,
            exchange.method,
            exchange.host,
            path,
            query,
            exchange.tenant_id,
            None if application is None else application.app_id,
            status,
            exchange.fault,
            sent,
            exchange.changed,
            self._masked(headers, masker),
        )

    def _masked(self, headers: Headers, masker: Masker) -> Mapping[str, str]:
        if not headers.keys() <= _PLAIN_OR_MASKED:
            masker.headers(headers)
        # Most requests have equal headers: sharing one mapping saves memory.
        shown = tuple([(name, _header(masker, name, value)) for name, value in headers.items()])
        known = self._headers.get(shown)
        if known is None:
            if len(self._headers) >= _KEPT_HEADERS:
                self._headers.clear()
            known = self._headers[shown] = MappingProxyType(dict(shown))
        return known


def _header(masker: Masker, name: str, value: str) -> str:
    if name in _MASKED:
        return MASK
    return value if name in _PLAIN else masker.headers({name: value})[name]


def check_updated(writes: Journal, tenant_id: int, wanted: Mapping[str, JSON]) -> None:
    """Check that the last applied change of each field set the wanted value."""
    last: dict[str, JSON] = {}
    for entry in writes:
        if entry.applied:
            last.update(entry.sent)
    wrong = [name for name in wanted if not _same(last, name, wanted[name])]
    if not wrong and any(entry.applied for entry in writes):
        return
    values = ", ".join(f"{name}={wanted[name]!r}" for name in wrong)
    expectation = f"updated with {values}" if values else "updated"
    raise AssertionError(
        f"client {tenant_id} was not {expectation}; what was sent:\n{_text_of(writes)}"
    )


def check_not_updated(writes: Journal, tenant_id: int) -> None:
    """Check that no change was applied."""
    if any(entry.applied for entry in writes):
        raise AssertionError(f"client {tenant_id} was updated; what was sent:\n{_text_of(writes)}")


def check_quiet(log: RequestLog) -> None:
    """Check that nothing was refused and no rule broken."""
    if not log.violations and not log.refusals:
        return
    broken = [f"{one.rule}, request {one.number}: {one.message}" for one in log.violations]
    raise AssertionError(
        f"refused requests: {len(log.refusals)}, broken rules: {len(log.violations)}\n"
        + "\n".join(f"  {line}" for line in [*_shortened(broken), *_listed(log.refusals)])
    )


def _same(fields: Mapping[str, JSON], name: str, value: JSON) -> bool:
    return name in fields and type(fields[name]) is type(value) and fields[name] == value


def _text_of(writes: Journal) -> str:
    return "\n".join(f"  {line}" for line in _listed(writes)) or "  nothing at all"


def _listed(entries: Iterable[JournalEntry]) -> list[str]:
    return _shortened([str(entry) for entry in entries])


def _shortened(lines: list[str]) -> list[str]:
    rest = len(lines) - _SHOWN
    return lines if rest <= 0 else [*lines[:_SHOWN], f"... and {rest} more"]
