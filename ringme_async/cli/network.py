"""Network settings: a company's proxy and its CA."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from attrs import field, frozen

from ringme_async import AiohttpTransport, InvalidRequest
from ringme_async.cli.errors import CouldNotStart, WrongUsage
from ringme_async.mirror.errors import describe_os_error

__all__ = ["CA", "PROXY", "Network", "read_network"]

PROXY: Final = "RINGME_PROXY"
CA: Final = "RINGME_CA"


@frozen
class Network:
    """The network settings for all hosts.

    Attributes:
        proxy: The URL of an HTTP proxy, which may hold a password; None for none.
        trust: The context that verifies servers; None for the system's CAs.
        ca: The file of the trusted certificates.
    """

    proxy: str | None = field(default=None, repr=False)
    trust: ssl.SSLContext | None = None
    ca: str | None = None

    def transport(self) -> AiohttpTransport:
        """Create a transport with these settings.

        Raises:
            InvalidRequest: The proxy is malformed.
        """
        return AiohttpTransport(proxy=self.proxy, ssl=self.trust)


def read_network(proxy: str | None, ca: str | None, environ: Mapping[str, str]) -> Network:
    """Read the network settings: from the options, else from the environment.

    Args:
        proxy: The option ``--proxy``.
        ca: The option ``--ca``.
        environ: The environment variables.

    Raises:
        WrongUsage: The option's proxy is malformed or holds a password.
        CouldNotStart: The environment's proxy is malformed, or the file holds no certificates.
    """
    path = environ.get(CA) or None if ca is None else ca
    return Network(_proxy(proxy, environ), _ssl_context(path, from_option=ca is not None), path)


def _proxy(option: str | None, environ: Mapping[str, str]) -> str | None:
    proxy = environ.get(PROXY) or None if option is None else option
    try:
        Network(proxy).transport()
    except InvalidRequest as error:
        message = error.reason
    else:
        if option is not None and urlsplit(option).password is not None:
            raise WrongUsage(f"--proxy: a secret is never an argument; {PROXY} may hold one")
        return proxy
    if option is None:
        raise CouldNotStart(f"{PROXY}: {message}")
    raise WrongUsage(f"--proxy: {message}")


def _ssl_context(path: str | None, *, from_option: bool) -> ssl.SSLContext | None:
    if path is None:
        return None
    where = "--ca" if from_option else CA
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        message = "there is no certificate in it that can be read; it has to be in the form PEM"
    except OSError as error:
        message = describe_os_error(error)
    else:
        return context
    raise CouldNotStart(f"{where}: {path}: {message}")
