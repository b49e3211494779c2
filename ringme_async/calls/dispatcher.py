"""The life of one call: check quota, get a token, reserve, send, learn; retry or end."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import ClassVar, Generic

from attrs import define, frozen

from ringme_async._internal.deadlines import Deadline
from ringme_async._internal.redaction import contains_secret, masked, masked_bytes
from ringme_async.auth import Patience, Token, TokenEndpoint, TokenStore
from ringme_async.calls.call import Call, CallState, T, attach_context
from ringme_async.calls.lifetime import Lifetime
from ringme_async.errors import (
    DeadlineExceeded,
    DecodeError,
    InvalidRequest,
    RateLimited,
    RingMeClosed,
    RingMeError,
    TransportError,
    Unauthorized,
    WrongRecord,
    duration,
)
from ringme_async.events import Observers, Trace
from ringme_async.policies.api_errors import api_error_from, is_success
from ringme_async.policies.quota import Quota, Reservation
from ringme_async.policies.quota_book import QuotaBook
from ringme_async.policies.retry import RetryPolicy
from ringme_async.policies.retry_budget import RetryBudget, RetryBudgets
from ringme_async.transports import Headers, Request, Response, Timeouts, Transport

_MOST_RENEWALS = 10
_SAFE_METHODS = frozenset({"GET", "HEAD"})


def utc_now() -> datetime:
    """Read the wall clock, which is only for calendar time such as a Retry-After date."""
    return datetime.now(UTC)


@define(eq=False)
class BulkCallState(CallState):
    """The state of a bulk job, which waits for quota before it gets a slot.

    A retry or a second request may still wait inside the slot; that wait moves the deadline.
    """

    pauses_deadline: ClassVar[bool] = True


@frozen(eq=False)
class Dispatcher:
    """Runs each call to one value or one error, within its deadline."""

    transport: Transport
    tokens: TokenStore
    endpoint: TokenEndpoint
    quotas: QuotaBook
    retry: RetryPolicy
    timeouts: Timeouts
    observers: Observers
    user_agent: str
    budgets: RetryBudgets
    lifetime: Lifetime
    wall_clock: Callable[[], datetime] = utc_now

    async def run(self, call: Call[T], state: CallState | None = None) -> T:
        """Run a call and return its value.

        Args:
            call: The call.
            state: Counts the attempts; default a new one.

        Raises:
            RingMeError: The error of the last attempt, or DeadlineExceeded.
        """
        state = CallState() if state is None else state
        loop = asyncio.get_running_loop()
        deadline = loop.time() + call.timeout
        trace = self.observers.trace(call.method, call.path, call.url, call.client_id)
        trace.call_started()
        try:
            with self.lifetime.until(deadline, loop) as until:
                value = await _CallAttempts(self, call, state, trace, until, loop).run()
                trace.call_ended(None)
                return value
            raise _ended_early(call, until) from state.last_error
        except RingMeError as error:
            attach_context(error, call, state)
            trace.call_ended(error)
            raise
        except BaseException as error:
            trace.call_ended(error)
            raise


def _ended_early(call: Call[T], until: Deadline) -> RingMeError:
    if until.ended_at is not None and until.ended_at < until.when:
        return RingMeClosed("this RingMe was closed while the call was under way")
    return _deadline_exceeded(call, "the deadline passed")


@define(eq=False)
class _CallAttempts(Generic[T]):
    """The attempts of one call, up to its value or its error."""

    dispatcher: Dispatcher
    call: Call[T]
    state: CallState
    trace: Trace
    deadline: Deadline
    loop: asyncio.AbstractEventLoop

    async def run(self) -> T:
        dispatcher, call = self.dispatcher, self.call
        quota = dispatcher.quotas.of(call.key)
        budget = dispatcher.budgets.of(call.key.origin)
        tries = 0
        renewals = deaths_found_first = 0
        last_retry_cost: int | None = None
        unsent_cost = 0
        early_reservation, self.state.early_reservation = self.state.early_reservation, None
        try:
            while True:
                now = self.loop.time()
                token = dispatcher.tokens.ready(call.key, now)
                reservation = None if token is None else early_reservation or quota.try_reserve(now)
                if token is None or reservation is None:
                    token, reservation = await self.acquire_token_and_request(
                        quota, early_reservation
                    )
                early_reservation = None
                unsent_cost = 0
                try:
                    value = await self.attempt(token, reservation)
                except RingMeError as failure:
                    error = self.state.last_error = failure
                else:
                    if not token.accepted:
                        token.accepted = True
                    budget.succeeded(last_retry_cost)
                    return value
                if isinstance(error, RateLimited) and call.on_quota == "wait":
                    continue
                if isinstance(error, Unauthorized) and call.key.auth.renewable:
                    renewals += 1
                    deaths_found_first += dispatcher.tokens.drop(call.key, token)
                    if renewals > 1 and not self.is_shared_token_death(token, deaths_found_first):
                        raise error
                    if renewals <= _MOST_RENEWALS:
                        continue
                elif not dispatcher.retry.retryable(error, idempotent=call.idempotent):
                    raise error
                tries += 1
                last_retry_cost = unsent_cost = self.pay_for_retry(budget, error, tries)
                await self.back_off(error, tries)
        except BaseException:
            # A deadline, a used-up quota or a failed login came before the paid retry was sent.
            budget.give_back(unsent_cost)
            raise

    @staticmethod
    def is_shared_token_death(token: Token, deaths_found_first: int) -> bool:
        """Return whether a second 401 is about the token and not about this call.

        A dead token fails many calls, and the next token may die before all of them retry. If this
        call was the first to find both tokens dead, the 401 is the call's own.
        """
        return token.accepted or (token.trusted and deaths_found_first <= 1)

    async def acquire_token_and_request(
        self, quota: Quota, early_reservation: Reservation | None
    ) -> tuple[Token, Reservation]:
        """Wait for a token, and reserve a request of the quota."""
        tokens, key = self.dispatcher.tokens, self.call.key
        while True:
            # Quota first: a login for a call that cannot be sent would be wasted.
            await self.wait_for_quota_reset(quota)
            token = tokens.ready(key, self.loop.time()) or await self.log_in()
            if early_reservation is not None and early_reservation.renew():
                return token, early_reservation
            reservation = await self.reserve(quota)
            if reservation is not None:
                return token, reservation

    async def wait_for_quota_reset(self, quota: Quota) -> None:
        while (wait := quota.exhausted_for()) is not None:
            used_up = RateLimited(
                f"the hourly limit is used up for {duration(wait)} more",
                reset_after=wait,
                status="rate_limit_exceeded",
            )
            if self.call.on_quota == "raise":
                raise used_up
            self.state.last_error = used_up
            self.check_wait_fits_deadline(wait, "the reset of the quota", used_up)
            self.trace.parked(wait)
            await asyncio.sleep(wait)
            self.trace.woken()

    async def reserve(self, quota: Quota) -> Reservation | None:
        if not self.state.pauses_deadline:
            return await quota.reserve()
        began, when = self.loop.time(), self.deadline.when
        # Other requests in flight decide how long this takes: it must not use up this deadline.
        self.deadline.reschedule(math.inf)
        try:
            return await quota.reserve()
        finally:
            self.deadline.reschedule(when + self.loop.time() - began)

    async def log_in(self) -> Token:
        patience = Patience(self.deadline.when, self.call.timeout)
        self.state.waiting_for_login = True
        try:
            return await self.dispatcher.tokens.get(
                self.call.key, self.dispatcher.endpoint, patience
            )
        finally:
            self.state.waiting_for_login = False
            self.state.last_error = patience.last_error or self.state.last_error

    async def attempt(self, token: Token, reservation: Reservation) -> T:
        self.state.attempts += 1
        self.state.sent_at = reservation.sent_at
        extra = self.trace.attempt_sent(self.state.attempts)
        response: Response | None = None
        try:
            response = await self.dispatcher.transport.send(self.request(token, extra))
            value = self.value_of(response, token, reservation)
        except BaseException as error:
            if response is None:
                self.settle_without_answer(error, reservation)
            elif response.status == 408 or not 300 <= response.status < 500:
                # Any other 3xx or 4xx means that nothing was done. A 5xx or an unreadable 2xx may
                # hide an applied change.
                self.mark_maybe_applied()
            self.trace.attempt_ended(None if response is None else response.status, error)
            if isinstance(error, asyncio.CancelledError):
                # The transport's frames hold the request: a traceback with locals would show the token.
                error.__traceback__ = None
            raise
        self.trace.attempt_ended(response.status, None)
        return value

    def settle_without_answer(self, error: BaseException, reservation: Reservation) -> None:
        unsent = isinstance(error, TransportError) and not error.sent
        if unsent or isinstance(error, InvalidRequest):
            reservation.give_back()
        else:
            reservation.lost()
            self.mark_maybe_applied()

    def mark_maybe_applied(self) -> None:
        if self.call.method not in _SAFE_METHODS:
            self.state.maybe_applied = True

    def value_of(self, response: Response, token: Token, reservation: Reservation) -> T:
        if is_success(response):
            return self.decode_value(response, token, reservation)
        error = api_error_from(response, secrets=(token.value,))
        if isinstance(error, RateLimited):
            reservation.refused(error.reset_after)
        elif isinstance(error, Unauthorized) and "x-ratelimit-remaining" not in response.headers:
            reservation.give_back()
        elif response.status < 500 or "x-ratelimit-remaining" in response.headers:
            reservation.learn(response.headers)
        else:
            reservation.lost()
        raise error

    def decode_value(self, response: Response, token: Token, reservation: Reservation) -> T:
        try:
            value = self.call.decode(response)
        except WrongRecord as wrong_record:
            error: DecodeError = wrong_record
            # The quota headers belong to the other client's answer, too.
            reservation.lost()
            if response.connection is not None:
                response.connection.discard()
        except DecodeError as decode_error:
            error = decode_error
            reservation.learn(response.headers, self.loop.time())
        else:
            reservation.learn(response.headers, self.loop.time())
            return value
        # The server may echo the token. A traceback may show locals: bind the token to no local name
        # here, and drop the decoder's frames.
        error.args = (masked(error.reason, (token.value,)),)
        error.body = masked_bytes(error.body, (token.value,))
        if contains_secret(repr(error.value), (token.value,)):
            error.value = None
        raise error.with_traceback(None)

    def request(self, token: Token, extra: Mapping[str, str]) -> Request:
        call = self.call
        headers = token.headers_with_body if call.body else token.headers
        if headers is None:
            headers = self.headers_with(token)
        if extra:
            headers = Headers({**extra, **headers})
        return Request(
            call.method, call.url + call.query, headers, call.body, self.dispatcher.timeouts
        )

    def headers_with(self, token: Token) -> Headers:
        fields = {
            "accept": "application/json",
            "accept-encoding": "gzip",
            "authorization": token.authorization,
            "user-agent": self.dispatcher.user_agent,
        }
        if self.call.body:
            fields["content-type"] = "application/json"
        headers = Headers(fields)
        # Cache from the second request on: most tenants with their own login send only one.
        if token.accepted:
            if self.call.body:
                token.headers_with_body = headers
            else:
                token.headers = headers
        return headers

    def pay_for_retry(self, budget: RetryBudget, error: RingMeError, tries: int) -> int:
        if tries >= self.dispatcher.retry.attempts:
            raise error
        cost = budget.withdraw(error)
        if cost is None:
            raise error
        return cost

    async def back_off(self, error: RingMeError, tries: int) -> None:
        delay = self.dispatcher.retry.delay(error, retry=tries, now=self.dispatcher.wall_clock)
        self.check_wait_fits_deadline(delay, "the next attempt", error)
        self.trace.retry_scheduled(delay, error)
        await asyncio.sleep(delay)

    def check_wait_fits_deadline(self, wait: float, until: str, error: RingMeError) -> None:
        if self.loop.time() + wait > self.deadline.when:
            raise _deadline_exceeded(
                self.call, f"{until}, in {wait:.1f} s, is beyond the deadline"
            ) from error


def _deadline_exceeded(call: Call[T], reason: str) -> DeadlineExceeded:
    return DeadlineExceeded(f"{reason} (timeout={call.timeout:g} s)")
