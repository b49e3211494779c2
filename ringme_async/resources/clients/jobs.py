"""Calls for clients as the bulk engine wants them: jobs that can be parked and given up."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from attrs import define, field

from ringme_async._internal.redaction import masked
from ringme_async.auth import TokenKey
from ringme_async.bulk import NotBefore
from ringme_async.calls.call import Call, CallState, attach_context
from ringme_async.calls.dispatcher import BulkCallState, Dispatcher
from ringme_async.errors import DeadlineExceeded, NotApplied, RateLimited, RingMeClosed, RingMeError
from ringme_async.events import Parked, Woken
from ringme_async.resources.clients.model import Client
from ringme_async.resources.clients.plan import Applied, PlannedChange
from ringme_async.resources.clients.update import ClientUpdate

T = TypeVar("T")

# What has a bulk run wait for the quota.
_REMEDY = 'on_quota="park"'


@define(eq=False)
class _Job(ABC, Generic[T]):
    """What jobs share: whose quota they spend, their books, and parking."""

    dispatcher: Dispatcher
    call: Call[Client]
    parks: bool
    state: CallState = field(factory=BulkCallState, kw_only=True)
    _reports_parked: bool = field(default=False, init=False)

    @property
    def quota_key(self) -> TokenKey:
        return self.call.key

    @property
    def tenant_key(self) -> str | None:
        return self.call.client_id

    @property
    def attempts(self) -> int:
        return self.state.attempts

    @property
    def retries(self) -> int:
        return max(0, self.state.attempts - 1)

    @property
    def waiting_for_login(self) -> bool:
        return self.state.waiting_for_login

    @property
    def sent_at(self) -> float | None:
        return self.state.sent_at

    def not_before(self) -> float | None:
        quota = self.dispatcher.quotas.of(self.call.key)
        early_reservation = self.state.early_reservation = quota.try_reserve()
        if early_reservation is not None:
            return None
        wait = quota.exhausted_for()
        if wait is None:
            return math.inf
        # Where nothing is parked, the run fails by itself.
        return self._parked_for(wait) if self.parks else None

    def call_when_free(self, wake: Callable[[], None]) -> Callable[[], None]:
        return self.dispatcher.quotas.of(self.call.key).call_when_free(wake)

    async def run(self) -> T | NotBefore:
        if self._reports_parked:
            self._reports_parked = False
            self.dispatcher.observers(Woken(self.call.client_id))
        early_reservation = self.state.early_reservation
        try:
            return await self.work()
        except BaseException as error:
            if early_reservation is not None:
                # This has no effect on a request that was sent.
                early_reservation.give_back()
            if not isinstance(error, RateLimited):
                raise
            if self.parks:
                return NotBefore(self._parked_for(error.reset_after))
            error.remedy = _REMEDY
            raise

    def _parked_for(self, wait: float) -> float:
        """Tell of the wait, once however often it is asked for; give the moment of its end."""
        if not self._reports_parked:
            self._reports_parked = True
            self.dispatcher.observers(Parked(self.call.client_id, wait))
        return asyncio.get_running_loop().time() + wait

    def abandon(self, reason: str) -> RingMeError:
        error: RingMeError
        if self.dispatcher.lifetime.closed:
            error = RingMeClosed("this RingMe was closed while the call was parked")
        else:
            error = DeadlineExceeded(f"{reason}, and the call was not over")
            error.advice = DeadlineExceeded.advice_on_run
        error.__cause__ = self.state.last_error
        attach_context(error, self.call, self.state)
        return error

    @abstractmethod
    def work(self) -> Awaitable[T]:
        """Do it once; a ``RateLimited`` is dealt with by ``run``."""


@define(eq=False)
class CallJob(_Job[Client]):
    """One call for one client."""

    def work(self) -> Awaitable[Client]:
        """Make the call."""
        return self.dispatcher.run(self.call, self.state)


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
    on_write: Callable[[PlannedChange], None] | None = None
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
        client = await self.dispatcher.run(self.call, self.state)
        try:
            left = self.change.left_to_send(client)
            if not left:
                return Applied(client, (), self.change.rewritten(client))
            answered = await self._send(left)
            self._check(answered)
        except RingMeError as error:
            self._mask(error)
            attach_context(error, self.call, self.state)
            raise
        return Applied(answered, tuple(left.changes()), self.change.rewritten(answered))

    async def _send(self, left: ClientUpdate) -> Client:
        if self._sent_before_write is None:
            self._sent_before_write = self.attempts
        unsent = self.change
        self._note(unsent.before_sending(left))
        try:
            return await self.dispatcher.run(self.write(left), self.state)
        except RingMeError:
            if not self.state.maybe_applied:
                self._note(unsent)
            raise
        finally:
            if self.attempts == self._sent_before_write:
                # Not even sent: the next request may be another look.
                self._sent_before_write = None

    def _check(self, answered: Client) -> None:
        try:
            self.change.check(answered)
        except NotApplied:
            self._note(self.change.after_answer(answered))
            raise

    def _note(self, change: PlannedChange) -> None:
        self.change = change
        if self.on_write is not None:
            self.on_write(change)

    def _mask(self, error: RingMeError) -> None:
        """Take the token out of an error's words, should the server echo it in a record."""
        token = self.dispatcher.tokens.ready(self.call.key)
        secrets = () if token is None else (token.value,)
        error.args = (masked(error.reason, secrets),)
