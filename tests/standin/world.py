"""The tenants, the applications, the tokens and the hourly counters."""

from __future__ import annotations

import math
import re
import secrets
import zoneinfo
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from .clock import now
from .config import Application, Config

WRITABLE = (
    *("dial_rule_id", "disk_space_notify_email", "disk_space_notify_threshold", "geo_list"),
    *("hold_music", "sip_network_permission_id", "timezone"),
)
LATER: dict[str, Any] = {
    "call_interactive_url": None,
    "call_interactive_method": "GET",
    "call_interactive_timeout": None,
    "call_interactive_out_call": False,
}
_GEO_LIST = re.compile(r"\*|[A-Z]{2}( [A-Z]{2})*")


@lru_cache(maxsize=1024)
def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return False
    return True


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def wrong_with(name: str, value: object) -> str | None:
    """Say what is wrong with a value of a writable field; None if it is valid."""
    if value is None:
        return None
    match name:
        case "dial_rule_id" | "hold_music" | "sip_network_permission_id":
            good = _whole(value) and 0 <= int(str(value)) < 2**63
        case "call_interactive_timeout":
            good = _whole(value) and int(str(value)) >= 0
        case "disk_space_notify_threshold":
            good = _whole(value) and 0 <= int(str(value)) <= 100
        case "disk_space_notify_email":
            good = isinstance(value, str) and "@" in value
        case "geo_list":
            good = isinstance(value, str) and _GEO_LIST.fullmatch(value) is not None
        case "timezone":
            good = isinstance(value, str) and _is_zone(value)
        case "call_interactive_method":
            good = value in ("GET", "POST")
        case "call_interactive_out_call":
            good = isinstance(value, bool)
        case _:
            good = isinstance(value, str)
    return None if good else f"{name}: wrong value"


class Tenants:
    """Records, made from the template on demand; only changes are stored."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._changes: dict[int, dict[str, Any]] = {
            int(number): dict(changes) for number, changes in config.records.items()
        }
        self.writable = (*WRITABLE, *LATER) if config.later_revision else WRITABLE

    def __contains__(self, number: int) -> bool:
        return number > 0 and (number in self._config.tenants or number in self._changes)

    def record(self, number: int) -> dict[str, Any]:
        """The record in wire form."""
        config = self._config
        made = dict(config.template)
        made["id"] = number
        made["name"] = f"tenant_{number}"
        made["prefix"] = f"{number:04}"
        made["domain_prefix"] = f"{number:05}"
        if config.later_revision:
            made.update(LATER)
        made.update(config.extra)
        length = made["extension_len"]
        as_string = config.extension_len == "string" or (
            config.extension_len == "mixed" and number % 2 == 1
        )
        made["extension_len"] = str(length) if as_string and length is not None else length
        for name in config.absent:
            made.pop(name, None)
        made.update(self._changes.get(number, {}))
        return made

    def change(self, number: int, fields: dict[str, Any]) -> None:
        """Set fields of a record, unchecked."""
        self._changes.setdefault(number, {}).update(fields)


@dataclass(slots=True)
class Token:
    """An issued bearer token."""

    value: str = field(repr=False)
    application: Application
    user: str | None
    expires_at: float
    uses_left: int | None
    dead: bool = False

    def alive(self) -> bool:
        """Is it valid now?"""
        return not self.dead and now() < self.expires_at and self.uses_left != 0


class Tokens:
    """The issued tokens, expired ones too, so that their owner stays known."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._tokens: dict[str, Token] = {}
        self._refresh: dict[str, tuple[Application, str | None]] = {}
        for application in config.applications:
            if application.refresh_token is not None:
                self._refresh[application.refresh_token] = (application, None)

    def find(self, value: str) -> Token | None:
        """The token of this value."""
        return self._tokens.get(value)

    def issue(
        self, application: Application, user: str | None, lifetime: float | None = None
    ) -> Token:
        """Make a new one."""
        life = self._config.token_lifetime if lifetime is None else lifetime
        value = f"tk{len(self._tokens)}.{secrets.token_urlsafe(24)}"
        token = Token(value, application, user, now() + life, self._config.token_uses)
        self._tokens[value] = token
        return token

    def issue_refresh(self, application: Application, user: str | None) -> str:
        """Make a new refresh token."""
        value = f"rf{len(self._refresh)}.{secrets.token_urlsafe(24)}"
        self._refresh[value] = (application, user)
        return value

    def owner_of_refresh(self, value: str) -> tuple[Application, str | None] | None:
        """The owner of a refresh token."""
        return self._refresh.get(value)

    def retire_refresh(self, value: str) -> None:
        """Remove a refresh token that was used and replaced."""
        self._refresh.pop(value, None)

    def revoke(self, app_id: str | None = None) -> int:
        """Revoke all tokens, or those of one application; returns how many were live."""
        killed = 0
        for token in self._tokens.values():
            if token.alive() and app_id in (None, token.application.app_id):
                token.dead = True
                killed += 1
        return killed


@dataclass(slots=True)
class Window:
    """One window ("hour") of one client's counter."""

    client: int
    began: float
    counted: int = 0
    served: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "client": self.client,
            "began": self.began,
            "counted": self.counted,
            "served": self.served,
            "refused": self.refused,
        }


class Counters:
    """One counter a client, shared by its applications; each application has its own ceiling.

    A window begins with the first request that meets none.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._windows: dict[int, Window] = {}
        self.history: list[Window] = []

    def window(self, client: int) -> Window:
        """The client's window now."""
        moment = now()
        window = self._windows.get(client)
        if window is None or moment >= window.began + self._config.window_seconds:
            window = self._windows[client] = Window(client, moment)
            self.history.append(window)
        return window

    def ceiling(self, application: Application) -> int:
        """The ceiling of this application on the client's counter."""
        return self._config.ceiling if application.ceiling is None else application.ceiling

    def take(self, application: Application) -> bool:
        """Count one request, unless the application is at its ceiling."""
        window = self.window(application.tenant)
        app_id = application.app_id
        if window.counted >= self.ceiling(application):
            window.refused[app_id] = window.refused.get(app_id, 0) + 1
            return False
        window.counted += 1
        window.served[app_id] = window.served.get(app_id, 0) + 1
        return True

    def headers(self, application: Application) -> list[tuple[str, str]]:
        """The three headers now."""
        if not self._config.limit_headers:
            return []
        window, ceiling = self.window(application.tenant), self.ceiling(application)
        rest = window.began + self._config.window_seconds - now()
        rounded = math.ceil(rest) if self._config.reset_rounding == "ceil" else math.floor(rest)
        return [
            ("X-RateLimit-Limit", str(ceiling)),
            ("X-RateLimit-Remaining", str(max(0, ceiling - window.counted))),
            ("X-RateLimit-Reset", str(max(0, rounded))),
        ]

    def forget(self) -> None:
        """Reset every counter."""
        self._windows.clear()
        self.history.clear()
