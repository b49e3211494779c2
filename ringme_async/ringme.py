"""RingMe: puts the parts together and owns their lifetime."""

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
from ringme_async.resources.target import Addressing, UrlForm
from ringme_async.tenant import Tenant, origin_of
from ringme_async.transports import Releasable, Response, Timeouts, Transport
from ringme_async.version import USER_AGENT


class RingMeOptions(TypedDict, total=False):
    """What ``RingMe`` takes beside where and who."""

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
        base_url: The provider's scheme and host, such as ``"https://pbx.example.com"``. None is
            fine when every tenant has its own.
        auth: The credentials of calls whose tenant has none of its own. None is fine when every
            tenant has its own.
        transport: What sends the requests; default a new ``AiohttpTransport``. It is closed with
            the ``RingMe``.
        timeout: Seconds for each call as a whole: token, quota, every attempt, every sleep and the
            body. Default 60.
        timeouts: Seconds for the connection and for each attempt, beneath ``timeout``.
        retry: How often and how soon to try again.
        on_quota: ``"raise"`` ``RateLimited`` when the hourly limit is used up, which is the
            default, or ``"wait"`` for its reset inside the deadline.
        login_limit: How fast tokens may be fetched from each host; default what the API allows,
            with a little air.
        tokens: Where tokens are kept; default in memory. It is closed with the ``RingMe``.
        url_form: Which of the API's two paths to use: ``"client"`` for
            ``/client/{id}/client/``, or ``"client_info"`` for ``/client/client_info/{id}/``.
        observers: Whom to tell what happens.

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
        self._addressing = Addressing.by(base_url, auth, url_form)
        self._transport = _default_transport() if transport is None else _checked(transport)
        self._tokens = instance_of(TokenStore, "tokens", tokens)
        self._lifetime = Lifetime(repr(self), _way_to_let_go_of(self._transport))
        self._dispatcher = self._put_together(
            instance_of(Timeouts, "timeouts", timeouts),
            instance_of(RetryPolicy, "retry", retry),
            instance_of(LoginLimit, "login_limit", login_limit),
            Observers(_checked_observers(observers)),
        )
        self._clients = Clients(
            self._dispatcher, self._addressing, timeout=self._timeout, on_quota=self._on_quota
        )

    @classmethod
    @refusing
    def from_env(
        cls, environ: Mapping[str, str] | None = None, **options: Unpack[RingMeOptions]
    ) -> Self:
        """Make one from the environment.

        ``RINGME_BASE_URL`` says where; ``RINGME_APP_ID`` and ``RINGME_APP_SECRET``, with
        ``RINGME_USERNAME`` and ``RINGME_PASSWORD`` for an application of the password kind, or
        ``RINGME_TOKEN``, say with which credentials.

        Args:
            environ: The variables; default those of the process.
            options: What ``RingMe`` takes beside ``base_url`` and ``auth``.

        Raises:
            InvalidRequest: A variable is missing or malformed, and the message names it; or an
                option is malformed.
        """
        variables = os.environ if environ is None else environ
        origin, auth = origin_of(base_url_in(variables)), auth_in(variables)
        # Should anything else be raised from here, its traceback must not show them.
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
        """Call any other resource of the API, with the same auth, quota, retries and deadline.

        Args:
            method: ``"GET"``, ``"POST"``, and so on.
            path: What follows ``/api/ver1.0``, such as ``"/client/@me/extension/"``.
            idempotent: May the call be repeated when it is not known whether it was carried out?
                Default no: then it is repeated only if it surely was not.
            params: The query.
            json: The body; None sends none.
            tenant: Whose credentials and host to use; default those of the ``RingMe``.
            timeout: Seconds for the call as a whole; default that of the ``RingMe``, 60.
            on_quota: ``"raise"`` or ``"wait"``; default that of the ``RingMe``.

        Returns:
            The answer, whose status is 2xx.

        Raises:
            InvalidRequest: The method, path or body is malformed, or the credentials or the host
                are missing.
            RingMeError: As ``clients.get``.
        """
        call = raw_call(
            method,
            path,
            self._addressing.key_of(tenant),
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
        """End what is under way, forget all tokens and close the transport.

        Calls under way, and later ones, end in a ``RingMeClosed``. Closing again does nothing.

        If a refresh token is being traded in, this waits for the answer and saves it, even if this
        is itself cancelled: until the request's own time-out (``Timeouts.attempt``), and for a
        minute at most.

        Raises:
            InvalidRequest: It belongs to another event loop or process; nothing is closed.
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
        # One that was refused has come to no address.
        addressing = getattr(self, "_addressing", None)
        return f"<RingMe {getattr(addressing, 'origin', None) or 'of many hosts'}>"

    def _put_together(
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
    # It takes longer to load than all the rest.
    from ringme_async.transports.aiohttp import (  # noqa: PLC0415 - for those alone who use it
        AiohttpTransport,
    )

    return AiohttpTransport()


def _checked(transport: Transport) -> Transport:
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
    each = tuple(observers)
    for observer in each:
        if not callable(observer):  # pyright: ignore[reportUnnecessaryComparison]
            raise InvalidRequest(f"{hint}; {kind_of(observer)} is none")
    return each


def _way_to_let_go_of(transport: Transport) -> Callable[[], None]:
    # Asked of its class: a mock, or a wrapper that hands on whatever it is asked for, has anything.
    if callable(getattr(type(transport), "let_go", None)):
        return cast("Releasable", transport).let_go
    return _nothing


def _nothing() -> None:
    pass
