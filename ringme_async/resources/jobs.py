"""Calls for clients as the bulk engine wants them: jobs that can be parked and given up."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from attrs import define, field

from ringme_async.auth import TokenKey
from ringme_async.bulk import NotBefore
from ringme_async.dispatch import Account, Call, Dispatcher, sign
from ringme_async.errors import DeadlineExceeded, RateLimited, RingMeClosed, RingMeError
from ringme_async.judge import masked
from ringme_async.models import Client, ClientUpdate
from ringme_async.observe import Parked, Woken
from ringme_async.plan import Applied, PlannedChange

T = TypeVar("T")


@define(eq=False)
class _Job(ABC, Generic[T]):
    """What jobs share: whose quota they spend, their books, and parking."""

    dispatcher: Dispatcher
    call: Call[Client]
    parks: bool
    account: Account = field(factory=Account, kw_only=True)
    _told_parked: bool = field(default=False, init=False)

    @property
    def quota_key(self) -> TokenKey:
        return self.call.key

    @property
    def tenant_key(self) -> str | None:
        return self.call.client_id

    @property
    def attempts(self) -> int:
        return self.account.attempts

    @property
    def retries(self) -> int:
        return max(0, self.account.attempts - 1)

    @property
    def waiting_for_login(self) -> bool:
        return self.account.waiting_for_login

    @property
    def sent_at(self) -> float | None:
        return self.account.sent_at

    def not_before(self) -> float | None:
        wait = self.dispatcher.quotas.of(self.call.key).exhausted_for()
        return None if wait is None else self._parked_for(wait)

    async def run(self) -> T | NotBefore:
        if self._told_parked:
            self._told_parked = False
            self.dispatcher.observers(Woken(self.call.client_id))
        try:
            return await self.work()
        except RateLimited as refused:
            if not self.parks:
                raise
            return NotBefore(self._parked_for(refused.reset_after))

    def _parked_for(self, wait: float) -> float:
        """Tell of the wait, once however often it is asked for; give the moment of its end."""
        if not self._told_parked:
            self._told_parked = True
            self.dispatcher.observers(Parked(self.call.client_id, wait))
        return asyncio.get_running_loop().time() + wait

    def abandon(self, reason: str) -> RingMeError:
        error = (
            RingMeClosed("this RingMe was closed while the call was parked")
            if self.dispatcher.lifetime.closed
            else DeadlineExceeded(f"{reason}, and the call was not over")
        )
        error.__cause__ = self.account.last_error
        sign(error, self.call, self.account)
        return error

    @abstractmethod
    def work(self) -> Awaitable[T]:
        """Do it once; a ``RateLimited`` is dealt with by ``run``."""


@define(eq=False)
class CallJob(_Job[Client]):
    """One call for one client."""

    def work(self) -> Awaitable[Client]:
        """Make the call."""
        return self.dispatcher.run(self.call, self.account)


@define(eq=False)
class ProbeJob(CallJob):
    """A look at a client, to find out whether its host is there; nobody waits for the client."""

    def _parked_for(self, wait: float) -> float:
        """Give the moment; a probe is not parked, but left out."""
        return asyncio.get_running_loop().time() + wait


def probe_of(job: CallJob | ApplyJob) -> ProbeJob:
    """Make the probe that asks for the client of a job that was done."""
    call = job.call
    read = Call(
        "GET",
        call.path,
        call.key,
        call.decode,
        call.client_id,
        idempotent=True,
        timeout=call.timeout,
        on_quota=call.on_quota,
    )
    return ProbeJob(job.dispatcher, read, parks=True)


@define(eq=False)
class ApplyJob(_Job[Applied]):
    """One planned change: ``call`` reads the client again, and what is left to send is sent."""

    change: PlannedChange
    write: Callable[[ClientUpdate], Call[Client]]
    # How many requests had been sent when the first write went out; None before that.
    _sent_before_write: int | None = field(default=None, init=False)

    @property
    def retries(self) -> int:
        """How many requests repeated a look or a write."""
        before = self._sent_before_write
        first_write = before is not None and self.attempts > before
        return max(0, self.attempts - 1 - first_write)

    async def work(self) -> Applied:
        """Read, decide, write, compare."""
        client = await self.dispatcher.run(self.call, self.account)
        try:
            left = self.change.left_to_send(client)
            if not left:
                return Applied(client, ())
            answered = await self._send(left)
            self.change.check(answered)
        except RingMeError as error:
            self._mask(error)
            sign(error, self.call, self.account)
            raise
        return Applied(answered, tuple(left.changes()))

    async def _send(self, left: ClientUpdate) -> Client:
        if self._sent_before_write is None:
            self._sent_before_write = self.attempts
        try:
            return await self.dispatcher.run(self.write(left), self.account)
        finally:
            if self.attempts == self._sent_before_write:
                # Not even sent: the next request may be another look.
                self._sent_before_write = None

    def _mask(self, error: RingMeError) -> None:
        """Take the token out of an error's words, should the server echo it in a record."""
        token = self.dispatcher.tokens.ready(self.call.key)
        secrets = () if token is None else (token.value,)
        error.args = (masked(error.reason, secrets),)
