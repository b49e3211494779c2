"""The resource "Client": read it and change it, for one tenant or for many (API page, section 1)."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeGuard, TypeVar, cast

from attrs import evolve

from ringme_async._internal.text import shown
from ringme_async.auth import TokenKey
from ringme_async.bulk import BulkRun, Concurrency, Done, Failed, NotAttempted, Outcome
from ringme_async.calls.call import OnQuota
from ringme_async.calls.dispatcher import Dispatcher
from ringme_async.calls.lifetime import WHEN_CLOSED
from ringme_async.errors import InvalidRequest
from ringme_async.resources.clients.jobs import ApplyJob, CallJob, probe_of
from ringme_async.resources.clients.model import Client
from ringme_async.resources.clients.plan import Applied, Plan, PlannedChange, resolved
from ringme_async.resources.clients.plan_file import load_changes
from ringme_async.resources.clients.update import ClientUpdate
from ringme_async.resources.operation import ClientCalls, check_update
from ringme_async.resources.target import Addressing
from ringme_async.tenant import Tenant, Who, same_host

# A mapping's type is invariant in its keys: without this, a dict[int, ...] would be refused.
W = TypeVar("W", bound=Who)

OnQuotaInBulk = Literal["park", "fail"]
OnOutage = Literal["wait", "fail"]


class Clients:
    """Reads and changes clients; reached as ``ringme.clients``."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        addressing: Addressing,
        *,
        timeout: float,
        on_quota: OnQuota,
    ) -> None:
        self._dispatcher = dispatcher
        self._addressing = addressing
        self._calls = ClientCalls(addressing, timeout, on_quota)

    def __repr__(self) -> str:
        return f"<Clients of {self._addressing.origin or 'many hosts'}>"

    async def get(
        self, who: Who, *, timeout: float | None = None, on_quota: OnQuota | None = None
    ) -> Client:
        """Read a client (API page, section 1).

        Args:
            who: Its id, ``"@me"``, or a ``Tenant``.
            timeout: Seconds for the call as a whole; default that of the ``RingMe``, 60.
            on_quota: ``"raise"`` when the hourly limit is used up, or ``"wait"`` for its reset
                inside the deadline; default that of the ``RingMe``.

        Raises:
            InvalidRequest: The id is malformed, or the credentials or the host are missing.
            ApiError: The server answered no; see its subclasses.
            RateLimited: The hourly limit is used up.
            TokenError: The credentials were refused.
            TransportError: No usable answer arrived.
            DecodeError: The answer is not what the API promises.
            DeadlineExceeded: The call took longer than its timeout.
        """
        calls = self._calls
        call = calls.read(who, calls.seconds(timeout), calls.rule(on_quota))
        return await self._dispatcher.run(call)

    async def update(
        self,
        who: Who,
        update: ClientUpdate,
        *,
        timeout: float | None = None,
        on_quota: OnQuota | None = None,
    ) -> Client:
        """Change settings of a client (API page, section 1).

        The change is repeated if its answer is lost. It sets absolute values, so that a repeat
        does no harm, unless somebody else changed the same field in between.

        Args:
            who: Its id, ``"@me"``, or a ``Tenant``.
            update: What to change; what it leaves ``UNSET`` stays, ``None`` clears.
            timeout: Seconds for the call as a whole; default that of the ``RingMe``, 60.
            on_quota: ``"raise"`` when the hourly limit is used up, or ``"wait"`` for its reset
                inside the deadline; default that of the ``RingMe``.

        Returns:
            The whole record as the server has it now.

        Raises:
            InvalidRequest: The id is malformed, or the update names nothing.
            RingMeError: As ``get``; ``maybe_applied`` says whether the change may have been made.
        """
        calls = self._calls
        call = calls.write(who, update, calls.seconds(timeout), calls.rule(on_quota))
        return await self._dispatcher.run(call)

    def get_many(
        self,
        whos: Iterable[Who] | AsyncIterable[Who],
        *,
        concurrency: Concurrency = 64,
        max_concurrency: int | None = None,
        per_tenant: int | None = None,
        max_waiting: int = 10_000,
        ordered: bool = False,
        deadline: float | None = None,
        timeout: float | None = None,
        on_quota: OnQuotaInBulk = "park",
        on_outage: OnOutage = "wait",
    ) -> BulkRun[Client]:
        """Read many clients at once, with one outcome for every element of the input.

        Args:
            whos: Ids and tenants, pulled lazily.
            concurrency: How many calls may be under way at once, or ``"auto"`` to have it found from
                latencies and failures; default 64.
            max_concurrency: The most that ``"auto"`` may take; default 256.
            per_tenant: How many of them for one client; default an eighth of ``concurrency``.
            max_waiting: How many elements may be held that were pulled and cannot run yet.
            ordered: Give outcomes in input order; default as they come.
            deadline: Seconds for the run as a whole; default none.
            timeout: Seconds for each call, from when it gets a slot; default that of the
                ``RingMe``, 60.
            on_quota: ``"park"`` what a used-up quota holds up until it is reset, or let it
                ``"fail"``.
            on_outage: ``"wait"`` for a host that is down and try again what failed by that, for
                half an hour at most, a minute if it never answered; or let it ``"fail"``. Probes of
                tenants that were answered tell a host that is down from broken tenants.

        Returns:
            A run, to be awaited for a ``BulkReport`` or entered with ``async with``.

        Raises:
            InvalidRequest: An argument is out of bounds.
        """
        seconds, parks = self._calls.seconds(timeout), on_quota == "park"

        def make_job(who: Who) -> CallJob:
            return CallJob(self._dispatcher, self._calls.read(who, seconds), parks)

        return BulkRun(
            whos,
            make_job,
            name_of=_itself,
            concurrency=concurrency,
            max_concurrency=max_concurrency,
            per_tenant=per_tenant,
            max_waiting=max_waiting,
            ordered=ordered,
            deadline=deadline,
            on_quota=on_quota,
            on_outage=on_outage,
            host_of=_host_of,
            on_close=self._dispatcher.lifetime.on_close,
            probe_of=probe_of,
        )

    def update_many(
        self,
        changes: Mapping[W, ClientUpdate]
        | Iterable[tuple[Who, ClientUpdate]]
        | AsyncIterable[tuple[Who, ClientUpdate]],
        *,
        concurrency: Concurrency = 64,
        max_concurrency: int | None = None,
        max_waiting: int = 10_000,
        ordered: bool = False,
        deadline: float | None = None,
        timeout: float | None = None,
        on_quota: OnQuotaInBulk = "park",
        on_outage: OnOutage = "wait",
    ) -> BulkRun[Client]:
        """Change many clients at once, with one outcome for every element of the input.

        Changes of one client are made one at a time, in input order.

        Args:
            changes: A mapping, or pairs, of whom to change and what; pulled lazily.
            concurrency: How many calls may be under way at once, or ``"auto"`` to have it found from
                latencies and failures; default 64.
            max_concurrency: The most that ``"auto"`` may take; default 256.
            max_waiting: How many elements may be held that were pulled and cannot run yet.
            ordered: Give outcomes in input order; default as they come.
            deadline: Seconds for the run as a whole; default none.
            timeout: Seconds for each call, from when it gets a slot; default that of the
                ``RingMe``, 60.
            on_quota: ``"park"`` what a used-up quota holds up until it is reset, or let it
                ``"fail"``.
            on_outage: ``"wait"`` for a host that is down and try again what failed by that, for
                half an hour at most, a minute if it never answered; or let it ``"fail"``. Probes of
                tenants that were answered tell a host that is down from broken tenants.

        Returns:
            A run, to be awaited for a ``BulkReport`` or entered with ``async with``.

        Raises:
            InvalidRequest: An argument is out of bounds.
        """
        seconds, parks = self._calls.seconds(timeout), on_quota == "park"

        def make_job(change: tuple[Who, ClientUpdate]) -> CallJob:
            who, update = _pair(change)
            return CallJob(self._dispatcher, self._calls.write(who, update, seconds), parks)

        return BulkRun(
            cast("Iterable[tuple[Who, ClientUpdate]]", changes),
            make_job,
            name_of=_first,
            concurrency=concurrency,
            max_concurrency=max_concurrency,
            per_tenant=1,
            max_waiting=max_waiting,
            ordered=ordered,
            deadline=deadline,
            on_quota=on_quota,
            on_outage=on_outage,
            host_of=_host_of,
            on_close=self._dispatcher.lifetime.on_close,
            probe_of=probe_of,
        )

    async def plan(
        self,
        changes: Mapping[W, ClientUpdate] | Iterable[tuple[Who, ClientUpdate]],
        *,
        concurrency: Concurrency = 64,
        max_concurrency: int | None = None,
        deadline: float | None = None,
        timeout: float | None = None,
        on_quota: OnQuotaInBulk = "park",
        on_outage: OnOutage = "wait",
    ) -> Plan:
        """Read clients as they are, and say what would change of them.

        Args:
            changes: A mapping, or pairs, of whom to change and what.
            concurrency: How many calls may be under way at once, or ``"auto"`` to have it found from
                latencies and failures; default 64.
            max_concurrency: The most that ``"auto"`` may take; default 256.
            deadline: Seconds for the reading as a whole; default none.
            timeout: Seconds for each call; default that of the ``RingMe``, 60.
            on_quota: ``"park"`` what a used-up quota holds up until it is reset, or let it
                ``"fail"``.
            on_outage: ``"wait"`` for a host that is down and try again what failed by that, for
                half an hour at most, a minute if it never answered; or let it ``"fail"``. Probes of
                tenants that were answered tell a host that is down from broken tenants.

        Returns:
            The plan; nothing has been changed. Whoever could not be read, and whoever turns out
            to be a client that an earlier element names, is among its ``failures``.

        Raises:
            InvalidRequest: An argument is out of bounds.
        """
        pairs = _pairs(changes)
        seconds, parks = self._calls.seconds(timeout), on_quota == "park"

        def make_job(change: tuple[Who, ClientUpdate]) -> CallJob:
            who, update = _pair(change)
            check_update(update)
            return CallJob(self._dispatcher, self._calls.read(who, seconds), parks)

        report = await BulkRun(
            pairs,
            make_job,
            name_of=_first,
            concurrency=concurrency,
            max_concurrency=max_concurrency,
            deadline=deadline,
            on_quota=on_quota,
            on_outage=on_outage,
            host_of=_host_of,
            on_close=self._dispatcher.lifetime.on_close,
            probe_of=probe_of,
        )
        return self._planned(pairs, report)

    def load_plan(
        self, path: str | Path, *, tenants: Iterable[Tenant] = (), any_host: bool = False
    ) -> Plan:
        """Read a plan that was saved, to apply it.

        Args:
            path: What ``Plan.save`` wrote.
            tenants: The tenants with names that the plan was made for; it holds no credentials.
            any_host: Take a plan that was made for another host than its changes would go to now,
                such as a provider's new domain. Default no: it is refused.

        Raises:
            InvalidRequest: The file is no plan, names a tenant that is not given, or was made for
                another host.
        """
        loaded, as_wished = load_changes(path, tenants)
        changes = tuple(
            self._at_home(number, change, any_host=any_host)
            for number, change in enumerate(loaded, 1)
        )
        return Plan(changes, as_wished, (), self._apply)

    def _at_home(self, number: int, change: PlannedChange, *, any_host: bool) -> PlannedChange:
        """Check that a change goes where it was made for."""
        origin = self._addressing.origin_for(change.who)
        made_for = change.origin
        if not (any_host or origin is None or made_for is None or same_host(made_for, origin)):
            raise InvalidRequest(
                f"change {number} of the plan was made for {shown(made_for)}, and would go to"
                f" {origin}; any_host=True takes it nevertheless"
            )
        return evolve(change, origin=origin)

    def _planned(
        self, pairs: Sequence[tuple[Who, ClientUpdate]], outcomes: Sequence[Outcome[Client]]
    ) -> Plan:
        planned: list[PlannedChange] = []
        failures: list[Failed | NotAttempted] = []
        seen: set[object] = set()
        as_wished = 0
        for pair, outcome in zip(pairs, outcomes, strict=False):
            if not isinstance(outcome, Done):
                # It may be no pair at all, which is why it failed.
                failures.append(outcome)
                continue
            who, update = pair
            same = (self._addressing.of(who)[0], outcome.value.id)
            if same in seen:
                failures.append(_named_twice(outcome))
                continue
            seen.add(same)
            origin = self._addressing.origin_for(who)
            change = PlannedChange.between(who, outcome.value, update, origin=origin)
            if change.fields:
                planned.append(change)
            else:
                as_wished += 1
        # Closed in mid-run, it pulls no more.
        failures.extend(
            NotAttempted(_first(pairs[index]), index, reason=WHEN_CLOSED)
            for index in range(len(outcomes), len(pairs))
        )
        return Plan(tuple(planned), as_wished, tuple(failures), self._apply)

    def _apply(
        self,
        changes: Sequence[PlannedChange],
        *,
        concurrency: Concurrency,
        max_concurrency: int | None,
        max_waiting: int,
        ordered: bool,
        deadline: float | None,
        timeout: float | None,
        on_quota: OnQuotaInBulk,
        on_outage: OnOutage,
        on_write: Callable[[PlannedChange], None] | None,
    ) -> BulkRun[Applied]:
        seconds, parks = self._calls.seconds(timeout), on_quota == "park"

        def make_job(change: PlannedChange) -> ApplyJob:
            who = resolved(change.who, change.client_id)
            return ApplyJob(
                self._dispatcher,
                self._calls.read(who, seconds),
                parks,
                change,
                lambda update: self._calls.write(who, update, seconds),
                on_write,
            )

        return BulkRun(
            changes,
            make_job,
            name_of=_whose,
            concurrency=concurrency,
            max_concurrency=max_concurrency,
            per_tenant=1,
            max_waiting=max_waiting,
            ordered=ordered,
            deadline=deadline,
            on_quota=on_quota,
            on_outage=on_outage,
            host_of=_host_of,
            on_close=self._dispatcher.lifetime.on_close,
            probe_of=probe_of,
        )


def _host_of(key: TokenKey) -> str:
    return key.origin


def _itself(who: Who) -> Who:
    return who


def _first(change: object) -> Who:
    # What is no pair becomes a failure, whose name is then all that there is of it.
    return change[0] if _is_pair(change) else cast("Who", change)


def _whose(change: PlannedChange) -> Who:
    return change.who


def _named_twice(outcome: Done[Client]) -> Failed:
    error = InvalidRequest(
        "the same client is named by an earlier element", client_id=str(outcome.value.id)
    )
    return Failed(outcome.who, outcome.index, outcome.attempts, error)


def _pairs(
    changes: Mapping[W, ClientUpdate] | Iterable[tuple[Who, ClientUpdate]],
) -> list[tuple[Who, ClientUpdate]]:
    if isinstance(changes, Mapping):
        return list(cast("Mapping[Who, ClientUpdate]", changes).items())
    return list(changes)


def _is_pair(change: object) -> TypeGuard[tuple[Who, ClientUpdate]]:
    return isinstance(change, tuple) and len(cast("tuple[object, ...]", change)) == 2


def _pair(change: tuple[Who, ClientUpdate]) -> tuple[Who, ClientUpdate]:
    if not _is_pair(change):
        raise InvalidRequest("a change is a pair: whom to change, and a ClientUpdate")
    return change
