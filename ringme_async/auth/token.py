"""A bearer token, and what may stand in one."""

from __future__ import annotations

import re

from attrs import define, field
from attrs.setters import frozen as never_changed

from ringme_async._internal.validation import is_number
from ringme_async.errors import InvalidRequest
from ringme_async.transports import Headers

__all__ = ["Token", "flaw_in_text", "flaw_in_token"]

# RFC 6749, appendix A: what a token or a client's secret is made of. A space at an end would be
# lost in a header.
_IN_A_HEADER = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_NOT_IN_A_FORM = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@define(eq=False, init=False)
class Token:
    """A bearer token; two of them are equal only if they are the same object (RFC 6750).

    Args:
        value: What the server calls ``access_token``: printable ASCII.
        expires_at: When it ends, in seconds of the running loop's ``time()``; None if nobody
            knows, and then it is good until it is refused.
        refresh_token: What came with it to get the next one; None if nothing did.

    Attributes:
        authorization: The value of the ``Authorization`` header.
        accepted: Has the API ever taken it? Written by whoever sends it.
        credit: How many new tokens in a row, this one the first, have to be refused for the
            credentials to count as bad. One, unless they have been good.
        headers: Those of a request with it, kept by whoever sends it once it was accepted.
        headers_with_body: The same for a request that has a body.

    Raises:
        InvalidRequest: ``value`` could not stand in a header, or another argument is of the wrong
            type; the message does not show it.
    """

    value: str = field(repr=False, on_setattr=never_changed)
    expires_at: float | None = field(on_setattr=never_changed)
    refresh_token: str | None = field(repr=False, on_setattr=never_changed)
    authorization: str = field(repr=False, on_setattr=never_changed)
    accepted: bool = field(repr=False)
    credit: int = field(repr=False)
    headers: Headers | None = field(repr=False)
    headers_with_body: Headers | None = field(repr=False)

    def __init__(
        self, value: str, expires_at: float | None = None, refresh_token: str | None = None
    ) -> None:
        flaw = flaw_in_token(value) or _flaw_beside(expires_at, refresh_token)
        if flaw is not None:
            # A traceback may show this frame's locals, and there is no self to show yet.
            del self, value, expires_at, refresh_token
            raise InvalidRequest(f"a token {flaw}")
        keep = object.__setattr__
        keep(self, "value", value)
        keep(self, "expires_at", expires_at)
        keep(self, "refresh_token", refresh_token)
        keep(self, "authorization", f"Bearer {value}")
        keep(self, "accepted", False)
        keep(self, "credit", 1)
        keep(self, "headers", None)
        keep(self, "headers_with_body", None)

    @property
    def trusted(self) -> bool:
        """Are its credentials good, as far as anybody knows, even if it is refused?"""
        return self.accepted or self.credit > 1


def flaw_in_token(value: object) -> str | None:
    """Say why something cannot be sent as a bearer token, without showing it; None if it can."""
    if not isinstance(value, str):
        return f"must be a string, not {type(value).__name__}"
    if not value:
        return "must not be empty"
    if _IN_A_HEADER.fullmatch(value) is None:
        return (
            "must be printable ASCII without spaces around it; this one holds something else,"
            " perhaps a line break"
        )
    return None


def _flaw_beside(expires_at: object, refresh_token: object) -> str | None:
    if expires_at is not None and not is_number(expires_at):
        return "needs a number of seconds as its expires_at, or None"
    if refresh_token is not None and not isinstance(refresh_token, str):
        return "needs a string as its refresh_token, or None"
    return None


def flaw_in_text(value: object) -> str | None:
    """Say why something cannot be an id, a secret or a name in a login; None if it can."""
    if not isinstance(value, str):
        return f"must be a string, not {type(value).__name__}"
    if not value:
        return "must not be empty"
    if _NOT_IN_A_FORM.search(value) is not None:
        return "must not hold control characters, such as a line break at its end"
    return None
