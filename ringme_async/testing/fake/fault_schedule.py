"""Which request meets which fault: scheduled faults first, then random ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import accumulate
from random import Random

from attrs import define, field, frozen

from ringme_async.testing.fake import fault_kinds
from ringme_async.testing.fake.accounts import TenantLike
from ringme_async.testing.fake.exchange import Exchange, is_api
from ringme_async.testing.fake.fault_kinds import Fault

_SERVER_ERRORS = tuple(fault_kinds.ServerError(code) for code in (500, 502, 503, 504))


@define(eq=False)
class _Rule:
    """One fault, and the requests that it strikes."""

    fault: Fault
    on: str | None
    tenant_id: int | None
    left: int | None
    since: float = 0.0
    until: float | None = None

    def matches(self, exchange: Exchange, elapsed: float) -> bool:
        if self.tenant_id is not None and self.tenant_id != exchange.tenant_id:
            return False
        if elapsed < self.since or (self.until is not None and elapsed >= self.until):
            return False
        return _matches(self.on, exchange)


@frozen(eq=False)
class _Chances:
    """Faults that strike each request by chance."""

    random: Random
    on: str | None
    kinds: tuple[tuple[Fault, ...], ...]
    bounds: tuple[float, ...]

    def draw(self, exchange: Exchange) -> Fault | None:
        if not _matches(self.on, exchange):
            return None
        drawn_number = self.random.random()
        for bound, kinds in zip(self.bounds, self.kinds, strict=True):
            if drawn_number < bound:
                return kinds[0] if len(kinds) == 1 else self.random.choice(kinds)
        return None


@define(eq=False)
class Faults:
    """The faults of one fake; reached as ``fake.faults``.

    ``on`` selects requests by a method such as ``"PUT"``, or by the beginning of a path such as
    ``"/oauth/token"``. None selects every request below ``/api/ver1.0``. ``tenant`` selects the
    requests for one client. A login is for the client that its application belongs to.

    Attributes:
        struck: How often each fault struck.
    """

    struck: Counter[Fault] = field(factory=Counter[Fault])
    _rules: list[_Rule] = field(factory=list[_Rule])
    _chances: _Chances | None = None
    _began: float | None = None

    def next(
        self,
        fault: Fault,
        *,
        times: int = 1,
        on: str | None = None,
        tenant: TenantLike | None = None,
    ) -> None:
        """Let the next matching requests meet a fault; faults set earlier strike first.

        Args:
            fault: The fault.
            times: How many requests; default 1.
            on: The requests that match; default all of the API's.
            tenant: The client; default any.
        """
        if times < 1:
            raise ValueError(f"times is a number from 1 up, not {times}")
        self._rules.append(_Rule(_checked(fault), on, _id_of(tenant), times))

    def always(
        self, fault: Fault, *, on: str | None = None, tenant: TenantLike | None = None
    ) -> None:
        """Let every matching request meet a fault, until ``clear``."""
        self._rules.append(_Rule(_checked(fault), on, _id_of(tenant), None))

    def during(
        self,
        fault: Fault,
        *,
        start: float,
        seconds: float,
        on: str | None = None,
        tenant: TenantLike | None = None,
    ) -> None:
        """Let every matching request meet a fault for a while: an outage.

        Args:
            fault: The fault.
            start: When it begins, in seconds of the loop's clock after the fake's first request.
            seconds: How long it lasts.
            on: The requests that match; default all of the API's.
            tenant: The client; default any.
        """
        rule = _Rule(_checked(fault), on, _id_of(tenant), None, start, start + seconds)
        self._rules.append(rule)

    def random(
        self,
        chances: Mapping[Fault, float] | None = None,
        *,
        seed: int = 0,
        on: str | None = None,
        status: float = 0.0,
        html: float = 0.0,
        reset: float = 0.0,
        stall: float = 0.0,
        drip: float = 0.0,
        cut: float = 0.0,
        garbled: float = 0.0,
        busy: float = 0.0,
        token_death: float = 0.0,
        bomb: float = 0.0,
    ) -> None:
        """Let requests meet faults by chance; replaces what an earlier call set.

        The chances of one call add up to at most 1. The same seed and the same sequence of requests
        give the same faults.

        Args:
            chances: Your own faults, each with its chance, from 0 to 1.
            seed: The seed of the random numbers.
            on: The requests that match; default all of the API's.
            status: A 500, 502, 503 or 504 from the API.
            html: An HTML page from a proxy.
            reset: A reset, half before and half after the request is carried out.
            stall: An answer that comes a minute late.
            drip: An answer that takes a minute to arrive.
            cut: A body that ends in its middle.
            garbled: A body that is not JSON, or not gzip.
            busy: A 429 because a similar request runs.
            token_death: A token that is revoked early.
            bomb: A small body that decompresses to 300 MB.
        """
        named: list[tuple[tuple[Fault, ...], float]] = [
            (_SERVER_ERRORS, status),
            ((fault_kinds.Html(),), html),
            ((fault_kinds.ResetBefore(), fault_kinds.ResetAfter()), reset),
            ((fault_kinds.Stall(),), stall),
            ((fault_kinds.SlowDrip(),), drip),
            ((fault_kinds.CutBody(),), cut),
            ((fault_kinds.GarbledBody(), fault_kinds.GarbledGzip()), garbled),
            ((fault_kinds.Busy(),), busy),
            ((fault_kinds.TokenDeath(),), token_death),
            ((fault_kinds.GzipBomb(),), bomb),
        ]
        named += [((_checked(fault),), chance) for fault, chance in (chances or {}).items()]
        drawn = [(kinds, chance) for kinds, chance in named if chance]
        bounds = tuple(accumulate(chance for _, chance in drawn))
        if any(chance < 0 for _, chance in drawn) or (bounds and bounds[-1] > 1.0 + 1e-9):
            raise ValueError("chances are from 0 to 1 and add up to at most 1")
        kinds = tuple(kinds for kinds, _ in drawn)
        self._chances = _Chances(Random(f"faults {seed}"), on, kinds, bounds)

    def clear(self) -> None:
        """Remove all faults that are set."""
        self._rules.clear()
        self._chances = None

    @property
    def left(self) -> int:
        """How many faults set by ``next`` have not struck."""
        return sum(rule.left for rule in self._rules if rule.left is not None)

    def choose(self, exchange: Exchange) -> Fault | None:
        """Choose the fault of a request; the fake calls this once for each request."""
        if self._began is None:
            self._began = exchange.at
        fault = self._scheduled(exchange, exchange.at - self._began) if self._rules else None
        if fault is None and self._chances is not None:
            fault = self._chances.draw(exchange)
        if fault is not None:
            self.struck[fault] += 1
        return fault

    def _scheduled(self, exchange: Exchange, elapsed: float) -> Fault | None:
        for rule in self._rules:
            if rule.matches(exchange, elapsed):
                self._use(rule)
                return rule.fault
        return None

    def _use(self, rule: _Rule) -> None:
        if rule.left is not None:
            rule.left -= 1
            if rule.left == 0:
                self._rules.remove(rule)


def _checked(fault: Fault) -> Fault:
    if not isinstance(fault, Fault):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"a fault is a value of ringme_async.testing.faults, not {fault!r};"
            " mind that some of them are called as the errors of ringme_async are"
        )
    return fault


def _matches(on: str | None, exchange: Exchange) -> bool:
    if on is None:
        return is_api(exchange.path)
    return exchange.path.startswith(on) if on.startswith("/") else exchange.method == on


def _id_of(tenant: TenantLike | None) -> int | None:
    return tenant if tenant is None or isinstance(tenant, int) else tenant.id
