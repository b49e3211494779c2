"""Who a call is for: a client's id, checked before it enters a path, or a tenant of its own."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import SplitResult, urlsplit

from attrs import field, frozen

from ringme_async._internal.text import shown
from ringme_async._internal.validation import kind_of, refusing
from ringme_async.auth import (
    Auth,
    BearerToken,
    ClientCredentials,
    PasswordCredentials,
    RefreshToken,
)
from ringme_async.errors import InvalidRequest

ME = "@me"
_TOO_LARGE = 10**20
_CLIENT_ID = re.compile(r"[0-9]{1,20}|@me", re.ASCII)
_SHIPPED = frozenset({BearerToken, ClientCredentials, PasswordCredentials, RefreshToken})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]", re.ASCII)


def client_id_in_path(client_id: int | str) -> str:
    """Check a client's id and give it as it stands in a path (API page, section 1).

    Args:
        client_id: A number, in digits or as an ``int``, or ``"@me"``.

    Raises:
        InvalidRequest: It is anything else.
    """
    if isinstance(client_id, int) and not isinstance(client_id, bool):
        if -1 < client_id < _TOO_LARGE:
            return str(int(client_id))
    elif isinstance(client_id, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        found = _CLIENT_ID.fullmatch(client_id)
        if found is not None:
            # Not the text itself: a subclass of str may show itself otherwise in a path.
            return found.group()
    raise InvalidRequest(f'a client id is a number or "@me", not {shown(client_id)}')


def origin_of(base_url: str) -> str:
    """Check a base URL and give its origin: scheme, host and port, nothing after it.

    Raises:
        InvalidRequest: No scheme or host, credentials in it, or a path other than the API's root.
    """
    hint = 'such as "https://pbx.example.com"'
    if not isinstance(base_url, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequest(f"base_url is a URL {hint}, not {type(base_url).__name__}")
    split = _split(base_url)
    if split is None:
        raise InvalidRequest(f"base_url is not a URL; give one {hint}")
    parts, port = split
    if parts.username is not None or parts.password is not None:
        raise InvalidRequest("base_url must not hold credentials; pass them as auth=")
    host = _normal_host(_host(parts.netloc))
    if parts.scheme not in {"http", "https"} or host is None:
        raise InvalidRequest(f"base_url needs a scheme and a host, {_in_ascii(parts) or hint}")
    if parts.query or parts.fragment or parts.path.rstrip("/") not in {"", "/api/ver1.0"}:
        raise InvalidRequest(f"base_url must end with the host and port, {hint}")
    suffix = "" if port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{port}"
    return f"{parts.scheme}://{host}{suffix}"


def same_host(one: str, other: str) -> bool:
    """Whether two base URLs lead to one host; a dot at the end of its name makes no other one."""
    return _absolute(one) == _absolute(other)


def _absolute(base_url: str) -> str:
    return re.sub(r"\.(?=(?::[0-9]+)?$)", "", origin_of(base_url))


def _in_ascii(parts: SplitResult) -> str | None:
    """Give the form of an internationalized name in which a server certificate has it."""
    try:
        name = "" if parts.netloc.isascii() else _host(parts.netloc).encode("idna").decode()
    except UnicodeError:
        return None
    return f'in ASCII: "{parts.scheme}://{name}"' if _HOST.fullmatch(name) else None


def _normal_host(host: str) -> str | None:
    """Write a host as all of its spellings are compared; None if it is none."""
    if _HOST.fullmatch(host) is None:
        return None
    if not host.startswith("["):
        return host.lower()
    try:
        return f"[{IPv6Address(host[1:-1])}]"
    except AddressValueError:  # pragma: no cover - urlsplit refuses it since Python 3.11.4
        return None


def _split(base_url: str) -> tuple[SplitResult, int | None] | None:
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError:
        return None
    return parts, port


def _host(netloc: str) -> str:
    return netloc if netloc.endswith("]") else re.sub(r":[0-9]*$", "", netloc)


def checked_auth(auth: Auth | None) -> Auth | None:
    """Check that credentials are some, and not a bare token or secret.

    Raises:
        InvalidRequest: They are not; the message does not show them.
    """
    # The shipped kinds are what they should be, and a look at a protocol takes its time.
    if auth is None or type(auth) in _SHIPPED:
        return auth
    if not _gets_tokens(auth):
        raise InvalidRequest(
            "auth must be credentials, such as ClientCredentials(app_id, app_secret),"
            f" not {kind_of(auth)}"
        )
    try:
        hash(auth)
    except TypeError:
        hashable = False
    else:
        hashable = True
    if not hashable:
        raise InvalidRequest(
            f"auth must be hashable, as a frozen class of hashable values is; {kind_of(auth)} is not"
        )
    return auth


def _gets_tokens(auth: object) -> bool:
    return isinstance(auth, Auth) and not isinstance(auth, type) and callable(auth.fetch)


@frozen(init=False)
class Tenant:
    """A client with credentials, and perhaps a host, of its own.

    Args:
        client_id: Its id; default ``"@me"``, the client that the credentials belong to.
        auth: Its credentials; None means those of the ``RingMe`` that the call goes through.
        base_url: Its provider's URL; None means that of the ``RingMe``.
        name: What you call it, in outcomes and messages; None means the client id.

    Raises:
        InvalidRequest: The id, the URL, the credentials or the name are malformed.
    """

    client_id: int | str
    auth: Auth | None = field(kw_only=True)
    base_url: str | None = field(kw_only=True)
    name: str | None = field(kw_only=True)

    @refusing
    def __init__(
        self,
        client_id: int | str = "@me",
        *,
        auth: Auth | None = None,
        base_url: str | None = None,
        name: str | None = None,
    ) -> None:
        client_id_in_path(client_id)
        checked_auth(auth)
        if base_url is not None:
            origin_of(base_url)
        if not (name is None or isinstance(name, str)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidRequest(f"name is a string, not {shown(name)}")
        object.__setattr__(self, "client_id", client_id)
        object.__setattr__(self, "auth", auth)
        object.__setattr__(self, "base_url", base_url)
        object.__setattr__(self, "name", name)

    @property
    def origin(self) -> str | None:
        """The scheme, host and port of its own ``base_url``; None if it has none."""
        return None if self.base_url is None else origin_of(self.base_url)


Who = int | str | Tenant
