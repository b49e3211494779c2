"""FakeRingMe: a RingMe in memory that keeps state and fails on demand."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from random import Random
from ssl import SSLContext
from types import MappingProxyType
from typing import TYPE_CHECKING

from ringme_async.errors import ConnectError, ResponseLost
from ringme_async.testing.fake.accounts import Accounts, Records, TenantLike
from ringme_async.testing.fake.client_api import ClientAPI
from ringme_async.testing.fake.client_schema import JSON
from ringme_async.testing.fake.fault_schedule import Faults
from ringme_async.testing.fake.in_memory import delay_in_memory, deliver
from ringme_async.testing.fake.oauth_api import OAuthAPI
from ringme_async.testing.fake.openapi import Description
from ringme_async.testing.fake.rate_limits import RateLimits, RequestCountsByApp
from ringme_async.testing.fake.request_log import (
    Journal,
    RequestLog,
    Violation,
    check_not_updated,
    check_quiet,
    check_updated,
)
from ringme_async.testing.fake.server import FakeServer, Latency, WallClock
from ringme_async.testing.fake.setup import SetUp
from ringme_async.testing.fake.tokens import LoginLimits, OAuthSettings, TokenRegistry
from ringme_async.transports import Request, Response

if TYPE_CHECKING:
    from ringme_async.testing.fake.http_server import LoopbackServer


class FakeRingMe(SetUp):
    """A RingMe in memory, true to the API page, for tests.

    Pass it to an ``InMemoryTransport`` as the handler, or put it on a loopback port with
    ``serve``. Both work at once and share one state. All durations follow the running loop's clock.

    A request is carried out when it arrives. Latency and faults delay the answer only.

    Args:
        seed: The seed of everything random: App IDs, secrets, tokens, latency.
        ceiling: The default of ``add_application``: requests an hour of an application. The default
            of ``add_dealer`` is 1,000,000.
        quota_window: The length in seconds of the limit's "hour".
        oauth: How the token endpoint behaves.
        latency: Seconds that every answer takes, or a function that draws them from a ``Random``.
        require_gzip: Refuse a request without ``Accept-Encoding: gzip`` with 406? If not, it is
            recorded as a violation only.
        later_revision: Do records have the four fields of the page's later revision?
        extension_len_as_string: Send ``extension_len`` as a string, as the page's table says?
        one_write_at_a_time: Refuse a PUT with a 429 while another one for the same client runs?
            That 429 is not about the hourly limit.
        journal: How many requests are remembered; None for all, 0 for none.
        wall_clock: The ``Date`` of the first answer; default the machine's clock.

    Attributes:
        base_url: A base URL for use in memory, where any host works.
        oauth: How the token endpoint behaves; can be changed at any time.
        faults: The faults that requests meet.
        records: The records by client id, in wire form, as they are now.
        engine: Carries requests out, for servers of your own.
        books: Requests served and refused for each App ID, in all and by window.
    """

    base_url = "https://ringme.test"

    def __init__(
        self,
        *,
        seed: int = 0,
        ceiling: int = 10_000,
        quota_window: float = 3600.0,
        oauth: OAuthSettings | None = None,
        latency: Latency = 0.0,
        require_gzip: bool = True,
        later_revision: bool = False,
        extension_len_as_string: bool = False,
        one_write_at_a_time: bool = False,
        journal: int | None = 100_000,
        wall_clock: datetime | None = None,
    ) -> None:
        settings = OAuthSettings() if oauth is None else oauth
        accounts = Accounts(
            later_revision=later_revision, extension_len_as_string=extension_len_as_string
        )
        token_registry = TokenRegistry(seed)
        rate_limits = RateLimits(quota_window, ceiling)
        clock = WallClock(wall_clock)
        self._log = RequestLog(deque(maxlen=journal))
        api = ClientAPI(
            accounts,
            token_registry,
            rate_limits,
            self._log,
            clock.date,
            later_revision,
            one_write_at_a_time,
        )
        super().__init__(
            seed=seed,
            accounts=accounts,
            token_registry=token_registry,
            rate_limits=rate_limits,
            api=api,
            oauth=settings,
        )
        self.faults: Faults = Faults()
        self.records: Records = Records(accounts.tenants)
        self.books: RequestCountsByApp = rate_limits.books
        self.engine: FakeServer = FakeServer(
            api=api,
            oauth=OAuthAPI(settings, accounts, token_registry, clock.date),
            login_limits=LoginLimits(settings),
            faults=self.faults,
            log=self._log,
            clock=clock,
            latency=latency,
            require_gzip=require_gzip,
            random=Random(f"latency {seed}"),
        )

    async def __call__(self, request: Request) -> Response:
        """Answer one request as a transport does.

        Raises:
            TransportError: A fault leaves no usable answer.
        """
        if self.engine.is_down:
            raise ConnectError("no connection: the fake is down", kind="refused")
        outages = self.engine.outages
        exchange = self.engine.receive(request)
        try:
            await self.engine.wait_before_answer(delay_in_memory(exchange))
            if self.engine.outages != outages:
                raise ResponseLost("the fake went down before the answer")
            return deliver(exchange)
        finally:
            self.engine.release(exchange)

    def serve(
        self, *, host: str = "127.0.0.1", port: int = 0, ssl_context: SSLContext | None = None
    ) -> LoopbackServer:
        """Serve the fake on a socket: ``async with fake.serve() as url``.

        Args:
            host: The address to listen on.
            port: The port; 0 for a free one.
            ssl_context: For https; default plain http.
        """
        # A fake in memory must not load the HTTP server.
        from ringme_async.testing.fake.http_server import LoopbackServer  # noqa: PLC0415

        return LoopbackServer(
            self.engine, self.openapi, host=host, port=port, ssl_context=ssl_context
        )

    def openapi(self, base_url: str = base_url) -> Mapping[str, JSON]:
        """Describe the API in OpenAPI 3.1, as the fake's settings have it.

        A fake on a socket shows this at ``/openapi.json``.

        Args:
            base_url: Where the API is: scheme, host and port.
        """
        return Description(self.engine.api.later_revision, self.require_gzip).at(base_url)

    @asynccontextmanager
    async def outage(self) -> AsyncGenerator[None, None]:
        """Refuse all connections while the block lasts: ``async with fake.outage()``.

        Answers on their way when it begins are lost.
        """
        await self.engine.go_down()
        try:
            yield
        finally:
            await self.engine.come_up()

    @property
    def latency(self) -> Latency:
        """Seconds that every answer takes, or a function that draws them; can be changed."""
        return self.engine.latency

    @latency.setter
    def latency(self, latency: Latency) -> None:
        self.engine.latency = latency

    @property
    def require_gzip(self) -> bool:
        """Is a request refused that does not accept gzip? Can be changed."""
        return self.engine.require_gzip

    @require_gzip.setter
    def require_gzip(self, require_gzip: bool) -> None:
        self.engine.require_gzip = require_gzip

    @property
    def quota_window(self) -> float:
        """The length in seconds of the limit's "hour"; a change holds from the next window on."""
        return self._rate_limits.window

    @quota_window.setter
    def quota_window(self, seconds: float) -> None:
        self._rate_limits.window = seconds

    @property
    def requests(self) -> Journal:
        """The remembered requests, oldest first; ``.total`` counts all there were."""
        return Journal(self._log.entries, self._log.total)

    @property
    def logins(self) -> int:
        """How many requests the token endpoint received."""
        return self.engine.logins

    @property
    def violations(self) -> Sequence[Violation]:
        """The broken rules of the API; the first 1,000 are kept."""
        return tuple(self._log.violations)

    @property
    def answers(self) -> Mapping[int, int]:
        """How often each code was answered; 0 counts requests lost before they were handled."""
        return MappingProxyType(self._log.answers)

    @property
    def per_second(self) -> Mapping[int, int]:
        """How many requests arrived in each second of the loop's clock."""
        return MappingProxyType(self._log.per_second)

    @property
    def in_flight(self) -> int:
        """How many requests are in flight now."""
        return self._log.in_flight

    @property
    def most_in_flight(self) -> int:
        """The highest number of requests in flight."""
        return self._log.most_in_flight

    @property
    def most_logins_in_flight(self) -> int:
        """The highest number of logins in flight, refused ones included."""
        return self.engine.login_limits.most_in_flight

    @property
    def most_logins_per_second(self) -> int:
        """The highest number of logins in a sliding second, refused ones included."""
        return self.engine.login_limits.most_per_second

    def assert_updated(self, tenant: TenantLike, **fields: JSON) -> None:
        """Check that the last successful change of each field has the given value.

        Args:
            tenant: The client.
            fields: Fields and their values, in wire form; none checks only that there was a change.

        Raises:
            AssertionError: It has not; the message lists what was sent instead.
        """
        tenant_id = tenant if isinstance(tenant, int) else tenant.id
        check_updated(self._remembered(tenant_id), tenant_id, fields)

    def assert_not_updated(self, tenant: TenantLike) -> None:
        """Check that no change of a client was applied.

        Raises:
            AssertionError: One was; the message lists what was sent.
        """
        tenant_id = tenant if isinstance(tenant, int) else tenant.id
        check_not_updated(self._remembered(tenant_id), tenant_id)

    def assert_quiet(self) -> None:
        """Check that no request was refused or broke a limit, faults apart.

        Raises:
            AssertionError: One was or did; the message lists them.
        """
        check_quiet(self._log)

    def _remembered(self, tenant_id: int) -> Journal:
        if self._log.entries.maxlen == 0:
            raise RuntimeError("this fake remembers no requests: FakeRingMe(journal=0)")
        return self.requests.of(tenant_id).where(method="PUT")
