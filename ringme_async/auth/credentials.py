"""The credentials of the OAuth grants, and how each gets a token."""

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
    """Credentials that get tokens; write your own class for a grant that is not shipped.

    Instances must be hashable and equal by value, because calls with equal credentials share a
    token. A frozen attrs class or dataclass is both. An ``Auth`` does not keep tokens. The
    ``TokenStore`` does: it fetches a new one when it is due, once for all calls that wait, and
    never sends it to another host.

    Example:
        A service account with tokens from a vault, which needs no host::

            @frozen
            class FromVault:
                path: str
                vault: Vault = field(repr=False)
                renewable: bool = True

                async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
                    lease = await self.vault.read(self.path)
                    now = asyncio.get_running_loop().time()
                    return Token(lease.token, expires_at=now + lease.seconds)

        Another grant of the host, with the usual login limit, retries and errors::

                async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
                    return await host.post({"grant_type": "...", "assertion": self.assertion})
    """

    @property
    def renewable(self) -> bool:
        """True if ``fetch`` can get a new token; otherwise a 401 is final."""
        ...

    async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
        """Get a new token. Cancelled when no call waits for it any more.

        Args:
            host: The host that will receive the token, with its token endpoint.
            previous: The newest token of these credentials at this host, valid or not; None if
                there was none.

        Raises:
            TokenError: The host refused the credentials. Remembered for a minute.
            TransportError: There was no answer. Not remembered. Any other exception counts as a bug
                and reaches the caller unchanged.
        """
        ...

    def __hash__(self) -> int: ...

    def __eq__(self, other: object, /) -> bool: ...


@frozen(init=False)
class BearerToken:
    """A token that you already have; it cannot be renewed, so a 401 is final.

    Args:
        token: Printable ASCII, without the word ``Bearer``.

    Raises:
        InvalidRequest: It is no valid header value; the message does not show it.
    """

    token: str = field(repr=False)

    def __init__(self, token: str) -> None:
        flaw = flaw_in_token(token)
        if flaw is not None:
            # A traceback may show this frame's locals: the secret, and a self without its fields.
            # The classes below delete theirs for the same reason.
            del self, token
            raise InvalidRequest(f"BearerToken: token {flaw}")
        object.__setattr__(self, "token", token)

    @property
    def renewable(self) -> bool:
        """False: there is no other token."""
        return False

    async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
        """Return the token, without a request."""
        return Token(self.token)


@frozen(init=False)
class ClientCredentials:
    """A trusted application: an App ID and its App Secret (API page, section 2).

    A ``refresh_token`` in the answer is ignored: the secret gets the next token.

    Args:
        app_id: The App ID, which OAuth calls ``client_id``.
        app_secret: The App Secret.
        scope: The scope to request; default ``"all"``; an empty string sends no scope.

    Raises:
        InvalidRequest: An argument is empty or malformed; the message names it without its value.
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
    """A ``password_credentials`` application and a user (API page, section 2).

    A ``refresh_token`` in the answer is ignored: the password gets the next token.

    Args:
        app_id: The App ID, which OAuth calls ``client_id``.
        app_secret: The App Secret.
        username: The user's login.
        password: The user's password.
        scope: The scope to request; default ``"all"``; an empty string sends no scope.

    Raises:
        InvalidRequest: An argument is empty or malformed; the message names it without its value.
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
    """A public application that a user has authorized, and its refresh token.

    The server may answer with a new refresh token, and then only the new one is valid. The
    ``TokenStore`` uses the newest one, and saves it in its file if it has a path. Without a path
    the newest one is lost with the process, and this one may be invalid by then (RFC 6749,
    section 6).

    Args:
        app_id: The App ID, which OAuth calls ``client_id``.
        app_secret: The App Secret.
        refresh_token: The first refresh token.

    Raises:
        InvalidRequest: An argument is empty or malformed; the message names it without its value.
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
        """Choose the newest refresh token.

        Args:
            previous: The newest token of these credentials; None if there was none.
        """
        if previous is None or previous.refresh_token is None:
            return self.refresh_token
        return previous.refresh_token


@frozen
class TokenKey:
    """The key of a token: an origin and credentials, so that a token never crosses an origin.

    Args:
        origin: Scheme, host and port, in its normal form: ``https://pbx.example.com``.
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
        # Without the hash: hashes of strings differ between processes.
        return type(self), (self.origin, self.auth)


def file_key(key: TokenKey) -> str | None:
    """Give a key's name in the file, which does not reveal the secret.

    Only the shipped classes have a name: how instances of another class, or of a subclass, compare
    is unknown. A ``BearerToken`` has none, because the program has its token already.

    Returns:
        A SHA-256 in hex; None if the key's tokens must not be saved.
    """
    identity = _identity(key.auth)
    if identity is None:
        return None
    # A hash of the password alone could be brute-forced; with the App Secret it cannot.
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
