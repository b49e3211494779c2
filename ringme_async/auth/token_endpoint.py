"""The token endpoint: asks a host for a token, at its pace and as often as makes sense."""

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
"""Told what an attempt ended with, and in how many seconds the next one comes."""

OnSend = Callable[[], None]
"""Told that a request is about to leave."""


def _nobody(_error: RingMeError, _pause: float) -> None:
    pass


def _nobody_at_all() -> None:
    pass


class TokenEndpoint:
    """Asks hosts for tokens by ``POST /oauth/token`` (API page, section 2).

    Every attempt passes the host's ``LoginLimit`` and then has ``timeouts.attempt`` to itself; time
    in the queue does not count. Failures of the way, 408, 429, 5xx and answers of 200 that are no
    JSON object (a proxy's page, a body cut short) are tried again. The word of the server itself is
    not: an OAuth error, any other 4xx, JSON without a bearer token. A redirect is refused, because
    following it would hand the secret to another place.

    A wait that the host asks for (``Retry-After``, up to a day) is kept: who cannot wait so long is
    told by ``on_delay``, and leaves.

    Args:
        transport: What sends the requests.
        login_limit: How many logins a host takes. Default 18 a second and 6 at once.
        retry: How often and after which waits to try again. Default ``RetryPolicy()``.
        budgets: What retries are paid from. Default budgets of its own.
        timeouts: For each attempt. Default ``Timeouts()``.
        observers: Told of every token that comes.
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
        self, origin: str, on_delay: OnDelay = _nobody, on_send: OnSend = _nobody_at_all
    ) -> TokenHost:
        """Give what an ``Auth`` may see of this: one host.

        Args:
            origin: Scheme, host and port.
            on_delay: Whom to tell of failures that are tried again.
            on_send: Whom to tell that a request leaves.
        """
        return TokenHost(origin, self, on_delay, on_send)

    def post(
        self,
        origin: str,
        form: Mapping[str, str],
        on_delay: OnDelay = _nobody,
        on_send: OnSend = _nobody_at_all,
    ) -> Coroutine[object, object, Token]:
        """Send a form to a host's token endpoint; to be awaited.

        Args:
            origin: Scheme, host and port.
            form: The parameters. All but ``grant_type``, ``client_id``, ``scope``, ``username``
                and ``redirect_uri`` are taken for secrets.
            on_delay: Told of each failure that is tried again, and in how many seconds that is.
            on_send: Told of each request that leaves.

        Raises:
            TokenError: The host refused, or its answer has no usable token.
            ApiError: 408, 429 or 5xx, to the last attempt.
            TransportError: No answer, to the last attempt.
        """
        # Not async itself, so that no frame that an error passes through holds the bare form.
        return self._post(origin, LoginForm(form), on_delay, on_send)

    async def _post(
        self, origin: str, form: LoginForm, on_delay: OnDelay, on_send: OnSend
    ) -> Token:
        budget = self._budgets.of(origin)
        spent: int | None = None
        unsent = 0
        attempts = 0
        try:
            while True:
                async with self._throttles.of(origin):
                    unsent = 0
                    on_send()
                    outcome = await self._attempt(origin, form)
                if isinstance(outcome, Token):
                    budget.succeeded(spent)
                    return outcome
                attempts += 1
                outcome.error.attempts = attempts
                pause = self._pause_after(attempts, outcome)
                spent = None if pause is None else _price(budget, outcome.error)
                if pause is None or spent is None:
                    raise outcome.error
                unsent = spent
                on_delay(outcome.error, pause)
                await asyncio.sleep(pause)
        finally:
            # The login may be cancelled in the pause or in the queue of its limit.
            budget.give_back(unsent)

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
            # Its chain and traceback lead to where the form was sent from.
            return Refused(copy_error(error))
        outcome = read_answer(response, form, host=_host(origin), sent_at=sent_at)
        if isinstance(outcome, Token):
            self._observers(TokenFetched(_host(origin), form.grant, loop.time() - sent_at))
        return outcome

    def _pause_after(self, attempts: int, refused: Refused) -> float | None:
        error = _GARBLED if refused.garbled else refused.error
        # The policy knows which 5xx a call may repeat; a login may repeat them all.
        again = isinstance(error, ServerError) or self._retry.retryable(error, idempotent=True)
        if not again or attempts >= self._retry.attempts:
            return None
        return self._retry.delay(error, retry=attempts)


@frozen
class TokenHost:
    """One host, as an ``Auth`` sees it.

    Args:
        origin: Scheme, host and port.
        endpoint: The way to its token endpoint.
        on_delay: Whom to tell of failures that are tried again.
        on_send: Whom to tell that a request leaves.
    """

    origin: str
    _endpoint: TokenEndpoint = field(repr=False)
    _on_delay: OnDelay = field(default=_nobody, repr=False, eq=False)
    _on_send: OnSend = field(default=_nobody_at_all, repr=False, eq=False)

    def post(self, form: Mapping[str, str]) -> Coroutine[object, object, Token]:
        """Send a form to this host's token endpoint; to be awaited.

        Args:
            form: The parameters. All but ``grant_type``, ``client_id``, ``scope``, ``username``
                and ``redirect_uri`` are taken for secrets.

        Raises:
            TokenError: The host refused, or its answer has no usable token.
            ApiError: 408, 429 or 5xx, to the last attempt.
            TransportError: No answer, to the last attempt.
        """
        return self._endpoint.post(self.origin, form, self._on_delay, self._on_send)


def _price(budget: RetryBudget, error: RingMeError) -> int | None:
    """Pay for a retry; where logins are too many at once, it is free."""
    return 0 if isinstance(error, Busy) else budget.withdraw(error)


def _host(origin: str) -> str:
    return origin.partition("://")[2]
