"""Client operations as bulk jobs, which can be parked and abandoned."""

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

# The advice in an error: with this setting, a bulk run waits for the quota.
_REMEDY = 'on_quota="park"'


@define(eq=False)
class _Job(ABC, Generic[T]):
    """The base of client jobs: their quota, their counts of attempts, and parking."""

    dispatcher: Dispatcher
    call: Call[Client]
    parks: bool
    state: CallState = field(factory=BulkCallState, kw_only=True)
    _parked_emitted: bool = field(default=False, init=False)

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
        # Without parking, the job runs and fails with RateLimited.
        return self._parked_until(wait) if self.parks else None

    def call_when_free(self, wake: Callable[[], None]) -> Callable[[], None]:
        return self.dispatcher.quotas.of(self.call.key).call_when_free(wake)

    async def run(self) -> T | NotBefore:
        if self._parked_emitted:
            self._parked_emitted = False
            self.dispatcher.observers(Woken(self.call.client_id))
        early_reservation = self.state.early_reservation
        try:
            return await self.work()
        except BaseException as error:
            if early_reservation is not None:
                # No effect on a sent request; an unsent one would stay reserved for good.
                early_reservation.give_back()
            if not isinstance(error, RateLimited):
                raise
            if self.parks:
                return NotBefore(self._parked_until(error.reset_after))
            error.remedy = _REMEDY
            raise

    def _parked_until(self, wait: float) -> float:
        """Emit ``Parked`` once for each wait; return the time of its end."""
        if not self._parked_emitted:
            self._parked_emitted = True
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
        """Do the job once; ``run`` handles ``RateLimited``."""


@define(eq=False)
class CallJob(_Job[Client]):
    """A job of one call."""

    def work(self) -> Awaitable[Client]:
        """Make the call."""
        return self.dispatcher.run(self.call, self.state)


@define(eq=False)
class ProbeJob(CallJob):
    """A read that finds out whether a host answers; its value is not used."""

    def _parked_until(self, wait: float) -> float:
        """Return the time; a probe without quota is skipped and gives no event."""
        return asyncio.get_running_loop().time() + wait


def probe_of(job: CallJob | ApplyJob) -> ProbeJob:
    """Make a probe that reads the client of a finished job."""
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
    """A job of one planned change: read the client again, then send what is left."""

    change: PlannedChange
    write: Callable[[ClientUpdate], Call[Client]]
    on_write: Callable[[PlannedChange], None] | None = None
    # How many requests had been sent when the first write went out; None before that.
    _sent_before_write: int | None = field(default=None, init=False)

    @property
    def retries(self) -> int:
        """How many requests repeated a read or a write."""
        before = self._sent_before_write
        first_write = before is not None and self.attempts > before
        return max(0, self.attempts - 1 - first_write)

    async def work(self) -> Applied:
        """Read the client, decide, write, and compare the answer."""
        client = await self.dispatcher.run(self.call, self.state)
        try:
            left = self.change.left_to_send(client)
            if not left:
                return Applied(client, (), self.change.rewritten(client))
            answered = await self._send(left)
            self._check_answer(answered)
        except RingMeError as error:
            self._mask_token(error)
            attach_context(error, self.call, self.state)
            raise
        return Applied(answered, tuple(left.changes()), self.change.rewritten(answered))

    async def _send(self, left: ClientUpdate) -> Client:
        if self._sent_before_write is None:
            self._sent_before_write = self.attempts
        unsent = self.change
        self._record(unsent.before_sending(left))
        try:
            return await self.dispatcher.run(self.write(left), self.state)
        except RingMeError:
            if not self.state.maybe_applied:
                self._record(unsent)
            raise
        finally:
            if self.attempts == self._sent_before_write:
                # Nothing was sent: the next request may be a read again.
                self._sent_before_write = None

    def _check_answer(self, answered: Client) -> None:
        try:
            self.change.check(answered)
        except NotApplied:
            self._record(self.change.after_answer(answered))
            raise

    def _record(self, change: PlannedChange) -> None:
        self.change = change
        if self.on_write is not None:
            self.on_write(change)

    def _mask_token(self, error: RingMeError) -> None:
        """Mask the token in an error's message, in case the server echoes it in a record."""
        token = self.dispatcher.tokens.ready(self.call.key)
        secrets = () if token is None else (token.value,)
        error.args = (masked(error.reason, secrets),)
