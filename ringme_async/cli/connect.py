"""Builds a command's context: settings, the list of tenants, and a ``RingMe``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Literal

from attrs import field, frozen

from ringme_async import InvalidRequest, Observer, RingMe, Tenant, TokenStore, Who
from ringme_async.cli.errors import CouldNotStart, WrongUsage
from ringme_async.cli.files import NamedPaths, refuse_shared_files
from ringme_async.cli.inputs import refuse_stream
from ringme_async.cli.network import read_network
from ringme_async.cli.settings import Settings, read_settings
from ringme_async.cli.spellings import for_shell
from ringme_async.cli.tenants_file import TenantsFile, read_tenants
from ringme_async.cli.text import did_you_mean

__all__ = ["CommandContext", "Connection", "prepare", "print_to_stderr"]


@frozen
class Connection:
    """Where to, and with which credentials.

    Parameters
    ----------
    base_url
        The provider, such as https://pbx.example.com; else RINGME_BASE_URL, or what the profile
        says.
    profile
        Take the settings from this profile before those of the environment. The file is
        ~/.config/ringme/config.toml, or what RINGME_CONFIG says.
    tenants
        A list of tenants, CSV, JSON lines or a JSON array: name, client_id, app_id, secret or
        secret_env, base_url. "-" reads standard input.
    encoding
        How lists are encoded, such as cp1251; a byte order mark is heeded by itself.
    tokens
        Keep tokens in this file, for the next run.
    url_form
        Which of the API's two paths the provider has.
    proxy
        An HTTP proxy, such as http://proxy.example.com:3128; else RINGME_PROXY, which may hold its
        user and password, too.
    ca
        A file of certificates, PEM, that are trusted as the system's are; else RINGME_CA.
    """

    base_url: str | None = None
    profile: str | None = None
    tenants: str | None = None
    encoding: str = "utf-8"
    tokens: str | None = None
    url_form: Literal["client", "client_info"] = "client"
    proxy: str | None = None
    ca: str | None = None


@frozen
class CommandContext:
    """The settings, tenants and files of a command.

    Attributes:
        settings: The settings for tenants without their own.
        tenants: The list of tenants; None without one.
        inputs: The files that every command reads.
        outputs: The files that every command writes.
    """

    settings: Settings
    tenants: TenantsFile | None
    _make: Callable[[Sequence[Observer]], RingMe] = field(repr=False)
    inputs: NamedPaths = field(factory=dict[str, str], kw_only=True)
    outputs: NamedPaths = field(factory=dict[str, str], kw_only=True)

    def refuse_shared_files(self, inputs: NamedPaths, outputs: NamedPaths) -> None:
        """Check that the command writes no file that it uses for something else.

        Args:
            inputs: Further files that this command reads.
            outputs: Further files that this command writes.

        Raises:
            WrongUsage: One file has two uses.
        """
        refuse_shared_files({**self.inputs, **inputs}, {**self.outputs, **outputs})

    def ringme(self, *observers: Observer) -> RingMe:
        """Create the ``RingMe`` that sends the requests.

        Raises:
            CouldNotStart: There is no host, or the file of tokens is unusable.
        """
        return self._make(observers)

    def who(self, name: str) -> Who:
        """Find a tenant by its name in the list, or without a list by its client id.

        Raises:
            WrongUsage: There is no such tenant.
            CouldNotStart: There are no credentials for a client id.
        """
        if self.tenants is not None:
            found = self.tenants.named(name)
            if found is None:
                names = [str(tenant.name) for tenant in self.tenants.tenants]
                raise WrongUsage(
                    f"there is no tenant {name!r:.100} in {self.tenants.path}{did_you_mean(name, names)}"
                )
            return found
        try:
            Tenant(name)
        except InvalidRequest as error:
            raise WrongUsage(f"{error.reason}; names are those of a list: --tenants FILE") from None
        self.require_settings()
        return name

    def require_settings(self) -> None:
        """Check that a client id alone is enough to reach a client.

        Raises:
            CouldNotStart: There are no credentials, or there is no host.
        """
        self.settings.require_auth()
        self.settings.require_base_url()


def prepare(connection: Connection) -> CommandContext:
    """Read settings and tenants, and warn of files that others can read.

    Raises:
        CouldNotStart: A file or variable is malformed.
        WrongUsage: An argument is malformed.
    """
    refuse_stream("--tokens", connection.tokens, "tokens are kept in a file: name one")
    refuse_stream("--ca", connection.ca, "name a file of certificates")
    settings = read_settings(connection.base_url, connection.profile, os.environ)
    network = read_network(connection.proxy, connection.ca, os.environ)
    if settings.warning:
        print_to_stderr(f"warning: {settings.warning}")
    tenants: TenantsFile | None = None
    if connection.tenants is not None:
        tenants = read_tenants(connection.tenants, connection.encoding, settings, os.environ)
        if tenants.warning:
            print_to_stderr(f"warning: {tenants.warning}")

    def make(observers: Sequence[Observer]) -> RingMe:
        return RingMe(
            settings.base_url,
            auth=settings.auth,
            transport=network.transport(),
            tokens=_token_store(connection.tokens),
            url_form=connection.url_form,
            observers=observers,
        )

    inputs = {"--tenants": connection.tenants, "--ca": network.ca}
    context = CommandContext(
        settings,
        tenants,
        make,
        inputs={option: path for option, path in inputs.items() if path is not None},
        outputs=_token_files(connection.tokens),
    )
    context.refuse_shared_files({}, {})
    return context


def print_to_stderr(*sentences: str) -> None:
    """Print sentences on stderr, as stdout holds the result."""
    for sentence in sentences:
        print(f"ringme: {for_shell(sentence)}", file=sys.stderr)


def _token_files(path: str | None) -> NamedPaths:
    return {} if path is None else {"--tokens": path, "the lock of --tokens": f"{path}.lock"}


def _token_store(path: str | None) -> TokenStore:
    try:
        return TokenStore(path=path)
    except InvalidRequest as error:
        raise CouldNotStart(error.reason) from None
