"""RingMe: builds the parts of the SDK and owns their lifetime."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self, TypedDict, Unpack, cast

from ringme_async._internal.frozen_json import JSON
from ringme_async._internal.validation import instance_of, kind_of, refusing
from ringme_async.auth import Auth, LoginLimit, TokenEndpoint, TokenStore
from ringme_async.calls.call import OnQuota
from ringme_async.calls.dispatcher import Dispatcher
from ringme_async.calls.lifetime import Lifetime
from ringme_async.environment import auth_in, base_url_in
from ringme_async.errors import ApiError, InvalidRequest
from ringme_async.events import Observer, Observers
from ringme_async.policies.quota_book import QuotaBook
from ringme_async.policies.retry import RetryPolicy
from ringme_async.policies.retry_budget import RetryBudgets
from ringme_async.resources.clients.resource import Clients
from ringme_async.resources.operation import checked_on_quota, checked_timeout
from ringme_async.resources.raw import advise_on_path, raw_call
from ringme_async.resources.target import TargetResolver, UrlForm
from ringme_async.tenant import Tenant, origin_of
from ringme_async.transports import Releasable, Response, Timeouts, Transport
from ringme_async.version import USER_AGENT


class RingMeOptions(TypedDict, total=False):
    """The options of ``RingMe`` beside ``base_url`` and ``auth``."""

    transport: Transport | None
    timeout: float
    timeouts: Timeouts | None
    retry: RetryPolicy | None
    on_quota: OnQuota
    login_limit: LoginLimit | None
    tokens: TokenStore | None
    url_form: UrlForm
    observers: Iterable[Observer]


class RingMe:
    """The API of one provider, or of several, for one event loop.

    Use it as ``async with RingMe(...) as ringme``, or call ``aclose`` when done.

    Args:
        base_url: The provider's scheme and host, such as ``"https://pbx.example.com"``. It may be
            None if every tenant has its own.
        auth: The credentials for tenants that have none of their own. It may be None if every
            tenant has its own.
        transport: Sends the requests; default a new ``AiohttpTransport``. ``aclose`` closes it.
        timeout: Seconds for each whole call: token, quota, every attempt, every sleep and the
            body. Default 60.
        timeouts: Seconds for the connection and for each attempt, within ``timeout``.
        retry: How often and how soon to repeat a failed request.
        on_quota: ``"raise"`` ``RateLimited`` when the hourly limit is used up, or ``"wait"`` for
            its reset within the deadline. Default ``"raise"``.
        login_limit: The rate limit of logins for each host; default slightly below the API's.
        tokens: The token store; default in memory. ``aclose`` closes it.
        url_form: Which of the API's two paths to use: ``"client"`` for
            ``/client/{id}/client/``, or ``"client_info"`` for ``/client/client_info/{id}/``.
        observers: Functions that receive each event.

    Raises:
        InvalidRequest: An argument is malformed.
    """

    @refusing
    def __init__(
        self,
        base_url: str | None = None,
        *,
        auth: Auth | None = None,
        transport: Transport | None = None,
        timeout: float = 60.0,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        on_quota: OnQuota = "raise",
        login_limit: LoginLimit | None = None,
        tokens: TokenStore | None = None,
        url_form: UrlForm = "client",
        observers: Iterable[Observer] = (),
    ) -> None:
        self._timeout = checked_timeout(timeout)
        self._on_quota: OnQuota = checked_on_quota(on_quota)
        self._targets = TargetResolver.from_defaults(base_url, auth, url_form)
        self._transport = (
            _default_transport() if transport is None else _checked_transport(transport)
        )
        self._tokens = instance_of(TokenStore, "tokens", tokens)
        self._lifetime = Lifetime(repr(self), _release_function(self._transport))
        self._dispatcher = self._make_dispatcher(
            instance_of(Timeouts, "timeouts", timeouts),
            instance_of(RetryPolicy, "retry", retry),
            instance_of(LoginLimit, "login_limit", login_limit),
            Observers(_checked_observers(observers)),
        )
        self._clients = Clients(
            self._dispatcher, self._targets, timeout=self._timeout, on_quota=self._on_quota
        )

    @classmethod
    @refusing
    def from_env(
        cls, environ: Mapping[str, str] | None = None, **options: Unpack[RingMeOptions]
    ) -> Self:
        """Make a ``RingMe`` from environment variables.

        ``RINGME_BASE_URL`` names the host. ``RINGME_APP_ID`` and ``RINGME_APP_SECRET`` are the
        credentials, with ``RINGME_USERNAME`` and ``RINGME_PASSWORD`` for the password grant.
        ``RINGME_TOKEN`` replaces all four.

        Args:
            environ: The variables; default the process environment.
            options: The options of ``RingMe`` beside ``base_url`` and ``auth``.

        Raises:
            InvalidRequest: A variable is missing or malformed (the message names it), or an option
                is malformed.
        """
        variables = os.environ if environ is None else environ
        origin, auth = origin_of(base_url_in(variables)), auth_in(variables)
        # A traceback with locals must not show the secrets among them.
        del environ, variables
        return cls(origin, auth=auth, **options)

    @property
    def clients(self) -> Clients:
        """The resource "Client"."""
        return self._clients

    async def request(
        self,
        method: str,
        path: str,
        *,
        idempotent: bool = False,
        params: Mapping[str, str | int] | None = None,
        json: JSON = None,
        tenant: Tenant | None = None,
        timeout: float | None = None,
        on_quota: OnQuota | None = None,
    ) -> Response:
        """Call any other resource, with the same auth, quota, retries and deadline.

        Args:
            method: ``"GET"``, ``"POST"``, and so on.
            path: The path after ``/api/ver1.0``, such as ``"/client/@me/extension/"``.
            idempotent: True if the server may carry the call out twice without harm. Default False:
                only a call that was surely not carried out is repeated.
            params: The query.
            json: The body; None sends none.
            tenant: The tenant whose credentials and host to use; default the ``RingMe``'s.
            timeout: Seconds for the whole call; default that of the ``RingMe``, 60.
            on_quota: ``"raise"`` or ``"wait"``; default that of the ``RingMe``.

        Returns:
            The response; its status is 2xx.

        Raises:
            InvalidRequest: The method, path or body is malformed, or the credentials or the host
                are missing.
            RingMeError: As ``clients.get``.
        """
        call = raw_call(
            method,
            path,
            self._targets.key_of(tenant),
            params=params,
            body=json,
            idempotent=idempotent,
            timeout=self._timeout if timeout is None else checked_timeout(timeout),
            on_quota=self._on_quota if on_quota is None else checked_on_quota(on_quota),
        )
        try:
            return await self._dispatcher.run(call)
        except ApiError as error:
            advise_on_path(error, path)
            raise

    async def aclose(self) -> None:
        """End all calls, forget all tokens and close the transport.

        Calls in flight and later calls raise ``RingMeClosed``. Closing again does nothing.

        If a refresh token is being exchanged, this waits for the response and saves the new token,
        even if it is cancelled. It waits for ``Timeouts.attempt`` seconds, a minute at most.

        Raises:
            InvalidRequest: It belongs to another event loop or process. Nothing is closed.
        """
        self._lifetime.close()
        try:
            await self._lifetime.ended()
        finally:
            try:
                await self._tokens.aclose()
            finally:
                await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        # A traceback shows objects whose constructor raised: they have no targets yet.
        targets = getattr(self, "_targets", None)
        return f"<RingMe {getattr(targets, 'origin', None) or 'of many hosts'}>"

    def _make_dispatcher(
        self,
        timeouts: Timeouts,
        retry: RetryPolicy,
        login_limit: LoginLimit,
        observers: Observers,
    ) -> Dispatcher:
        budgets = RetryBudgets()
        endpoint = TokenEndpoint(
            self._transport,
            login_limit=login_limit,
            retry=retry,
            budgets=budgets,
            timeouts=timeouts,
            observers=observers,
        )
        return Dispatcher(
            transport=self._transport,
            tokens=self._tokens,
            endpoint=endpoint,
            quotas=QuotaBook(),
            retry=retry,
            timeouts=timeouts,
            observers=observers,
            user_agent=USER_AGENT,
            budgets=budgets,
            lifetime=self._lifetime,
        )


def _default_transport() -> Transport:
    # aiohttp takes longer to load than the rest of the SDK.
    from ringme_async.transports.aiohttp import (  # noqa: PLC0415 - other transports need no aiohttp
        AiohttpTransport,
    )

    return AiohttpTransport()


def _checked_transport(transport: Transport) -> Transport:
    sends = callable(getattr(transport, "send", None))
    if isinstance(transport, type) or not (sends and callable(getattr(transport, "aclose", None))):
        raise InvalidRequest(
            f"transport must be a Transport, such as AiohttpTransport(), not {kind_of(transport)}"
        )
    return transport


def _checked_observers(observers: Iterable[Observer]) -> tuple[Observer, ...]:
    hint = "observers must be a list of functions that take an event"
    if not isinstance(observers, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequest(f"{hint}, not {kind_of(observers)}")
    checked = tuple(observers)
    for observer in checked:
        if not callable(observer):  # pyright: ignore[reportUnnecessaryComparison]
            raise InvalidRequest(f"{hint}; {kind_of(observer)} is none")
    return checked


def _release_function(transport: Transport) -> Callable[[], None]:
    # Look at the class: an instance of a mock or a proxy seems to have every method.
    if callable(getattr(type(transport), "let_go", None)):
        return cast("Releasable", transport).let_go
    return _nothing


def _nothing() -> None:
    pass
