"""What the transports over the network say of connections that fail, in the same words."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from typing import Final

from ringme_async.errors import CertificateError, ConnectError, ConnectFailure, ResponseLost
from ringme_async.transports.body_decoder import peer_of

__all__ = ["connect_error", "no_response_error", "proxy_error", "route_to"]

_NUMBER: Final = re.compile(r"\[Errno (\d+)\]")
# Not EAI_AGAIN: the resolver may know the name later. Some systems have no EAI_NODATA.
_UNKNOWN_NAMES: Final = frozenset(
    {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
)


def route_to(url: str, proxy: str | None) -> str:
    """Name where a request goes, and the proxy that it goes through."""
    peer = peer_of(url)
    return peer if proxy is None else f"{peer} through the proxy {proxy}"


def connect_error(
    way: str, words: str, cause: BaseException | None = None, *, direct: bool = False
) -> ConnectError:
    """Make the error of a connection that did not come about.

    Args:
        way: Where to, as ``way_to`` names it.
        words: What the system says.
        cause: What was raised, which tells a certificate that is not trusted from the rest.
        direct: The cause is about the host itself, and not about a proxy on the way.
    """
    text = f"no connection to {way}: {words}"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return CertificateError(text)
    return ConnectError(text, kind=_kind_of(cause) if direct else None)


def proxy_error(proxy: str | None, peer: str, why: str) -> ConnectError:
    """Make the error of a proxy that opens no tunnel."""
    return ConnectError(f"the proxy {proxy or 'of the session'} gives no way to {peer}: {why}")


def no_response_error(url: str, words: str | None) -> ResponseLost:
    """Make the error of a connection that ended before an answer had begun.

    Args:
        url: Where the request went.
        words: What the system says; None if the other side closed the connection in good order.
    """
    peer = peer_of(url)
    if words is None:
        error = ResponseLost(f"{peer} closed the connection without a whole answer")
    else:
        error = ResponseLost(f"the connection to {peer} broke: {words}")
    if url.startswith("http:"):
        # A port that speaks TLS says nothing to a plain request but that.
        error.advice = ResponseLost.advice_on_tls_port
    return error


def _kind_of(error: BaseException | None) -> ConnectFailure | None:
    """Tell a host whose name is unknown, or whose port refuses, from one that may be there."""
    if isinstance(error, socket.gaierror):
        return "unresolved" if error.errno in _UNKNOWN_NAMES else None
    if not isinstance(error, OSError):
        return None
    # asyncio puts the errors of several addresses into the words of one.
    numbers = {error.errno} if error.errno else set(map(int, _NUMBER.findall(str(error))))
    return "refused" if numbers == {errno.ECONNREFUSED} else None
