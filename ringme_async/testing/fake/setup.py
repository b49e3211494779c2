"""How a test sets a fake up: clients, applications, users, tokens, resources."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from random import Random

from ringme_async.testing.fake.accounts import (
    Access,
    Accounts,
    ApplicationKind,
    ApplicationLike,
    FakeApplication,
    FakeTenant,
    FakeUser,
    Reach,
    TenantLike,
    UserLike,
)
from ringme_async.testing.fake.client_api import ClientAPI, ResourceAnswer
from ringme_async.testing.fake.client_schema import JSON
from ringme_async.testing.fake.rate_limits import RateLimits
from ringme_async.testing.fake.tokens import OAuthSettings, TokenRegistry

_DEALER_CEILING = 1_000_000


class SetUp:
    """The part of ``FakeRingMe`` that adds clients, applications, users and tokens."""

    def __init__(
        self,
        *,
        seed: int,
        accounts: Accounts,
        token_registry: TokenRegistry,
        rate_limits: RateLimits,
        api: ClientAPI,
        oauth: OAuthSettings,
    ) -> None:
        self.oauth = oauth
        self._random = Random(f"directory {seed}")
        self._accounts = accounts
        self._token_registry = token_registry
        self._rate_limits = rate_limits
        self._api = api

    def add_tenant(
        self,
        id: int | None = None,
        *,
        blocked: bool = False,
        locked: Iterable[str] = (),
        **fields: JSON,
    ) -> FakeTenant:
        """Add one client: the API page's example with another id.

        Args:
            id: Its id; default the next free one, from 1.
            blocked: Does every request for it get a 403 ``user_blocked``?
            locked: Writable fields that are refused with a 403 ``access_denied``.
            fields: Fields of the record that differ from the example, in wire form.
        """
        tenant = self._accounts.add_tenant(id, fields)
        tenant.blocked = blocked
        tenant.locked = frozenset(locked)
        return tenant

    def add_tenants(
        self,
        tenants: int | Iterable[Mapping[str, JSON]],
        *,
        first_id: int | None = None,
        **fields: JSON,
    ) -> list[FakeTenant]:
        """Add many clients.

        Args:
            tenants: A number of clients, or their records. A number makes copies of the API
                page's example with distinct ids, names and prefixes. Records are served as given.
            first_id: With a number, the first id; default the next free one, from 1.
            fields: With a number, fields of all clients that differ from the example.
        """
        if isinstance(tenants, int):
            return self._accounts.add_many(tenants, first_id, fields)
        return self._accounts.add_records(tenants)

    def add_application(
        self,
        app_id: str | None = None,
        app_secret: str | None = None,
        *,
        kind: ApplicationKind = "trusted",
        tenant: TenantLike | None = None,
        ceiling: int | None = None,
        access: Access = "full",
    ) -> FakeApplication:
        """Add an application that belongs to one client (API page, section 2).

        Args:
            app_id: Its App ID; default a random one.
            app_secret: Its App Secret; default a random one.
            kind: Which grants it may use.
            tenant: The client it belongs to; default a new one.
            ceiling: Requests an hour on its client's counter; above that it is refused.
            access: What its access level allows.
        """
        applications = self._accounts.applications
        app_id = self._random.randbytes(16).hex() if app_id is None else app_id
        if app_id in applications:
            raise ValueError(f"there is an application {app_id} already")
        application = applications[app_id] = FakeApplication(
            app_id=app_id,
            app_secret=self._random.randbytes(20).hex() if app_secret is None else app_secret,
            kind=kind,
            tenant=self.add_tenant() if tenant is None else self.tenant(tenant),
            ceiling=self._rate_limits.ceiling if ceiling is None else ceiling,
            access=access,
        )
        return application

    def add_dealer(
        self,
        app_id: str | None = None,
        app_secret: str | None = None,
        *,
        tenants: Iterable[TenantLike] | None = None,
        kind: ApplicationKind = "trusted",
        ceiling: int = _DEALER_CEILING,
        access: Access = "full",
    ) -> FakeApplication:
        """Add an application that reaches many clients by id with one token.

        It belongs to a client of its own, whose counter it uses.

        Args:
            app_id: Its App ID; default a random one.
            app_secret: Its App Secret; default a random one.
            tenants: The clients it may reach; default all.
            kind: Which grants it may use.
            ceiling: How many requests an hour it may send. Default 1,000,000.
            access: What its access level allows.
        """
        reach: Reach = "all"
        if tenants is not None:
            reach = frozenset(self.tenant(tenant).id for tenant in tenants)
        dealer = self.add_application(
            app_id,
            app_secret,
            kind=kind,
            tenant=self._accounts.add_dealer_tenant(),
            ceiling=ceiling,
            access=access,
        )
        dealer.sees = reach
        return dealer

    def add_user(
        self,
        username: str,
        password: str,
        tenant: TenantLike,
        *,
        blocked: bool = False,
        access: Access = "full",
    ) -> FakeUser:
        """Add a user, for the password grant and for public applications.

        Args:
            username: The login.
            password: The password.
            tenant: The client the user belongs to.
            blocked: Does the user get a 403 ``user_blocked``?
            access: What the user's level allows.
        """
        users = self._accounts.users
        if username in users:
            raise ValueError(f"there is a user {username} already")
        user = FakeUser(username, password, self.tenant(tenant), blocked=blocked, access=access)
        users[username] = user
        return user

    def add_resource(
        self, method: str, path: str, answer: ResourceAnswer, *, status: int = 200
    ) -> None:
        """Add a resource that the fake does not know, with the same tokens and limits.

        Args:
            method: The method it answers.
            path: What follows ``/api/ver1.0``, such as ``"/client/{client_id}/extension/"``.
                Access to the client ``{client_id}`` is checked. Any other name in braces matches
                one part of a path.
            answer: The JSON of the answer, or a function from the ``Request`` to JSON or to a
                ``Response``.
            status: The code of the answer; a 204 has no body.
        """
        self._api.add_resource(method, path, answer, status)

    def tenant(self, who: TenantLike) -> FakeTenant:
        """Find a client by its id.

        Raises:
            LookupError: There is none.
        """
        if isinstance(who, FakeTenant):
            return who
        try:
            return self._accounts.tenants[who]
        except KeyError:
            raise LookupError(f"the fake has no client {who}") from None

    def application(self, which: ApplicationLike) -> FakeApplication:
        """Find an application by its App ID.

        Raises:
            LookupError: There is none.
        """
        if isinstance(which, FakeApplication):
            return which
        try:
            return self._accounts.applications[which]
        except KeyError:
            raise LookupError(f"the fake has no application {which}") from None

    def user(self, which: UserLike) -> FakeUser:
        """Find a user by the login.

        Raises:
            LookupError: There is none.
        """
        if isinstance(which, FakeUser):
            return which
        try:
            return self._accounts.users[which]
        except KeyError:
            raise LookupError(f"the fake has no user {which}") from None

    def block(self, who: TenantLike | UserLike, blocked: bool = True) -> None:
        """Block a client, by its id, or a user, by the login: 403 ``user_blocked``.

        Args:
            who: The client or the user.
            blocked: False unblocks.
        """
        if isinstance(who, int | FakeTenant):
            self.tenant(who).blocked = blocked
        else:
            self.user(who).blocked = blocked

    def issue_token(
        self,
        application: ApplicationLike,
        *,
        user: UserLike | None = None,
        lifetime: float | None = None,
    ) -> str:
        """Issue a token without a login.

        Args:
            application: The application that gets it.
            user: The user it acts for; default the application alone.
            lifetime: Seconds until it expires, from its first use if no loop runs now; default
                ``oauth.lifetime``.
        """
        return self._token_registry.issue(
            self.application(application),
            None if user is None else self.user(user),
            lifetime=self.oauth.lifetime if lifetime is None else lifetime,
            now=_now(),
        )

    def issue_refresh_token(
        self, application: ApplicationLike, *, user: UserLike | None = None
    ) -> str:
        """Issue a refresh token, as if a user had agreed."""
        return self._token_registry.issue_refresh_token(
            self.application(application), None if user is None else self.user(user)
        )

    def issue_code(
        self,
        application: ApplicationLike,
        *,
        user: UserLike | None = None,
        redirect_uri: str | None = None,
    ) -> str:
        """Issue a code for the grant ``authorization_code``, as if a user had agreed.

        Args:
            application: A public application.
            user: The user who agreed.
            redirect_uri: The value that the token request has to send; default any.
        """
        return self._token_registry.issue_code(
            self.application(application),
            None if user is None else self.user(user),
            redirect_uri,
        )

    def revoke_tokens(
        self, application: ApplicationLike | None = None, *, refresh_tokens: bool = False
    ) -> int:
        """Revoke tokens before they expire.

        Args:
            application: The application whose tokens are revoked; default all.
            refresh_tokens: Revoke the refresh tokens too?

        Returns:
            How many tokens were revoked.
        """
        owner = None if application is None else self.application(application)
        return self._token_registry.revoke(owner, refresh_tokens=refresh_tokens)

    def spend(self, tenant: TenantLike, requests: int) -> None:
        """Count requests on a client's counter, as if another application had sent them.

        Args:
            tenant: The client whose counter is used.
            requests: How many.
        """
        now = asyncio.get_running_loop().time()
        self._rate_limits.spend(self.tenant(tenant).id, requests, now)


def _now() -> float | None:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return None
