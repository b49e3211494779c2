"""Profiles: named settings in a file of the user."""

from __future__ import annotations

import os
import stat
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from attrs import field, frozen

from ringme_async import InvalidRequest, Tenant
from ringme_async.cli.errors import CouldNotStart
from ringme_async.cli.text import did_you_mean
from ringme_async.mirror.errors import describe_file_error

__all__ = [
    "CONFIG",
    "Profile",
    "check_base_url",
    "config_path",
    "default_profile",
    "is_open_to_others",
    "read_profile",
]

CONFIG: Final = "RINGME_CONFIG"

_DEFAULT: Final = "default"
_KEYS: Final = ("base_url", "app_id", "secret", "secret_env")


@frozen
class Profile:
    """The settings of a profile.

    Attributes:
        where: Its name and file, for messages.
        base_url: The provider's URL; None if there is none.
        app_id: The App ID; None if there is none.
        warning: A warning about the file; empty for none.
    """

    where: str
    base_url: str | None = None
    app_id: str | None = None
    warning: str = ""
    _secret: str | None = field(default=None, repr=False)
    _secret_env: str | None = field(default=None, repr=False)

    @property
    def has_secret(self) -> bool:
        """True if the profile holds the App Secret, or names its variable."""
        return self._secret is not None or self._secret_env is not None

    def secret(self, environ: Mapping[str, str]) -> str:
        """Look up the App Secret.

        Raises:
            CouldNotStart: The variable that should hold it is not set.
        """
        if self._secret is not None:
            return self._secret
        secret = environ.get(self._secret_env or "")
        if not secret:
            # Without the name: a user may have put the secret itself there.
            raise CouldNotStart(
                f"{self.where}: the environment variable that secret_env names is not set"
            )
        return secret


def config_path(environ: Mapping[str, str], platform: str = sys.platform) -> Path:
    """Return the path of the profiles: ``RINGME_CONFIG``, else the platform's usual place."""
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
    """Return True if users other than the owner can read a file; False on Windows."""
    if os.name == "nt":  # pragma: no cover - no Windows among the machines that run the tests
        return False
    return bool(os.stat(path).st_mode & (stat.S_IRGRP | stat.S_IROTH))


def read_profile(name: str, environ: Mapping[str, str]) -> Profile:
    """Read a profile by its name.

    Raises:
        CouldNotStart: There is no such profile, or it is malformed.
    """
    path = config_path(environ)
    profiles = _profiles(path)
    table = profiles.get(name)
    if not isinstance(table, dict):
        raise CouldNotStart(
            f"{path}: there is no profile {name!r:.60}{did_you_mean(name, list(profiles))}"
        )
    return _checked(cast("dict[str, object]", table), name, path)


def default_profile(environ: Mapping[str, str], *, required: bool) -> Profile | None:
    """Read the profile ``default``; None if there is none.

    Args:
        environ: The environment variables.
        required: Whether a file that exists, or that ``RINGME_CONFIG`` names, must have it.

    Raises:
        CouldNotStart: The file is malformed, or lacks the required profile.
    """
    path = config_path(environ)
    named = bool(environ.get(CONFIG))
    if not os.path.exists(path) and not (named and required):
        return None
    if not required and not isinstance(_profiles(path).get(_DEFAULT), dict):
        return None
    return read_profile(_DEFAULT, environ)


def check_base_url(base_url: str | None, where: str) -> None:
    """Check a base URL; ``where`` is its source, for the message.

    Raises:
        CouldNotStart: It is malformed.
    """
    try:
        Tenant(base_url=base_url)
    except InvalidRequest as error:
        raise CouldNotStart(f"{where}: {error.reason}") from None


def _checked(table: Mapping[str, object], name: str, path: Path) -> Profile:
    where = f"profile {name!r:.60} in {path}"
    unknown = sorted(set(table) - set(_KEYS))
    if unknown:
        known = ", ".join(_KEYS)
        named = ", ".join(f"{key}{did_you_mean(key, _KEYS)}" for key in unknown)
        raise CouldNotStart(f"{where}: unknown keys: {named}; there are {known}")
    for key, value in table.items():
        if not isinstance(value, str) or not value:
            raise CouldNotStart(f"{where}: {key} is no text")
    texts = cast("dict[str, str]", table)
    check_base_url(texts.get("base_url"), where)
    if "secret" in texts and "secret_env" in texts:
        raise CouldNotStart(f"{where}: an app_id needs either a secret or a secret_env")
    warning = ""
    if "secret" in texts and is_open_to_others(path):
        warning = f"{path} holds a secret, and others can read it: chmod 600 {path}"
    return Profile(
        where,
        texts.get("base_url"),
        texts.get("app_id"),
        warning,
        texts.get("secret"),
        texts.get("secret_env"),
    )


def _profiles(path: Path) -> dict[str, object]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CouldNotStart(describe_file_error(path, error)) from None
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except ValueError as error:
        # These messages show no secret: tomllib names line and column, decode() one byte.
        raise CouldNotStart(f"{path}: {error}") from None
