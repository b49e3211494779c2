"""The resource "Client": read it and change it, for one tenant or for many (API page, section 1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import Generic, Literal, TypeVar

from attrs import define, field

from ringme_async.auth import TokenKey
from ringme_async.bulk import BulkRun, NotBefore
from ringme_async.codec import decode_client, encode_update
from ringme_async.dispatch import Account, Call, Dispatcher, OnQuota, sign
from ringme_async.errors import DeadlineExceeded, InvalidRequest, RateLimited, RingMeError
from ringme_async.models import Client, ClientUpdate
from ringme_async.resources.addressing import Addressing
from ringme_async.tenant import Who
from ringme_async.transports import Response

T = TypeVar("T")

OnQuotaInBulk = Literal["park", "fail"]


def _decode(response: Response) -> Client:
    return decode_client(response.body)


@define(eq=False)
class _ClientJob(Generic[T]):
    """A call as the bulk engine wants it."""

    call: Call[T]
    dispatcher: Dispatcher
    tenant_key: tuple[TokenKey, str | None]
    parks: bool
    account: Account = field(factory=Account)

    @property
    def quota_key(self) -> TokenKey:
        return self.call.key

    @property
    def attempts(self) -> int:
        return self.account.attempts

    @property
    def waiting_for_login(self) -> bool:
        return self.account.waiting_for_login

    def not_before(self) -> float | None:
        wait = self.dispatcher.quotas.of(self.call.key).exhausted_for()
        return None if wait is None else asyncio.get_running_loop().time() + wait

    async def run(self) -> T | NotBefore:
        try:
            return await self.dispatcher.run(self.call, self.account)
        except RateLimited as refused:
            if not self.parks:
                raise
            return NotBefore(asyncio.get_running_loop().time() + refused.reset_after)

    def abandon(self) -> RingMeError:
        error = DeadlineExceeded("the run's deadline passed while it was under way")
        error.__cause__ = self.account.last_error
        sign(error, self.call, self.account)
        return error


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
        self._timeout = timeout
        self._on_quota: OnQuota = on_quota

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
        return await self._dispatcher.run(self._read(who, timeout, on_quota or self._on_quota))

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
        call = self._write(who, update, timeout, on_quota or self._on_quota)
        return await self._dispatcher.run(call)

    def get_many(
        self,
        whos: Iterable[Who] | AsyncIterable[Who],
        *,
        concurrency: int = 64,
        per_tenant: int | None = None,
        max_waiting: int = 10_000,
        ordered: bool = False,
        deadline: float | None = None,
        timeout: float | None = None,
        on_quota: OnQuotaInBulk = "park",
    ) -> BulkRun[Client]:
        """Read many clients at once, with one outcome for every element of the input.

        Args:
            whos: Ids and tenants, pulled lazily.
            concurrency: How many calls may be under way at once; default 64.
            per_tenant: How many of them for one client; default an eighth of ``concurrency``.
            max_waiting: How many elements may be held that were pulled and cannot run yet.
            ordered: Give outcomes in input order; default as they come.
            deadline: Seconds for the run as a whole; default none.
            timeout: Seconds for each call, from when it gets a slot; default that of the
                ``RingMe``, 60.
            on_quota: ``"park"`` what a used-up quota holds up until it is reset, or let it
                ``"fail"``.

        Returns:
            A run, to be awaited for a ``BulkReport`` or entered with ``async with``.

        Raises:
            InvalidRequest: An argument is out of bounds.
        """
        return BulkRun(
            whos,
            lambda who: self._job(self._read(who, timeout, "raise"), on_quota),
            name_of=_itself,
            concurrency=concurrency,
            per_tenant=per_tenant,
            max_waiting=max_waiting,
            ordered=ordered,
            deadline=deadline,
            on_quota=on_quota,
        )

    def update_many(
        self,
        changes: Mapping[Who, ClientUpdate]
        | Iterable[tuple[Who, ClientUpdate]]
        | AsyncIterable[tuple[Who, ClientUpdate]],
        *,
        concurrency: int = 64,
        max_waiting: int = 10_000,
        ordered: bool = False,
        deadline: float | None = None,
        timeout: float | None = None,
        on_quota: OnQuotaInBulk = "park",
    ) -> BulkRun[Client]:
        """Change many clients at once, with one outcome for every element of the input.

        Changes of one client are made one at a time, in input order.

        Args:
            changes: A mapping, or pairs, of whom to change and what; pulled lazily.
            concurrency: How many calls may be under way at once; default 64.
            max_waiting: How many elements may be held that were pulled and cannot run yet.
            ordered: Give outcomes in input order; default as they come.
            deadline: Seconds for the run as a whole; default none.
            timeout: Seconds for each call, from when it gets a slot; default that of the
                ``RingMe``, 60.
            on_quota: ``"park"`` what a used-up quota holds up until it is reset, or let it
                ``"fail"``.

        Returns:
            A run, to be awaited for a ``BulkReport`` or entered with ``async with``.

        Raises:
            InvalidRequest: An argument is out of bounds.
        """

        def make_job(change: tuple[Who, ClientUpdate]) -> _ClientJob[Client]:
            who, update = _pair(change)
            return self._job(self._write(who, update, timeout, "raise"), on_quota)

        return BulkRun(
            changes,
            make_job,
            name_of=_first,
            concurrency=concurrency,
            per_tenant=1,
            max_waiting=max_waiting,
            ordered=ordered,
            deadline=deadline,
            on_quota=on_quota,
        )

    def _read(self, who: Who, timeout: float | None, on_quota: OnQuota) -> Call[Client]:
        address = self._addressing.of(who)
        return Call(
            "GET",
            address.path,
            address.key,
            _decode,
            client_id=address.client_id,
            idempotent=True,
            timeout=self._timeout if timeout is None else checked_timeout(timeout),
            on_quota=checked_on_quota(on_quota),
        )

    def _write(
        self, who: Who, update: ClientUpdate, timeout: float | None, on_quota: OnQuota
    ) -> Call[Client]:
        if not isinstance(update, ClientUpdate):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidRequest(f"an update is a ClientUpdate, not a {type(update).__name__}")
        address = self._addressing.of(who)
        return Call(
            "PUT",
            address.path,
            address.key,
            _decode,
            client_id=address.client_id,
            idempotent=True,
            timeout=self._timeout if timeout is None else checked_timeout(timeout),
            body=encode_update(update),
            on_quota=checked_on_quota(on_quota),
        )

    def _job(self, call: Call[Client], on_quota: OnQuotaInBulk) -> _ClientJob[Client]:
        tenant_key = (call.key, call.client_id)
        return _ClientJob(call, self._dispatcher, tenant_key, parks=on_quota == "park")


def checked_timeout(timeout: float) -> float:
    """Check a call's timeout: a number of seconds above 0."""
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
        raise InvalidRequest(f"timeout is a number of seconds above 0, not {timeout!r}")
    return timeout


def checked_on_quota(on_quota: OnQuota) -> OnQuota:
    """Check what to do when the quota is used up."""
    if on_quota not in {"raise", "wait"}:
        raise InvalidRequest(f'on_quota is "raise" or "wait", not {on_quota!r}')
    return on_quota


def _itself(who: Who) -> Who:
    return who


def _first(change: tuple[Who, ClientUpdate]) -> Who:
    return change[0] if isinstance(change, tuple) and change else change  # type: ignore[return-value]


def _pair(change: tuple[Who, ClientUpdate]) -> tuple[Who, ClientUpdate]:
    if not isinstance(change, tuple) or len(change) != 2:
        raise InvalidRequest("a change is a pair: whom to change, and a ClientUpdate")
    return change
