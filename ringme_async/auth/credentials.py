"""Kinds of credentials: how each of them gets a token."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Protocol, runtime_checkable

from attrs import field, frozen

from ringme_async.auth.token import Token, flaw_in_text, flaw_in_token
from ringme_async.auth.token_endpoint import TokenHost
from ringme_async.errors import InvalidRequest

__all__ = [
    "Auth",
    "BearerToken",
    "ClientCredentials",
    "PasswordCredentials",
    "RefreshToken",
    "TokenKey",
    "file_key",
]


@runtime_checkable
class Auth(Protocol):
    """What gets tokens; write a class of your own for a way that is not shipped.

    Its instances are hashable and equal by value: calls with equal ones share a token. A frozen
    attrs class or dataclass is both. It never keeps a token itself; the ``TokenStore`` does that,
    asks for a new one when it is due, once however many calls wait for it, and keeps it out of
    other hosts' hands.

    Example:
        A service account whose tokens a vault hands out, so that the host is not needed::

            @frozen
            class FromVault:
                path: str
                vault: Vault = field(repr=False)
                renewable: bool = True

                async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
                    lease = await self.vault.read(self.path)
                    now = asyncio.get_running_loop().time()
                    return Token(lease.token, expires_at=now + lease.seconds)

        A grant of the host's own, with its limit on logins, its retries and its errors::

                async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
                    return await host.post({"grant_type": "...", "assertion": self.assertion})
    """

    @property
    def renewable(self) -> bool:
        """Can ``fetch`` give another token than before? Else a 401 is final."""
        ...

    async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
        """Get a new token. Cancelled when nobody waits for it any more.

        Args:
            host: Where the token will be used, and the way to its token endpoint.
            previous: The newest token that these credentials have had here, dead or alive; None
                if there has been none.

        Raises:
            TokenError: The credentials are refused. Remembered for a minute.
            TransportError: There is no answer. Not remembered. Anything else that is raised is
                taken for a bug and reaches the caller as it is.
        """
        ...

    def __hash__(self) -> int: ...

    def __eq__(self, other: object, /) -> bool: ...


@frozen(init=False)
class BearerToken:
    """A token that you have already; it cannot be renewed, so a 401 ends its use.

    Args:
        token: Printable ASCII, without the word ``Bearer``.

    Raises:
        InvalidRequest: It could not stand in a header; the message does not show it.
    """

    token: str = field(repr=False)

    def __init__(self, token: str) -> None:
        flaw = flaw_in_token(token)
        if flaw is not None:
            # A traceback may show this frame's locals, and there is no self to show yet; so in
            # the classes below.
            del self, token
            raise InvalidRequest(f"BearerToken: token {flaw}")
        object.__setattr__(self, "token", token)

    @property
    def renewable(self) -> bool:
        """False, as there is no other token to be had."""
        return False

    async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
        """Give the token; nothing is sent."""
        return Token(self.token)


@frozen(init=False)
class ClientCredentials:
    """A trusted application: an App ID and its App Secret (API page, section 2).

    A ``refresh_token`` in the answer is ignored: the secret gets the next token.

    Args:
        app_id: The App ID, which OAuth calls ``client_id``.
        app_secret: The App Secret.
        scope: What to ask for; default ``"all"``; an empty string sends no scope.

    Raises:
        InvalidRequest: One of them is empty or malformed; the message names it and shows nothing.
    """

    app_id: str
    app_secret: str = field(repr=False)
    scope: str

    def __init__(self, app_id: str, app_secret: str, scope: str = "all") -> None:
        flaw = _first_flaw(app_id=app_id, app_secret=app_secret, scope=scope or "none")
        if flaw is not None:
            del self, app_id, app_secret
            raise InvalidRequest(f"ClientCredentials: {flaw}")
        object.__setattr__(self, "app_id", app_id)
        object.__setattr__(self, "app_secret", app_secret)
        object.__setattr__(self, "scope", scope)

    @property
    def renewable(self) -> bool:
        """True."""
        return True

    async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
        """Log in with the secret."""
        return await host.post(
            {
                "grant_type": "client_credentials",
                "client_id": self.app_id,
                "client_secret": self.app_secret,
                **_scope(self.scope),
            }
        )


@frozen(init=False)
class PasswordCredentials:
    """An application of the kind ``password_credentials``, and a user (API page, section 2).

    A ``refresh_token`` in the answer is ignored: the password gets the next token.

    Args:
        app_id: The App ID, which OAuth calls ``client_id``.
        app_secret: The App Secret.
        username: The user's login.
        password: The user's password.
        scope: What to ask for; default ``"all"``; an empty string sends no scope.

    Raises:
        InvalidRequest: One of them is empty or malformed; the message names it and shows nothing.
    """

    app_id: str
    app_secret: str = field(repr=False)
    username: str
    password: str = field(repr=False)
    scope: str

    def __init__(
        self, app_id: str, app_secret: str, username: str, password: str, scope: str = "all"
    ) -> None:
        flaw = _first_flaw(
            app_id=app_id,
            app_secret=app_secret,
            username=username,
            password=password,
            scope=scope or "none",
        )
        if flaw is not None:
            del self, app_id, app_secret, username, password
            raise InvalidRequest(f"PasswordCredentials: {flaw}")
        object.__setattr__(self, "app_id", app_id)
        object.__setattr__(self, "app_secret", app_secret)
        object.__setattr__(self, "username", username)
        object.__setattr__(self, "password", password)
        object.__setattr__(self, "scope", scope)

    @property
    def renewable(self) -> bool:
        """True."""
        return True

    async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
        """Log in with the password."""
        return await host.post(
            {
                "grant_type": "password",
                "client_id": self.app_id,
                "client_secret": self.app_secret,
                "username": self.username,
                "password": self.password,
                **_scope(self.scope),
            }
        )


@frozen(init=False)
class RefreshToken:
    """A public application that a user has agreed to, and the refresh token from it.

    The server may answer with another refresh token, and then only that one is good. The
    ``TokenStore`` uses the newest from then on and, if it has a path, keeps it there; without a
    path it dies with the process, and this one may be worth nothing any more (RFC 6749,
    section 6).

    Args:
        app_id: The App ID, which OAuth calls ``client_id``.
        app_secret: The App Secret.
        refresh_token: The refresh token to begin with.

    Raises:
        InvalidRequest: One of them is empty or malformed; the message names it and shows nothing.
    """

    app_id: str
    app_secret: str = field(repr=False)
    refresh_token: str = field(repr=False)

    def __init__(self, app_id: str, app_secret: str, refresh_token: str) -> None:
        flaw = _first_flaw(app_id=app_id, app_secret=app_secret, refresh_token=refresh_token)
        if flaw is not None:
            del self, app_id, app_secret, refresh_token
            raise InvalidRequest(f"RefreshToken: {flaw}")
        object.__setattr__(self, "app_id", app_id)
        object.__setattr__(self, "app_secret", app_secret)
        object.__setattr__(self, "refresh_token", refresh_token)

    @property
    def renewable(self) -> bool:
        """True."""
        return True

    async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
        """Trade in the newest refresh token."""
        token = await host.post(
            {
                "grant_type": "refresh_token",
                "client_id": self.app_id,
                "client_secret": self.app_secret,
                "refresh_token": self.newest(previous),
            }
        )
        if token.refresh_token is None:
            return Token(token.value, token.expires_at, self.newest(previous))
        return token

    def newest(self, previous: Token | None) -> str:
        """Choose the refresh token that came last.

        Args:
            previous: The newest token that these credentials have had.
        """
        if previous is None or previous.refresh_token is None:
            return self.refresh_token
        return previous.refresh_token


@frozen
class TokenKey:
    """Whose token, and where: by value, so that a token never crosses an origin.

    Args:
        origin: Scheme, host and port, in one spelling for one place: ``https://pbx.example.com``.
        auth: The credentials.
    """

    origin: str
    auth: Auth
    _hash: int = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.origin, self.auth)))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[object, ...]:
        # Another process has other hashes.
        return type(self), (self.origin, self.auth)


def file_key(key: TokenKey) -> str | None:
    """Name a key in a file, so that the file tells nothing of the secret.

    Only the shipped kinds have such a name: what makes another class's instances equal is not
    known here. A subclass is another class. A fixed token has none, since it is in hand anyway.

    Returns:
        A SHA-256 in hex; None if the key's tokens must not be kept in a file.
    """
    identity = _identity(key.auth)
    if identity is None:
        return None
    # A password alone could be guessed from its hash, but not together with the App Secret.
    return sha256(json.dumps([key.origin, *identity]).encode()).hexdigest()


def _identity(auth: Auth) -> tuple[str, ...] | None:
    if isinstance(auth, ClientCredentials) and type(auth) is ClientCredentials:
        return ("client_credentials", auth.app_id, auth.app_secret, auth.scope)
    if isinstance(auth, PasswordCredentials) and type(auth) is PasswordCredentials:
        user = (auth.username, auth.password)
        return ("password", auth.app_id, auth.app_secret, *user, auth.scope)
    if isinstance(auth, RefreshToken) and type(auth) is RefreshToken:
        return ("refresh_token", auth.app_id, auth.app_secret, auth.refresh_token)
    return None


def _first_flaw(**texts: str) -> str | None:
    for name, text in texts.items():
        flaw = flaw_in_text(text)
        if flaw is not None:
            return f"{name} {flaw}"
    return None


def _scope(scope: str) -> dict[str, str]:
    return {"scope": scope} if scope else {}
