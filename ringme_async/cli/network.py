"""The way to the hosts: through a company's proxy, with trust in its CA."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from attrs import field, frozen

from ringme_async import AiohttpTransport, InvalidRequest
from ringme_async.cli.errors import CouldNotStart, WrongUsage
from ringme_async.mirror.errors import words_of

__all__ = ["CA", "PROXY", "Network", "read_network"]

PROXY: Final = "RINGME_PROXY"
CA: Final = "RINGME_CA"


@frozen
class Network:
    """The way to the hosts, whatever their credentials.

    Attributes:
        proxy: The URL of an HTTP proxy, which may hold a password; None for none.
        trust: What servers are verified with; None for the system's CAs.
        ca: The file that this trust is from.
    """

    proxy: str | None = field(default=None, repr=False)
    trust: ssl.SSLContext | None = None
    ca: str | None = None

    def transport(self) -> AiohttpTransport:
        """Make what sends requests that way.

        Raises:
            InvalidRequest: The proxy is malformed.
        """
        return AiohttpTransport(proxy=self.proxy, ssl=self.trust)


def read_network(proxy: str | None, ca: str | None, environ: Mapping[str, str]) -> Network:
    """Find the way to the hosts: what was asked for, else the environment says.

    Args:
        proxy: The proxy that was asked for.
        ca: The file of certificates that was asked for.
        environ: The environment variables.

    Raises:
        WrongUsage: The proxy that was asked for is malformed, or there is a password in it.
        CouldNotStart: That of the environment is malformed, or there are no certificates in the
            file.
    """
    path = environ.get(CA) or None if ca is None else ca
    return Network(_proxy(proxy, environ), _trust(path, asked=ca is not None), path)


def _proxy(asked: str | None, environ: Mapping[str, str]) -> str | None:
    proxy = environ.get(PROXY) or None if asked is None else asked
    try:
        Network(proxy).transport()
    except InvalidRequest as error:
        flaw = error.reason
    else:
        if asked is not None and urlsplit(asked).password is not None:
            raise WrongUsage(f"--proxy: a secret is never an argument; {PROXY} may hold one")
        return proxy
    if asked is None:
        raise CouldNotStart(f"{PROXY}: {flaw}")
    raise WrongUsage(f"--proxy: {flaw}")


def _trust(path: str | None, *, asked: bool) -> ssl.SSLContext | None:
    if path is None:
        return None
    where = "--ca" if asked else CA
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        flaw = "there is no certificate in it that can be read; it has to be in the form PEM"
    except OSError as error:
        flaw = words_of(error)
    else:
        return context
    raise CouldNotStart(f"{where}: {path}: {flaw}")
