"""The hosts that URLs name, and the proxy to reach them through."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Final
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

from ringme_async.errors import InvalidRequest
from ringme_async.transports.http11.request_encoder import forbidden

__all__ = ["Peer", "Proxy", "checked_proxy", "parse_origin", "split_url"]

_URL: Final = re.compile(
    r"(https?://[!-\"$-.0->@-~]+)(/[!-\"$-~]*|\?[!-\"$-~]*)?(?:#.*)?", re.ASCII
)
# Servers do not expect the last dot of a full domain name in the Host field.
_LAST_DOTS: Final = re.compile(r"\.+(?=:\d*$|$)", re.ASCII)


@frozen
class Peer:
    """A host to connect to.

    Attributes:
        host: Its name or address.
        port: Its port.
        secure: True if it speaks TLS.
        host_field: The value of the ``Host`` field.
    """

    host: str
    port: int
    secure: bool
    host_field: str

    @property
    def tls_name(self) -> str:
        """The host as certificates name it, without the last dot of a full domain name."""
        return self.host.rstrip(".")

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@frozen
class Proxy:
    """A proxy, and the header fields that authorize requests to it."""

    peer: Peer
    fields: tuple[str, ...] = field(repr=False)


def split_url(url: str) -> tuple[str, str]:
    """Split a URL into its origin and the target of a request.

    Raises:
        InvalidRequest: The URL is malformed, or HTTP forbids it.
    """
    parts = _URL.fullmatch(url)
    if parts is None:
        raise forbidden()
    target = parts[2] or "/"
    return parts[1], f"/{target}" if target[0] == "?" else target


def parse_origin(origin: str) -> Peer:
    """Parse an origin, such as ``https://pbx.example.com``.

    Raises:
        InvalidRequest: The origin has no host, a malformed port, or a user.
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
    """Parse the URL of a proxy.

    Raises:
        InvalidRequest: The URL is malformed.
    """
    try:
        parts = urlsplit(proxy)
        peer = parse_origin(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
        if parts.scheme in {"http", "https"}:
            return Proxy(peer, _proxy_authorization(parts.username, parts.password))
    except (ValueError, InvalidRequest):
        pass
    raise InvalidRequest('proxy must be a URL such as "http://proxy.example.com:3128"')


def _proxy_authorization(username: str | None, password: str | None) -> tuple[str, ...]:
    if username is None:
        return ()
    secrets = f"{unquote(username)}:{unquote(password or '')}"
    return (f"Proxy-Authorization: Basic {b64encode(secrets.encode()).decode()}",)
