"""The record of a token in the file: one line of JSON, in calendar time."""

from __future__ import annotations

import json
import math
from typing import cast

from attrs import field, frozen

from ringme_async.auth.token import flaw_in_text, flaw_in_token

__all__ = ["StoredToken", "from_line", "to_line"]

_KEPT_WITHOUT_EXPIRY = 86_400.0


@frozen
class StoredToken:
    """A token in the file that processes share.

    Args:
        value: The server's ``access_token``.
        saved: When it was saved, in seconds since the epoch.
        expires: When it expires, in seconds since the epoch; None if unknown.
        lifetime: Its lifetime in seconds on arrival; None if unknown.
        refresh_token: The refresh token for the next one; None if the credentials get it.
        number: Its sequence number among the key's tokens, by arrival. Clocks cannot order them:
            they differ between machines and can be set back.
    """

    value: str = field(repr=False)
    saved: float
    expires: float | None = None
    lifetime: float | None = None
    refresh_token: str | None = field(default=None, repr=False)
    number: int = 0

    @property
    def spent_at(self) -> float:
        """When the record is useless, in seconds since the epoch."""
        if self.refresh_token is not None:
            return math.inf
        return self.saved + _KEPT_WITHOUT_EXPIRY if self.expires is None else self.expires

    def remaining(self, wall_now: float) -> float | None:
        """Seconds until it expires; None if unknown.

        Never more than its lifetime, in case the clock was set back.
        """
        if self.expires is None:
            return None
        remaining = self.expires - wall_now
        return remaining if self.lifetime is None else min(remaining, self.lifetime)


def to_line(name: str, token: StoredToken) -> bytes:
    """Write a key's token as one line, with its newline."""
    record = {
        "key": name,
        "token": token.value,
        "saved": token.saved,
        "expires": token.expires,
        "lifetime": token.lifetime,
        "refresh": token.refresh_token,
        "number": token.number,
    }
    return json.dumps(record, separators=(",", ":")).encode("ascii") + b"\n"


def from_line(line: bytes) -> tuple[str, StoredToken] | None:
    """Read a line of ``to_line``; None if it is any other line."""
    try:
        found: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    record = cast("dict[str, object]", found)
    name, value, refresh = record.get("key"), record.get("token"), record.get("refresh")
    times = [record.get(part) for part in ("saved", "expires", "lifetime")]
    if not isinstance(name, str) or not isinstance(value, str) or flaw_in_token(value) is not None:
        return None
    if refresh is not None and flaw_in_text(refresh) is not None:
        return None
    if times[0] is None or not all(time is None or _is_a_time(time) for time in times):
        return None
    number = record.get("number", 0)
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        return None
    saved, expires, lifetime = cast("tuple[float, float | None, float | None]", tuple(times))
    return name, StoredToken(value, saved, expires, lifetime, cast("str | None", refresh), number)


def _is_a_time(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and abs(value) < 1e15
