"""The stand-in's books: requests, answers and broken rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .clock import now

_LONGEST_LIST = 1000


@dataclass(slots=True)
class Ledger:
    """The account of one tenant, one application or the whole."""

    received: int = 0
    served: int = 0
    applied: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    last: str = ""
    ok: bool = False
    refused: Counter[str] = field(default_factory=Counter)

    def begin(self) -> None:
        """A request came in."""
        self.received += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def end(self, outcome: str, ok: bool) -> None:
        """Its answer was sent whole, sent broken by a fault, or lost."""
        self.in_flight -= 1
        self.last = outcome
        self.ok = ok
        if ok:
            self.served += 1
        else:
            self.refused[outcome] += 1

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "received": self.received,
            "served": self.served,
            "applied": self.applied,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "last": self.last,
            "ok": self.ok,
            "refused": dict(self.refused),
        }


@dataclass(slots=True)
class Entry:
    """One request in the books, open until its answer is through."""

    ledgers: tuple[Ledger, ...]
    also: Callable[[str, bool], None] | None = None
    closed: bool = False

    def close(self, outcome: str, ok: bool) -> None:
        """End it; only the first time counts."""
        if self.closed:
            return
        self.closed = True
        for ledger in self.ledgers:
            ledger.end(outcome, ok)
        if self.also is not None:
            self.also(outcome, ok)


@dataclass(slots=True)
class Login:
    """One token request."""

    t: float
    app: str
    grant: str
    outcome: str = "open"

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {"t": self.t, "app": self.app, "grant": self.grant, "outcome": self.outcome}


class Books:
    """All requests, answers and broken rules."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Start empty."""
        self.started = now()
        self.total = Ledger()
        self.anonymous = Ledger()
        self.tenants: dict[int, Ledger] = {}
        self.applications: dict[str, Ledger] = {}
        self.writes: list[dict[str, Any]] = []
        self.logins: list[Login] = []
        self.logins_in_flight = 0
        self.max_logins_in_flight = 0
        self.windows: list[dict[str, Any]] = []
        self.violations: Counter[str] = Counter()
        self.first_violations: list[str] = []
        self.faults: Counter[str] = Counter()
        self.connections = 0
        self.open_connections = 0
        self.max_open_connections = 0
        self.other_host_requests = 0
        self.other_host_credentials = 0
        self.other_host_heads: list[str] = []

    def now(self) -> float:
        """Seconds since the books were opened."""
        return now() - self.started

    def tenant(self, number: int) -> Ledger:
        """The account of a tenant."""
        ledger = self.tenants.get(number)
        if ledger is None:
            ledger = self.tenants[number] = Ledger()
        return ledger

    def application(self, app_id: str) -> Ledger:
        """The account of an application."""
        ledger = self.applications.get(app_id)
        if ledger is None:
            ledger = self.applications[app_id] = Ledger()
        return ledger

    def open(self, *ledgers: Ledger, also: Callable[[str, bool], None] | None = None) -> Entry:
        """Count a request for its tenant and its application."""
        entry = Entry((self.total, *ledgers), also)
        for ledger in entry.ledgers:
            ledger.begin()
        return entry

    def applied(self, tenant: int, app_id: str, body: dict[str, Any]) -> None:
        """Record a PUT that changed (or confirmed) a record."""
        self.writes.append({"tenant": tenant, "app": app_id, "body": body, "t": self.now()})
        self.tenant(tenant).applied += 1
        self.application(app_id).applied += 1
        self.total.applied += 1

    def violation(self, what: str, where: str) -> None:
        """A rule of the API page was broken."""
        self.violations[what] += 1
        if len(self.first_violations) < _LONGEST_LIST:
            self.first_violations.append(f"{what}: {where}")

    def login(self, app_id: str, grant: str) -> Login:
        """A token request came in."""
        login = Login(self.now(), app_id, grant)
        self.logins.append(login)
        self.logins_in_flight += 1
        self.max_logins_in_flight = max(self.max_logins_in_flight, self.logins_in_flight)
        return login

    def login_ended(self) -> None:
        """It was answered, or its connection is gone."""
        self.logins_in_flight -= 1

    def max_logins_in_a_second(self) -> int:
        """The highest number of token requests in a sliding second, refused ones included."""
        most = start = 0
        for end, login in enumerate(self.logins):
            while self.logins[start].t <= login.t - 1.0:
                start += 1
            most = max(most, end - start + 1)
        return most

    def shown(self, *, tenants: str = "all") -> dict[str, Any]:
        """As JSON; ``tenants="failed"`` leaves out those whose last answer was whole and good."""
        outcomes = Counter(login.outcome for login in self.logins)
        return {
            "seconds": self.now(),
            "total": self.total.shown(),
            "anonymous": self.anonymous.shown(),
            "tenants": {
                str(number): ledger.shown()
                for number, ledger in self.tenants.items()
                if tenants == "all" or not ledger.ok
            },
            "applications": {name: each.shown() for name, each in self.applications.items()},
            "writes": self.writes,
            "windows": self.windows,
            "logins": {
                "count": len(self.logins),
                "outcomes": dict(outcomes),
                "max_in_a_second": self.max_logins_in_a_second(),
                "max_in_flight": self.max_logins_in_flight,
                "list": [login.shown() for login in self.logins],
            },
            "violations": dict(self.violations),
            "first_violations": self.first_violations,
            "faults": dict(self.faults),
            "connections": {
                "made": self.connections,
                "open": self.open_connections,
                "max_open": self.max_open_connections,
            },
            "other_host": {
                "requests": self.other_host_requests,
                "credentials": self.other_host_credentials,
                "heads": self.other_host_heads,
            },
        }
