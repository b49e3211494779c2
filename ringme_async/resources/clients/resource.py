"""The resource "Client": read and change one tenant or many (API page, section 1)."""

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
from ringme_async.resources.operation import ClientOperations, check_update
from ringme_async.resources.target import TargetResolver
from ringme_async.tenant import Tenant, Who, same_host

# Mapping is invariant in its keys: with Who itself, mypy would refuse a dict[int, ...].
W = TypeVar("W", bound=Who)

OnQuotaInBulk = Literal["park", "fail"]
OnOutage = Literal["wait", "fail"]


class Clients:
    """Reads and changes clients, as ``ringme.clients``."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        targets: TargetResolver,
        *,
        timeout: float,
        on_quota: OnQuota,
    ) -> None:
        self._dispatcher = dispatcher
        self._targets = targets
        self._operations = ClientOperations(targets, timeout, on_quota)

    def __repr__(self) -> str:
        return f"<Clients of {self._targets.origin or 'many hosts'}>"

    async def get(
        self, who: Who, *, timeout: float | None = None, on_quota: OnQuota | None = None
    ) -> Client:
        """Read a client (API page, section 1).

        Args:
            who: The client's id, ``"@me"``, or a ``Tenant``.
            timeout: Seconds for the whole call; default that of the ``RingMe``, 60.
            on_quota: ``"raise"`` when the hourly limit is used up, or ``"wait"`` for its reset
                within the deadline; default that of the ``RingMe``.

        Raises:
            InvalidRequest: The id is malformed, or the credentials or the host are missing.
            ApiError: The server refused; see the subclasses.
            RateLimited: The hourly limit is used up.
            TokenError: The credentials were refused.
            TransportError: No usable answer arrived.
            DecodeError: The answer is not what the API promises.
            DeadlineExceeded: The call took longer than its timeout.
        """
        make = self._operations
        call = make.read(who, make.timeout_or_default(timeout), make.on_quota_or_default(on_quota))
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

        A change whose answer is lost is sent again. It sets absolute values, so the repeat does no
        harm, unless another client changed the same field in between.

        Args:
            who: The client's id, ``"@me"``, or a ``Tenant``.
            update: The change. Fields left ``UNSET`` stay; ``None`` clears a field.
            timeout: Seconds for the whole call; default that of the ``RingMe``, 60.
            on_quota: ``"raise"`` when the hourly limit is used up, or ``"wait"`` for its reset
                within the deadline; default that of the ``RingMe``.

        Returns:
            The whole record as the server has it after the change.

        Raises:
            InvalidRequest: The id is malformed, or the update is empty.
            RingMeError: As ``get``; ``maybe_applied`` says whether the change may have been made.
        """
        make = self._operations
        call = make.write(
            who, update, make.timeout_or_default(timeout), make.on_quota_or_default(on_quota)
        )
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
        """Read many clients at once; every input element gets one outcome.

        Args:
            whos: Ids and tenants, pulled lazily.
            concurrency: The most calls in flight at once; default 64. ``"auto"`` finds the number
                from latencies and failures.
            max_concurrency: The upper bound for ``"auto"``; default 256.
            per_tenant: The most calls in flight for one client; default ``concurrency // 8``.
            max_waiting: The most elements to hold that were pulled and cannot run yet.
            ordered: Give outcomes in input order; default in order of completion.
            deadline: Seconds for the run as a whole; default none.
            timeout: Seconds for each call, counted from its slot; default that of the ``RingMe``,
                60.
            on_quota: ``"park"`` jobs without quota until its reset, or ``"fail"`` them.
            on_outage: ``"wait"`` for a host that is down, then repeat what the outage failed; or
                ``"fail"``. The wait ends after half an hour, or after a minute if the host has
                never answered. Probes of healthy tenants tell an outage from broken tenants.

        Returns:
            A run. Await it for a ``BulkReport``, or enter it with ``async with``.

        Raises:
            InvalidRequest: An argument is out of bounds.
        """
        seconds, parks = self._operations.timeout_or_default(timeout), on_quota == "park"

        def make_job(who: Who) -> CallJob:
            return CallJob(self._dispatcher, self._operations.read(who, seconds), parks)

        return BulkRun(
            whos,
            make_job,
            name_of=_same_who,
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
        """Change many clients at once; every input element gets one outcome.

        Changes to one client run one at a time, in input order.

        Args:
            changes: A mapping or pairs, client to ``ClientUpdate``; pulled lazily.
            concurrency: The most calls in flight at once; default 64. ``"auto"`` finds the number
                from latencies and failures.
            max_concurrency: The upper bound for ``"auto"``; default 256.
            max_waiting: The most elements to hold that were pulled and cannot run yet.
            ordered: Give outcomes in input order; default in order of completion.
            deadline: Seconds for the run as a whole; default none.
            timeout: Seconds for each call, counted from its slot; default that of the ``RingMe``,
                60.
            on_quota: ``"park"`` jobs without quota until its reset, or ``"fail"`` them.
            on_outage: ``"wait"`` for a host that is down, then repeat what the outage failed; or
                ``"fail"``. The wait ends after half an hour, or after a minute if the host has
                never answered. Probes of healthy tenants tell an outage from broken tenants.

        Returns:
            A run. Await it for a ``BulkReport``, or enter it with ``async with``.

        Raises:
            InvalidRequest: An argument is out of bounds.
        """
        seconds, parks = self._operations.timeout_or_default(timeout), on_quota == "park"

        def make_job(change: tuple[Who, ClientUpdate]) -> CallJob:
            who, update = _checked_pair(change)
            return CallJob(self._dispatcher, self._operations.write(who, update, seconds), parks)

        return BulkRun(
            cast("Iterable[tuple[Who, ClientUpdate]]", changes),
            make_job,
            name_of=_who_of_pair,
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
        """Read clients and list what an update would change.

        Args:
            changes: A mapping or pairs, client to ``ClientUpdate``.
            concurrency: The most calls in flight at once; default 64. ``"auto"`` finds the number
                from latencies and failures.
            max_concurrency: The upper bound for ``"auto"``; default 256.
            deadline: Seconds for all reads together; default none.
            timeout: Seconds for each call; default that of the ``RingMe``, 60.
            on_quota: ``"park"`` jobs without quota until its reset, or ``"fail"`` them.
            on_outage: ``"wait"`` for a host that is down, then repeat what the outage failed; or
                ``"fail"``. The wait ends after half an hour, or after a minute if the host has
                never answered. Probes of healthy tenants tell an outage from broken tenants.

        Returns:
            The plan; nothing has been changed. Its ``failures`` list the clients that could not be
            read and the repeats of a client that an earlier element names.

        Raises:
            InvalidRequest: An argument is out of bounds.
        """
        pairs = _as_pairs(changes)
        seconds, parks = self._operations.timeout_or_default(timeout), on_quota == "park"

        def make_job(change: tuple[Who, ClientUpdate]) -> CallJob:
            who, update = _checked_pair(change)
            check_update(update)
            return CallJob(self._dispatcher, self._operations.read(who, seconds), parks)

        report = await BulkRun(
            pairs,
            make_job,
            name_of=_who_of_pair,
            concurrency=concurrency,
            max_concurrency=max_concurrency,
            deadline=deadline,
            on_quota=on_quota,
            on_outage=on_outage,
            host_of=_host_of,
            on_close=self._dispatcher.lifetime.on_close,
            probe_of=probe_of,
        )
        return self._plan_from(pairs, report)

    def load_plan(
        self, path: str | Path, *, tenants: Iterable[Tenant] = (), any_host: bool = False
    ) -> Plan:
        """Load a saved plan, to apply it.

        Args:
            path: The file that ``Plan.save`` wrote.
            tenants: The named tenants of the plan; the file holds no credentials.
            any_host: Accept a plan made for another host, such as the provider's old domain.
                Default: refuse it.

        Raises:
            InvalidRequest: The file is no plan, names an unknown tenant, or was made for another
                host.
        """
        loaded, as_wished = load_changes(path, tenants)
        changes = tuple(
            self._for_same_host(number, change, any_host=any_host)
            for number, change in enumerate(loaded, 1)
        )
        return Plan(changes, as_wished, (), self._apply)

    def _for_same_host(
        self, number: int, change: PlannedChange, *, any_host: bool
    ) -> PlannedChange:
        """Check that a change goes to the host it was made for."""
        origin = self._targets.origin_for(change.who)
        made_for = change.origin
        if not (any_host or origin is None or made_for is None or same_host(made_for, origin)):
            raise InvalidRequest(
                f"change {number} of the plan was made for {shown(made_for)}, and would go to"
                f" {origin}; any_host=True takes it nevertheless"
            )
        return evolve(change, origin=origin)

    def _plan_from(
        self, pairs: Sequence[tuple[Who, ClientUpdate]], outcomes: Sequence[Outcome[Client]]
    ) -> Plan:
        planned: list[PlannedChange] = []
        failures: list[Failed | NotAttempted] = []
        seen: set[object] = set()
        as_wished = 0
        for pair, outcome in zip(pairs, outcomes, strict=False):
            if not isinstance(outcome, Done):
                # Unpack no failed element: a malformed one is no pair.
                failures.append(outcome)
                continue
            who, update = pair
            client_key = (self._targets.resolve(who)[0], outcome.value.id)
            if client_key in seen:
                failures.append(_duplicate(outcome))
                continue
            seen.add(client_key)
            origin = self._targets.origin_for(who)
            change = PlannedChange.between(who, outcome.value, update, origin=origin)
            if change.fields:
                planned.append(change)
            else:
                as_wished += 1
        # A RingMe closed in mid-run pulls no more: without these, elements would have no outcome.
        failures.extend(
            NotAttempted(_who_of_pair(pairs[index]), index, reason=WHEN_CLOSED)
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
        seconds, parks = self._operations.timeout_or_default(timeout), on_quota == "park"

        def make_job(change: PlannedChange) -> ApplyJob:
            who = resolved(change.who, change.client_id)
            return ApplyJob(
                self._dispatcher,
                self._operations.read(who, seconds),
                parks,
                change,
                lambda update: self._operations.write(who, update, seconds),
                on_write,
            )

        return BulkRun(
            changes,
            make_job,
            name_of=_who_of_change,
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


def _same_who(who: Who) -> Who:
    return who


def _who_of_pair(change: object) -> Who:
    # A malformed element becomes a Failed, named by the element itself.
    return change[0] if _is_pair(change) else cast("Who", change)


def _who_of_change(change: PlannedChange) -> Who:
    return change.who


def _duplicate(outcome: Done[Client]) -> Failed:
    error = InvalidRequest(
        "the same client is named by an earlier element", client_id=str(outcome.value.id)
    )
    return Failed(outcome.who, outcome.index, outcome.attempts, error)


def _as_pairs(
    changes: Mapping[W, ClientUpdate] | Iterable[tuple[Who, ClientUpdate]],
) -> list[tuple[Who, ClientUpdate]]:
    if isinstance(changes, Mapping):
        return list(cast("Mapping[Who, ClientUpdate]", changes).items())
    return list(changes)


def _is_pair(change: object) -> TypeGuard[tuple[Who, ClientUpdate]]:
    return isinstance(change, tuple) and len(cast("tuple[object, ...]", change)) == 2


def _checked_pair(change: tuple[Who, ClientUpdate]) -> tuple[Who, ClientUpdate]:
    if not _is_pair(change):
        raise InvalidRequest("a change is a pair: whom to change, and a ClientUpdate")
    return change
