"""Where URLs lead: the hosts to connect to, directly or through a proxy."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Final
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

from ringme_async.errors import InvalidRequest
from ringme_async.transports.http11.request_encoder import forbidden

__all__ = ["Peer", "Proxy", "checked_proxy", "parts_of", "peer_at"]

_URL: Final = re.compile(
    r"(https?://[!-\"$-.0->@-~]+)(/[!-\"$-~]*|\?[!-\"$-~]*)?(?:#.*)?", re.ASCII
)
# A dot ends a full domain name. Servers do not expect it in the Host field.
_LAST_DOTS: Final = re.compile(r"\.+(?=:\d*$|$)", re.ASCII)


@frozen
class Peer:
    """A host to connect to.

    Attributes:
        host: Its name or address.
        port: Its port.
        secure: Does it speak TLS?
        shown: As the ``Host`` field gives it.
    """

    host: str
    port: int
    secure: bool
    shown: str

    @property
    def name(self) -> str:
        """The host as certificates name it: without the dot that ends a full domain name."""
        return self.host.rstrip(".")

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@frozen
class Proxy:
    """A proxy, and the header fields that open it."""

    peer: Peer
    fields: tuple[str, ...] = field(repr=False)


def parts_of(url: str) -> tuple[str, str]:
    """Split a URL into its origin and the target of a request.

    Raises:
        InvalidRequest: It is none, or one that HTTP cannot carry.
    """
    parts = _URL.fullmatch(url)
    if parts is None:
        raise forbidden()
    target = parts[2] or "/"
    return parts[1], f"/{target}" if target[0] == "?" else target


def peer_at(origin: str) -> Peer:
    """Read an origin, such as ``https://pbx.example.com``.

    Raises:
        InvalidRequest: It names no host, a port that is none, or a user.
    """
    scheme, _, netloc = origin.partition("://")
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not host.strip(".") or "@" in netloc:
        raise forbidden()
    secure = scheme == "https"
    if host.endswith(".."):
        host = f"{host.rstrip('.')}."
    return Peer(host, port or (443 if secure else 80), secure, _LAST_DOTS.sub("", netloc))


def checked_proxy(proxy: str) -> Proxy:
    """Read the URL of a proxy.

    Raises:
        InvalidRequest: It is none.
    """
    try:
        parts = urlsplit(proxy)
        peer = peer_at(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
        if parts.scheme in {"http", "https"}:
            return Proxy(peer, _opening(parts.username, parts.password))
    except (ValueError, InvalidRequest):
        pass
    raise InvalidRequest('proxy must be a URL such as "http://proxy.example.com:3128"')


def _opening(username: str | None, password: str | None) -> tuple[str, ...]:
    if username is None:
        return ()
    secrets = f"{unquote(username)}:{unquote(password or '')}"
    return (f"Proxy-Authorization: Basic {b64encode(secrets.encode()).decode()}",)
