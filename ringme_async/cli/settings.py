"""Where to and with which credentials, unless a tenant has its own: the environment or a profile."""

from __future__ import annotations

import os
import stat
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from attrs import field, frozen

from ringme_async import Auth, ClientCredentials, InvalidRequest, Tenant
from ringme_async.cli.text import meant
from ringme_async.cli.wrong import CouldNotStart, WrongUsage
from ringme_async.environment import APP_ID, APP_SECRET, BASE_URL, TOKEN, USERNAME, auth_in

__all__ = ["CONFIG", "Settings", "config_path", "is_open_to_others", "read_settings"]

CONFIG: Final = "RINGME_CONFIG"

_DEFAULT: Final = "default"
_KEYS: Final = ("base_url", "app_id", "secret", "secret_env")


@frozen
class Settings:
    """What holds for whoever has nothing of his own.

    Attributes:
        base_url: The provider's URL; None if there is none.
        auth: The credentials; None if there are none.
        warning: What the person should know of the profile; empty if there is nothing.
    """

    base_url: str | None = None
    auth: Auth | None = field(default=None, repr=False)
    warning: str = ""

    def require_base_url(self) -> None:
        """See to it that there is a host.

        Raises:
            CouldNotStart: There is none.
        """
        if self.base_url is None:
            raise CouldNotStart(
                "there is no base URL: give --base-url, set RINGME_BASE_URL, or name a profile"
            )

    def require_auth(self) -> None:
        """See to it that there are credentials.

        Raises:
            CouldNotStart: There are none.
        """
        if self.auth is None:
            raise CouldNotStart(
                "there are no credentials: set RINGME_APP_ID and RINGME_APP_SECRET, or name a"
                " profile, or a list of tenants that have their own"
            )


def read_settings(
    base_url: str | None, profile: str | None, environ: Mapping[str, str]
) -> Settings:
    """Find the settings.

    They come whole from one place: the profile that is asked for; else the environment, if any of
    its variables is set; else the profile ``default``, if there is one. So no secret of one place
    goes to a host of another, unless ``base_url`` says so.

    Args:
        base_url: What was asked for; it overrules the place.
        profile: The name of the profile that was asked for.
        environ: The environment variables.

    Raises:
        CouldNotStart: The place is malformed, or there is no such profile.
        WrongUsage: ``base_url`` is malformed.
    """
    if base_url is not None:
        try:
            Tenant(base_url=base_url)
        except InvalidRequest as error:
            raise WrongUsage(f"--base-url: {error.reason}") from None
    found = _find(profile, environ)
    return Settings(base_url or found.base_url, found.auth, found.warning)


def config_path(environ: Mapping[str, str], platform: str = sys.platform) -> Path:
    """Name the file of profiles: ``RINGME_CONFIG``, else where the platform keeps such files."""
    if environ.get(CONFIG):
        return Path(environ[CONFIG])
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    if platform == "win32":
        folder = Path(environ.get("APPDATA") or home / "AppData" / "Roaming")
    elif platform == "darwin":
        folder = home / "Library" / "Application Support"
    else:
        folder = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    return folder / "ringme" / "config.toml"


def is_open_to_others(path: str | Path) -> bool:
    """Whether others than the owner can read a file; never so where there are no such rights."""
    if os.name == "nt":  # pragma: no cover - no Windows among the machines that run the tests
        return False
    return bool(os.stat(path).st_mode & (stat.S_IRGRP | stat.S_IROTH))


def _find(profile: str | None, environ: Mapping[str, str]) -> Settings:
    if profile is not None:
        return _of_profile(profile, config_path(environ), environ)
    if any(environ.get(name) for name in (BASE_URL, APP_ID, APP_SECRET, TOKEN)):
        return _of_environment(environ)
    path = config_path(environ)
    if environ.get(CONFIG) or path.exists():
        return _of_profile(_DEFAULT, path, environ)
    return Settings()


def _of_environment(environ: Mapping[str, str]) -> Settings:
    base_url = environ.get(BASE_URL) or None
    _check_base_url(base_url, BASE_URL)
    has_auth = any(environ.get(name) for name in (TOKEN, APP_ID, APP_SECRET, USERNAME))
    try:
        return Settings(base_url, auth_in(environ) if has_auth else None)
    except InvalidRequest as error:
        raise CouldNotStart(error.reason) from None


def _of_profile(name: str, path: Path, environ: Mapping[str, str]) -> Settings:
    where = f"profile {name!r:.60} in {path}"
    table = _table(name, path)
    unknown = sorted(set(table) - set(_KEYS))
    if unknown:
        known = ", ".join(_KEYS)
        named = ", ".join(f"{key}{meant(key, _KEYS)}" for key in unknown)
        raise CouldNotStart(f"{where}: unknown keys: {named}; there are {known}")
    for key, value in table.items():
        if not isinstance(value, str) or not value:
            raise CouldNotStart(f"{where}: {key} is no text")
    texts = cast("dict[str, str]", table)
    _check_base_url(texts.get("base_url"), where)
    warning = ""
    if "secret" in texts and is_open_to_others(path):
        warning = f"{path} holds a secret, and others can read it: chmod 600 {path}"
    return Settings(texts.get("base_url"), _auth(texts, where, environ), warning)


def _auth(
    texts: Mapping[str, str], where: str, environ: Mapping[str, str]
) -> ClientCredentials | None:
    given = [key for key in ("secret", "secret_env") if key in texts]
    if "app_id" not in texts:
        if given:
            raise CouldNotStart(f"{where}: it has a secret, and no app_id")
        return None
    if len(given) != 1:
        raise CouldNotStart(f"{where}: an app_id needs either a secret or a secret_env")
    if given == ["secret_env"] and not environ.get(texts["secret_env"]):
        # Its name is not shown, in case it is the secret itself that stands there.
        raise CouldNotStart(f"{where}: the environment variable that secret_env names is not set")
    try:
        if given == ["secret"]:
            return ClientCredentials(texts["app_id"], texts["secret"])
        return ClientCredentials(texts["app_id"], environ[texts["secret_env"]])
    except InvalidRequest as error:
        flaw = error.reason
    raise CouldNotStart(f"{where}: {flaw}")


def _table(name: str, path: Path) -> dict[str, object]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CouldNotStart(f"{path}: {error.strerror or error}") from None
    try:
        profiles: dict[str, object] = tomllib.loads(content.decode("utf-8-sig"))
    except ValueError as error:
        # Those of tomllib name line and column, and those of decode() no more than a byte.
        raise CouldNotStart(f"{path}: {error}") from None
    table = profiles.get(name)
    if not isinstance(table, dict):
        raise CouldNotStart(
            f"{path}: there is no profile {name!r:.60}{meant(name, list(profiles))}"
        )
    return cast("dict[str, object]", table)


def _check_base_url(base_url: str | None, where: str) -> None:
    try:
        Tenant(base_url=base_url)
    except InvalidRequest as error:
        raise CouldNotStart(f"{where}: {error.reason}") from None
