"""The tokens that the fake issued, and the limits on logins."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from random import Random
from typing import Literal

from attrs import define, field

from ringme_async._internal.redaction import MASK, hide_pairs
from ringme_async.testing.fake.accounts import FakeApplication, FakeTenant, FakeUser

ExpiresIn = Literal["number", "string", "absent"]
GivesRefreshTokens = Literal["never", "public", "always"]

_SWEEP_AT_LEAST = 10_000


@define
class OAuthSettings:
    """How the fake's token endpoint behaves (API page, section 2).

    Every setting can be changed at any time: ``fake.oauth.lifetime = 60``.

    Attributes:
        lifetime: Seconds until a token expires; default an hour.
        expires_in: How the answer gives the lifetime: ``"number"``, ``"string"`` or ``"absent"``.
        token_type: The ``token_type`` of the answer; ``Bearer`` in any letter case.
        refresh_tokens: When an answer has a ``refresh_token``: ``"never"``, for ``"public"``
            applications, or ``"always"``.
        rotate: Does a refresh replace the refresh token?
        refusal_code: The HTTP status for a wrong App ID or Secret: 401 or 400.
        per_second: Requests to ``/oauth`` and ``/login`` allowed in any sliding second.
        concurrent: Requests to ``/oauth`` and ``/login`` allowed in flight.
    """

    lifetime: float = 3600.0
    expires_in: ExpiresIn = "number"
    token_type: str = "Bearer"
    refresh_tokens: GivesRefreshTokens = "public"
    rotate: bool = False
    refusal_code: Literal[400, 401] = 401
    per_second: int = 20
    concurrent: int = 6


@define(eq=False)
class Grant:
    """The application and the user of one token."""

    application: FakeApplication
    user: FakeUser | None
    lifetime: float
    expires_at: float | None
    revoked: bool = False

    @property
    def tenant(self) -> FakeTenant:
        """The client that the token belongs to."""
        return self.application.tenant if self.user is None else self.user.tenant

    def reaches(self, tenant: FakeTenant) -> bool:
        """May a holder of the token access this client?"""
        return tenant is self.tenant or self.application.reaches(tenant.id)

    def is_live(self, now: float) -> bool:
        """Is the token valid at ``now``? Issued outside a loop, it ages from its first use."""
        if self.expires_at is None:
            self.expires_at = now + self.lifetime
        return not self.revoked and now < self.expires_at

    def belongs_to(self, application: FakeApplication | None) -> bool:
        """Was it issued to this application? None means any."""
        return application is None or self.application is application


@define(eq=False)
class _Code:
    application: FakeApplication
    user: FakeUser | None
    redirect_uri: str | None


class TokenRegistry:
    """Issues tokens, refresh tokens and codes, and finds their grants."""

    def __init__(self, seed: int) -> None:
        self._random = Random(f"tokens {seed}")
        self._grants: dict[str, Grant] = {}
        self._refreshable: dict[str, Grant] = {}
        self._codes: dict[str, _Code] = {}
        self._sweep_at = _SWEEP_AT_LEAST

    def issue(
        self,
        application: FakeApplication,
        user: FakeUser | None,
        *,
        lifetime: float,
        now: float | None,
    ) -> str:
        if now is not None and len(self._grants) >= self._sweep_at:
            self._sweep(now)
        token = self._random.randbytes(20).hex()
        expires_at = None if now is None else now + lifetime
        self._grants[token] = Grant(application, user, lifetime, expires_at)
        return token

    def grant_of(self, token: str) -> Grant | None:
        """Find the grant of a token, valid or not."""
        return self._grants.get(token)

    def issue_refresh_token(self, application: FakeApplication, user: FakeUser | None) -> str:
        token = self._random.randbytes(20).hex()
        self._refreshable[token] = Grant(application, user, 0.0, None)
        return token

    def refresh(self, token: str, application: FakeApplication) -> Grant | None:
        """Find the grant of this application's refresh token, if it is valid."""
        grant = self._refreshable.get(token)
        return grant if grant is not None and grant.application is application else None

    def end_refresh_token(self, token: str) -> None:
        del self._refreshable[token]

    def issue_code(
        self, application: FakeApplication, user: FakeUser | None, redirect_uri: str | None
    ) -> str:
        code = self._random.randbytes(16).hex()
        self._codes[code] = _Code(application, user, redirect_uri)
        return code

    def redeem(
        self, code: str, application: FakeApplication, redirect_uri: str | None
    ) -> tuple[FakeUser | None] | None:
        """Use up a code: a tuple with the user who agreed, or None if the code is invalid."""
        entry = self._codes.pop(code, None)
        if entry is None or entry.application is not application:
            return None
        return (entry.user,) if entry.redirect_uri in (None, redirect_uri) else None

    def revoke(self, application: FakeApplication | None, *, refresh_tokens: bool) -> int:
        """Revoke the tokens of one application, or of all, and return their number."""
        live = [
            grant
            for grant in self._grants.values()
            if not grant.revoked and grant.belongs_to(application)
        ]
        for grant in live:
            grant.revoked = True
        if refresh_tokens:
            self._refreshable = {
                token: grant
                for token, grant in self._refreshable.items()
                if not grant.belongs_to(application)
            }
        return len(live)

    def _sweep(self, now: float) -> None:
        # Expired tokens stay for one more lifetime: their 401 shows the counter of their client.
        self._grants = {
            token: grant
            for token, grant in self._grants.items()
            if grant.expires_at is None or grant.expires_at + grant.lifetime > now
        }
        self._sweep_at = max(_SWEEP_AT_LEAST, 2 * len(self._grants))


@define(eq=False)
class LoginLimits:
    """The limits on ``/oauth`` and ``/login`` (API page, section 2); refused requests do not count.

    Attributes:
        in_flight: How many requests are in flight now.
        most_in_flight: The highest number in flight, refused ones included.
        most_per_second: The highest number in a sliding second, refused ones included.
    """

    settings: OAuthSettings
    in_flight: int = 0
    most_in_flight: int = 0
    most_per_second: int = 0
    _admitted: deque[float] = field(factory=deque[float])
    _arrivals: deque[float] = field(factory=deque[float])

    def acquire(self, now: float) -> str | None:
        """Admit a request; return the limit that it breaks, or None."""
        self._record_arrival(now)
        if self.in_flight >= self.settings.concurrent:
            return f"more logins than {self.settings.concurrent} at once"
        if len(self._admitted) >= self.settings.per_second:
            return f"more logins than {self.settings.per_second} in one second"
        self._admitted.append(now)
        self.in_flight += 1
        return None

    def release(self) -> None:
        self.in_flight -= 1

    def _record_arrival(self, now: float) -> None:
        for times in (self._admitted, self._arrivals):
            while times and times[0] <= now - 1.0:
                times.popleft()
        self._arrivals.append(now)
        self.most_per_second = max(self.most_per_second, len(self._arrivals))
        self.most_in_flight = max(self.most_in_flight, self.in_flight + 1)


def masked(form: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters of a token request with secrets masked."""
    return {
        name if name in _NAMED else MASK: hide_pairs(value) if name in _SHOWN else MASK
        for name, value in form
    }


_SHOWN = frozenset(
    {"grant_type", "client_id", "username", "scope", "redirect_uri", "state", "response_type"}
)
# An unknown name may be a secret in the wrong place.
_NAMED = _SHOWN | {"client_secret", "password", "code", "refresh_token", "code_verifier"}
