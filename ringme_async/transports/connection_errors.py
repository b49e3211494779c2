"""The errors of failed connections, worded alike for all network transports."""

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
# Not EAI_AGAIN: the resolver may find the name later. Some systems have no EAI_NODATA.
_UNKNOWN_NAMES: Final = frozenset(
    {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
)


def route_to(url: str, proxy: str | None) -> str:
    """Name the host of a URL, and the proxy on the route to it."""
    peer = peer_of(url)
    return peer if proxy is None else f"{peer} through the proxy {proxy}"


def connect_error(
    route: str, reason: str, cause: BaseException | None = None, *, direct: bool = False
) -> ConnectError:
    """Make the error of a failed connect.

    Args:
        route: The host and its proxy, as ``route_to`` names them.
        reason: The system's message.
        cause: The exception. It separates an untrusted certificate from other failures.
        direct: True if the cause concerns the host itself, not a proxy on the route.
    """
    text = f"no connection to {route}: {reason}"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return CertificateError(text)
    return ConnectError(text, kind=_kind_of(cause) if direct else None)


def proxy_error(proxy: str | None, peer: str, why: str) -> ConnectError:
    """Make the error of a proxy that opens no tunnel."""
    return ConnectError(f"the proxy {proxy or 'of the session'} gives no way to {peer}: {why}")


def no_response_error(url: str, reason: str | None) -> ResponseLost:
    """Make the error of a connection that ended before the response began.

    Args:
        url: The URL of the request.
        reason: The system's message, or None if the peer closed the connection cleanly.
    """
    peer = peer_of(url)
    if reason is None:
        error = ResponseLost(f"{peer} closed the connection without a whole answer")
    else:
        error = ResponseLost(f"the connection to {peer} broke: {reason}")
    if url.startswith("http:"):
        # A TLS port closes the connection of a plain HTTP request without a response.
        error.advice = ResponseLost.advice_on_tls_port
    return error


def _kind_of(error: BaseException | None) -> ConnectFailure | None:
    """Classify an unknown host name and a refusing port; None for any other failure."""
    if isinstance(error, socket.gaierror):
        return "unresolved" if error.errno in _UNKNOWN_NAMES else None
    if not isinstance(error, OSError):
        return None
    # asyncio puts the errors of several addresses into one message.
    numbers = {error.errno} if error.errno else set(map(int, _NUMBER.findall(str(error))))
    return "refused" if numbers == {errno.ECONNREFUSED} else None
