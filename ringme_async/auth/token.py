"""A bearer token, and the checks of its text."""

from __future__ import annotations

import re

from attrs import define, field
from attrs.setters import frozen as read_only

from ringme_async._internal.validation import is_number
from ringme_async.errors import InvalidRequest
from ringme_async.transports import Headers

__all__ = ["Token", "flaw_in_text", "flaw_in_token"]

# RFC 6749, appendix A: the characters of a token or a client secret. No space at an end, because
# a header would lose it.
_IN_A_HEADER = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_NOT_IN_A_FORM = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@define(eq=False, init=False)
class Token:
    """A bearer token; two of them are equal only if they are the same object (RFC 6750).

    Args:
        value: The server's ``access_token``: printable ASCII.
        expires_at: When it expires, in seconds of the running loop's ``time()``. None if unknown;
            it is then valid until the server refuses it.
        refresh_token: The refresh token that came with it; None if there was none.

    Attributes:
        authorization: The value of the ``Authorization`` header.
        accepted: True once the API has accepted it; the dispatcher sets it.
        credit: How many new tokens in a row, starting with this one, the API must refuse before
            the credentials count as bad. One, unless an earlier token was accepted.
        headers: The headers of a request with this token; cached once it was accepted.
        headers_with_body: The same for a request that has a body.

    Raises:
        InvalidRequest: ``value`` is no valid header value, or another argument has the wrong type;
            the message does not show it.
    """

    value: str = field(repr=False, on_setattr=read_only)
    expires_at: float | None = field(on_setattr=read_only)
    refresh_token: str | None = field(repr=False, on_setattr=read_only)
    authorization: str = field(repr=False, on_setattr=read_only)
    accepted: bool = field(repr=False)
    credit: int = field(repr=False)
    headers: Headers | None = field(repr=False)
    headers_with_body: Headers | None = field(repr=False)

    def __init__(
        self, value: str, expires_at: float | None = None, refresh_token: str | None = None
    ) -> None:
        flaw = flaw_in_token(value) or _flaw_in_optional(expires_at, refresh_token)
        if flaw is not None:
            # A traceback may show this frame's locals: the secret, and a self without its fields.
            del self, value, expires_at, refresh_token
            raise InvalidRequest(f"a token {flaw}")
        assign = object.__setattr__
        assign(self, "value", value)
        assign(self, "expires_at", expires_at)
        assign(self, "refresh_token", refresh_token)
        assign(self, "authorization", f"Bearer {value}")
        assign(self, "accepted", False)
        assign(self, "credit", 1)
        assign(self, "headers", None)
        assign(self, "headers_with_body", None)

    @property
    def trusted(self) -> bool:
        """True if its credentials still count as good, even if the API refuses the token."""
        return self.accepted or self.credit > 1


def flaw_in_token(value: object) -> str | None:
    """Say why a value is no bearer token, without showing it; None if it is one."""
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


def _flaw_in_optional(expires_at: object, refresh_token: object) -> str | None:
    if expires_at is not None and not is_number(expires_at):
        return "needs a number of seconds as its expires_at, or None"
    if refresh_token is not None and not isinstance(refresh_token, str):
        return "needs a string as its refresh_token, or None"
    return None


def flaw_in_text(value: object) -> str | None:
    """Say why a value is no id, secret or user name for a login; None if it is one."""
    if not isinstance(value, str):
        return f"must be a string, not {type(value).__name__}"
    if not value:
        return "must not be empty"
    if _NOT_IN_A_FORM.search(value) is not None:
        return "must not hold control characters, such as a line break at its end"
    return None
