"""What the transports over the network say of connections that fail, in the same words."""

from __future__ import annotations

import ssl

from ringme_async.errors import CertificateError, ConnectError, ResponseLost
from ringme_async.transports.body import peer_of

__all__ = ["no_answer", "no_connection", "no_way_through", "way_to"]


def way_to(url: str, proxy: str | None) -> str:
    """Name where a request goes, and the proxy that it goes through."""
    peer = peer_of(url)
    return peer if proxy is None else f"{peer} through the proxy {proxy}"


def no_connection(way: str, words: str, cause: BaseException | None = None) -> ConnectError:
    """Make the error of a connection that did not come about.

    Args:
        way: Where to, as ``way_to`` names it.
        words: What the system says.
        cause: What was raised, which tells a certificate that is not trusted from the rest.
    """
    kind = CertificateError if isinstance(cause, ssl.SSLCertVerificationError) else ConnectError
    return kind(f"no connection to {way}: {words}")


def no_way_through(proxy: str | None, peer: str, why: str) -> ConnectError:
    """Make the error of a proxy that opens no tunnel."""
    return ConnectError(f"the proxy {proxy or 'of the session'} gives no way to {peer}: {why}")


def no_answer(url: str, words: str | None) -> ResponseLost:
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
