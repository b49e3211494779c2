"""Reads a command's list of tenants completely, before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import field, frozen

from ringme_async import ClientCredentials, InvalidRequest, Tenant
from ringme_async.cli.columns import Columns
from ringme_async.cli.errors import CouldNotStart
from ringme_async.cli.inputs import input_name, is_stdin
from ringme_async.cli.rows import Row, read_rows
from ringme_async.cli.settings import Settings, is_open_to_others
from ringme_async.mirror import key_of

__all__ = ["COLUMNS", "TenantsFile", "read_tenants"]

COLUMNS: Final = ("name", "client_id", "app_id", "secret", "secret_env", "base_url")

_CLIENT_ID: Final = re.compile(r"[0-9]{1,20}|@me", re.ASCII)


@frozen
class TenantsFile:
    """The tenants of a list.

    Attributes:
        path: The file.
        tenants: Each with a name of its own.
        warning: A warning about the file; empty for none.
    """

    path: str
    tenants: Sequence[Tenant] = field(repr=False)
    warning: str

    def named(self, name: str) -> Tenant | None:
        """Find a tenant by its name; None if there is none."""
        return next((tenant for tenant in self.tenants if tenant.name == name), None)


def read_tenants(
    path: str, encoding: str, settings: Settings, environ: Mapping[str, str]
) -> TenantsFile:
    """Read a list of tenants: CSV, JSON lines or a JSON array.

    The columns:

    - ``name``, by default the ``client_id``;
    - ``client_id``, by default ``@me``;
    - ``app_id``, and either ``secret`` or ``secret_env``, the environment variable that holds it;
    - ``base_url``.

    A tenant without an ``app_id`` uses the credentials of the settings and its ``client_id``.

    Args:
        path: The file; ``-`` for standard input.
        encoding: The encoding of its text.
        settings: Host and credentials for tenants without their own.
        environ: The environment variables.

    Raises:
        CouldNotStart: The file cannot be read, or lines are wrong; the error names all of them.
        WrongUsage: There is no such encoding.
    """
    found = read_rows(path, encoding, Columns(COLUMNS))
    _require_what_no_line_has(found.rows, settings)
    tenants: list[Tenant] = []
    lines: dict[str, int] = {}
    for row in found.rows:
        try:
            tenant = _tenant(row, settings, environ)
            name = key_of(tenant)
        except InvalidRequest as error:
            found.errors.add(row.line, error.reason)
            continue
        known = lines.setdefault(name, row.line)
        if known == row.line:
            tenants.append(tenant)
        else:
            found.errors.add(row.line, f"the name {name!r:.100} is on line {known} already")
    found.errors.raise_if_any()
    if not tenants:
        raise CouldNotStart(f"{input_name(path)}: there is no tenant in it")
    has_secrets = any("secret" in row.cells for row in found.rows)
    warning = ""
    if has_secrets and not is_stdin(path) and is_open_to_others(path):
        warning = f"{path} holds secrets, and others can read it: chmod 600 {path}"
    return TenantsFile(input_name(path), tenants, warning)


def _require_what_no_line_has(rows: Sequence[Row], settings: Settings) -> None:
    """Report once a setting that every line lacks, instead of once a line."""
    if not any(row.cells.get("base_url") for row in rows):
        settings.require_base_url()
    if not any(row.cells.get("app_id") for row in rows):
        settings.require_auth()


def _tenant(row: Row, settings: Settings, environ: Mapping[str, str]) -> Tenant:
    client_id = _client_id(row)
    base_url = _text(row, "base_url")
    if base_url is None and settings.base_url is None:
        raise InvalidRequest("it has no base_url, and there is none in the settings")
    auth = _auth(row, environ)
    if auth is None:
        if settings.auth is None:
            raise InvalidRequest("it has no app_id, and there are no credentials in the settings")
        if client_id is None:
            raise InvalidRequest("it has neither a client_id nor an app_id")
    name = _text(row, "name") or client_id
    if name is None or name == "@me":
        raise InvalidRequest("it has no name")
    return Tenant(client_id or "@me", auth=auth, base_url=base_url, name=name)


def _auth(row: Row, environ: Mapping[str, str]) -> ClientCredentials | None:
    """Read the credentials of a line; messages show no value, which may be a secret."""
    app_id = _text(row, "app_id")
    given = [column for column in ("secret", "secret_env") if _text(row, column) is not None]
    if app_id is None:
        if given:
            raise InvalidRequest("it has a secret, and no app_id")
        return None
    if len(given) != 1:
        raise InvalidRequest("an app_id needs either a secret or a secret_env")
    if given == ["secret"]:
        return ClientCredentials(app_id, _text(row, "secret") or "")
    if not environ.get(_text(row, "secret_env") or ""):
        # Without the name: a user may have put the secret itself there.
        raise InvalidRequest("the environment variable that secret_env names is not set")
    return ClientCredentials(app_id, environ[_text(row, "secret_env") or ""])


def _client_id(row: Row) -> str | None:
    value = row.cells.get("client_id")
    if type(value) is int:
        value = str(value)
    if value is None or (isinstance(value, str) and _CLIENT_ID.fullmatch(value)):
        return value
    # Without the value: in a line with shifted cells, it may be the secret.
    raise InvalidRequest("client_id is neither a number nor @me")


def _text(row: Row, column: str) -> str | None:
    value = row.cells.get(column)
    if value is None or isinstance(value, str):
        return value or None
    raise InvalidRequest(f"{column} is no text")
