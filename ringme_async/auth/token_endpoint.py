"""The token endpoint: requests tokens from a host, with its login limit and with retries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping

from attrs import field, frozen

from ringme_async.auth.login_throttle import LoginLimit, LoginThrottles
from ringme_async.auth.token import Token
from ringme_async.auth.token_response import LoginForm, Refused, read_answer
from ringme_async.errors import (
    Busy,
    DecodeError,
    RingMeError,
    ServerError,
    TransportError,
    TransportTimeout,
    copy_error,
)
from ringme_async.events import Observers, TokenFetched
from ringme_async.policies.retry import RetryPolicy
from ringme_async.policies.retry_budget import RetryBudget, RetryBudgets
from ringme_async.transports import Headers, Request, Timeouts, Transport
from ringme_async.version import USER_AGENT

__all__ = ["TokenEndpoint", "TokenHost"]

TOKEN_PATH = "/oauth/token"
_HEADERS = Headers(
    {
        "accept": "application/json",
        "accept-encoding": "gzip",
        "content-type": "application/x-www-form-urlencoded",
        "user-agent": USER_AGENT,
    }
)
_GARBLED = DecodeError("the answer to a login is no JSON object", garbled=True)

OnDelay = Callable[[RingMeError, float], None]
"""Called after a failed attempt, with its error and the seconds until the next attempt."""

OnSend = Callable[[], None]
"""Called before each request."""


def _ignore_delay(_error: RingMeError, _pause: float) -> None:
    pass


def _ignore_send() -> None:
    pass


class TokenEndpoint:
    """Requests tokens from hosts with ``POST /oauth/token`` (API page, section 2).

    Each attempt waits for the host's ``LoginLimit``. Then it has ``timeouts.attempt``, without the
    time in that queue. It retries transport errors, 408, 429, 5xx, and a 2xx without a JSON object
    (a proxy's page, a truncated body). It does not retry a refusal by the server: an OAuth
    error, any other 4xx, JSON without a bearer token. It does not follow a redirect, which could
    send the secret to another host.

    It respects the host's ``Retry-After``, up to a day. ``on_delay`` is called with that delay, so
    that a caller that cannot wait fails at once.

    Args:
        transport: The transport for the requests.
        login_limit: The limit on logins at each host. Default 18 a second and 6 at once.
        retry: The retry policy. Default ``RetryPolicy()``.
        budgets: The retry budgets. Default new ones.
        timeouts: The time-outs of each attempt. Default ``Timeouts()``.
        observers: Called with an event for each new token.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        login_limit: LoginLimit | None = None,
        retry: RetryPolicy | None = None,
        budgets: RetryBudgets | None = None,
        timeouts: Timeouts | None = None,
        observers: Observers | None = None,
    ) -> None:
        self._transport = transport
        self._throttles = LoginThrottles(login_limit or LoginLimit())
        self._retry = retry or RetryPolicy()
        self._budgets = budgets or RetryBudgets()
        self._timeouts = timeouts or Timeouts()
        self._observers = observers or Observers()

    def at(
        self, origin: str, on_delay: OnDelay = _ignore_delay, on_send: OnSend = _ignore_send
    ) -> TokenHost:
        """Give a view of one host, for an ``Auth``.

        Args:
            origin: Scheme, host and port.
            on_delay: Called after each failed attempt that is retried.
            on_send: Called before each request.
        """
        return TokenHost(origin, self, on_delay, on_send)

    def post(
        self,
        origin: str,
        form: Mapping[str, str],
        on_delay: OnDelay = _ignore_delay,
        on_send: OnSend = _ignore_send,
    ) -> Coroutine[object, object, Token]:
        """Send a form to a host's token endpoint; to be awaited.

        Args:
            origin: Scheme, host and port.
            form: The parameters. All but ``grant_type``, ``client_id``, ``scope``, ``username``
                and ``redirect_uri`` count as secrets.
            on_delay: Called after each failed attempt that is retried.
            on_send: Called before each request.

        Raises:
            TokenError: The host refused, or its answer has no usable token.
            ApiError: 408, 429 or 5xx, at the last attempt.
            TransportError: No answer, at the last attempt.
        """
        # Not async, so that no frame of a traceback holds the form outside a LoginForm.
        return self._post(origin, LoginForm(form), on_delay, on_send)

    async def _post(
        self, origin: str, form: LoginForm, on_delay: OnDelay, on_send: OnSend
    ) -> Token:
        budget = self._budgets.of(origin)
        cost: int | None = None
        unused = 0
        attempts = 0
        try:
            while True:
                async with self._throttles.of(origin):
                    unused = 0
                    on_send()
                    outcome = await self._attempt(origin, form)
                if isinstance(outcome, Token):
                    budget.succeeded(cost)
                    return outcome
                attempts += 1
                outcome.error.attempts = attempts
                pause = self._pause_after(attempts, outcome)
                cost = None if pause is None else _pay_for_retry(budget, outcome.error)
                if pause is None or cost is None:
                    raise outcome.error
                unused = cost
                on_delay(outcome.error, pause)
                await asyncio.sleep(pause)
        finally:
            # The login may be cancelled in the pause or in the queue of the throttle.
            budget.give_back(unused)

    async def _attempt(self, origin: str, form: LoginForm) -> Token | Refused:
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        request = Request("POST", origin + TOKEN_PATH, _HEADERS, form.encode(), self._timeouts)
        try:
            async with asyncio.timeout(self._timeouts.attempt):
                response = await self._transport.send(request)
        except TimeoutError:
            text = f"no answer to the login within {self._timeouts.attempt:g} s"
            return Refused(TransportTimeout(text))
        except TransportError as error:
            # A copy: the frames in its traceback and its chain hold the form.
            return Refused(copy_error(error))
        outcome = read_answer(response, form, host=_host(origin), sent_at=sent_at)
        if isinstance(outcome, Token):
            self._observers(TokenFetched(_host(origin), form.grant, loop.time() - sent_at))
        return outcome

    def _pause_after(self, attempts: int, refused: Refused) -> float | None:
        error = _GARBLED if refused.garbled else refused.error
        # The policy retries only some 5xx of a call; a login may retry all of them.
        may_retry = isinstance(error, ServerError) or self._retry.retryable(error, idempotent=True)
        if not may_retry or attempts >= self._retry.attempts:
            return None
        return self._retry.delay(error, retry=attempts)


@frozen
class TokenHost:
    """One host's token endpoint, for an ``Auth``.

    Args:
        origin: Scheme, host and port.
        endpoint: Sends the requests.
        on_delay: Called after each failed attempt that is retried.
        on_send: Called before each request.
    """

    origin: str
    _endpoint: TokenEndpoint = field(repr=False)
    _on_delay: OnDelay = field(default=_ignore_delay, repr=False, eq=False)
    _on_send: OnSend = field(default=_ignore_send, repr=False, eq=False)

    def post(self, form: Mapping[str, str]) -> Coroutine[object, object, Token]:
        """Send a form to this host's token endpoint; to be awaited.

        Args:
            form: The parameters. All but ``grant_type``, ``client_id``, ``scope``, ``username``
                and ``redirect_uri`` count as secrets.

        Raises:
            TokenError: The host refused, or its answer has no usable token.
            ApiError: 408, 429 or 5xx, at the last attempt.
            TransportError: No answer, at the last attempt.
        """
        return self._endpoint.post(self.origin, form, self._on_delay, self._on_send)


def _pay_for_retry(budget: RetryBudget, error: RingMeError) -> int | None:
    """Withdraw a retry from the budget; free after ``Busy``. None if the budget is empty."""
    return 0 if isinstance(error, Busy) else budget.withdraw(error)


def _host(origin: str) -> str:
    return origin.partition("://")[2]
