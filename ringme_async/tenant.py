"""The client of a call: an id, checked before it enters a path, or a ``Tenant``."""

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
_ID_LIMIT = 10**20
_CLIENT_ID = re.compile(r"[0-9]{1,20}|@me", re.ASCII)
_SHIPPED = frozenset({BearerToken, ClientCredentials, PasswordCredentials, RefreshToken})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]", re.ASCII)


def client_id_in_path(client_id: int | str) -> str:
    """Check a client's id and write it for a path (API page, section 1).

    Args:
        client_id: A number, in digits or as an ``int``, or ``"@me"``.

    Raises:
        InvalidRequest: It is anything else.
    """
    if isinstance(client_id, int) and not isinstance(client_id, bool):
        if -1 < client_id < _ID_LIMIT:
            return str(int(client_id))
    elif isinstance(client_id, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        found = _CLIENT_ID.fullmatch(client_id)
        if found is not None:
            # Not client_id itself: a subclass of str may format itself as another text.
            return found.group()
    raise InvalidRequest(f'a client id is a number or "@me", not {shown(client_id)}')


def origin_of(base_url: str) -> str:
    """Check a base URL and give its origin: scheme, host and port.

    Raises:
        InvalidRequest: It has no scheme or host, credentials, or a path other than the API's root.
    """
    hint = 'such as "https://pbx.example.com"'
    if not isinstance(base_url, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequest(f"base_url is a URL {hint}, not {type(base_url).__name__}")
    split = _parse(base_url)
    if split is None:
        raise InvalidRequest(f"base_url is not a URL; give one {hint}")
    parts, port = split
    if parts.username is not None or parts.password is not None:
        raise InvalidRequest("base_url must not hold credentials; pass them as auth=")
    host = _normal_host(_host_in(parts.netloc))
    if parts.scheme not in {"http", "https"} or host is None:
        raise InvalidRequest(f"base_url needs a scheme and a host, {_in_ascii(parts) or hint}")
    if parts.query or parts.fragment or parts.path.rstrip("/") not in {"", "/api/ver1.0"}:
        raise InvalidRequest(f"base_url must end with the host and port, {hint}")
    suffix = "" if port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{port}"
    return f"{parts.scheme}://{host}{suffix}"


def same_host(one: str, other: str) -> bool:
    """True if two base URLs have one origin; a dot at the end of the host's name is ignored."""
    return _without_trailing_dot(one) == _without_trailing_dot(other)


def _without_trailing_dot(base_url: str) -> str:
    return re.sub(r"\.(?=(?::[0-9]+)?$)", "", origin_of(base_url))


def _in_ascii(parts: SplitResult) -> str | None:
    """Give the IDNA form of an internationalized host name, as server certificates have it."""
    try:
        name = "" if parts.netloc.isascii() else _host_in(parts.netloc).encode("idna").decode()
    except UnicodeError:
        return None
    return f'in ASCII: "{parts.scheme}://{name}"' if _HOST.fullmatch(name) else None


def _normal_host(host: str) -> str | None:
    """Write a host in its normal form, so that spellings compare; None if it is no host."""
    if _HOST.fullmatch(host) is None:
        return None
    if not host.startswith("["):
        return host.lower()
    try:
        return f"[{IPv6Address(host[1:-1])}]"
    except AddressValueError:  # pragma: no cover - urlsplit refuses it since Python 3.11.4
        return None


def _parse(base_url: str) -> tuple[SplitResult, int | None] | None:
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError:
        return None
    return parts, port


def _host_in(netloc: str) -> str:
    return netloc if netloc.endswith("]") else re.sub(r":[0-9]*$", "", netloc)


def checked_auth(auth: Auth | None) -> Auth | None:
    """Check that a value is an ``Auth``, and not a bare token or secret.

    Raises:
        InvalidRequest: It is none; the message does not show it.
    """
    # The shipped classes need no check, and isinstance() of a protocol is slow.
    if auth is None or type(auth) in _SHIPPED:
        return auth
    if not _is_auth(auth):
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


def _is_auth(auth: object) -> bool:
    return isinstance(auth, Auth) and not isinstance(auth, type) and callable(auth.fetch)


@frozen(init=False)
class Tenant:
    """A client with its own credentials, and optionally its own host.

    Args:
        client_id: Its id; default ``"@me"``, the client that the credentials belong to.
        auth: Its credentials; None means those of the ``RingMe``.
        base_url: Its provider's URL; None means that of the ``RingMe``.
        name: Its name in outcomes and messages; None means the client id.

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
        """The scheme, host and port of its ``base_url``; None if it has none."""
        return None if self.base_url is None else origin_of(self.base_url)


Who = int | str | Tenant
