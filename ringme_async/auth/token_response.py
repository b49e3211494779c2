"""Reads the answer of a token endpoint (RFC 6749, section 5; API page, section 2)."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import cast
from urllib.parse import unquote, unquote_plus, urlencode, urlsplit

from attrs import field, frozen

from ringme_async._internal.redaction import MASK, spellings, without, without_token
from ringme_async.auth.token import Token, flaw_in_token
from ringme_async.errors import RingMeError, TokenError, one_line
from ringme_async.policies.api_errors import api_error_from
from ringme_async.transports import Headers, Response

__all__ = ["LoginForm", "Refused", "read_answer"]

_PUBLIC_FIELDS = frozenset({"grant_type", "client_id", "scope", "username", "redirect_uri"})
_LONGEST_WORD = 60
_LONGEST_TEXT = 10_000
_LONGEST_LIFETIME = 10 * 365 * 86_400.0
_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?")


@frozen(eq=False)
class LoginForm:
    """The parameters of a token request; no ``repr`` shows them."""

    fields: Mapping[str, str] = field(repr=False)

    @property
    def grant(self) -> str:
        """The grant type, for events."""
        return self.fields.get("grant_type", "")

    @property
    def who(self) -> str:
        """The App ID, for messages."""
        app_id = self.fields.get("client_id")
        return "the login" if app_id is None else f"App ID {one_line(app_id, _LONGEST_WORD)!r}"

    def encode(self) -> bytes:
        """Encode the form as the body of a request."""
        return urlencode(self.fields, errors="replace").encode("ascii")

    def redact(self, text: str) -> str:
        """Mask this form's secrets in a text from the server.

        A text with an encoded secret is masked whole, because the secret's place is unknown. So is
        a text that is too long to search.
        """
        if len(text) > _LONGEST_TEXT:
            return MASK
        secrets = [
            value for name, value in self.fields.items() if value and name not in _PUBLIC_FIELDS
        ]
        # The longest first: a short secret may be a part of a longer one.
        for secret in sorted(secrets, key=len, reverse=True):
            text = without(secret, text)
        decodings = _decodings(text)
        encoded = any(without(secret, one) != one for one in decodings for secret in secrets)
        spelled = any(
            without_token(secret, text, spelling) != text
            for secret in secrets
            for spelling in spellings(secret)
            if spelling != secret
        )
        return MASK if encoded or spelled else text


@frozen(eq=False)
class Refused:
    """An answer without a token."""

    error: RingMeError
    garbled: bool = False
    """True if the body is no JSON object, so that a proxy probably sent it."""


def read_answer(
    response: Response, form: LoginForm, *, host: str, sent_at: float
) -> Token | Refused:
    """Read the token in an answer, or the error.

    Args:
        response: The answer, of any status.
        form: The form of the request.
        host: The host of the request, for messages.
        sent_at: When it was sent, in the loop's time; the token's lifetime starts there.
    """
    status = response.status
    if 200 <= status < 300:
        return _read_success(response, form, host, sent_at)
    if status in {408, 429} or status >= 500:
        return Refused(api_error_from(_without_secrets(response, form)))
    if 300 <= status < 400:
        return Refused(_redirect_error(response, form, host))
    return Refused(_refusal_error(_json_object(response.body) or {}, status, form, host))


def _read_success(
    response: Response, form: LoginForm, host: str, sent_at: float
) -> Token | Refused:
    status = response.status
    answer = _json_object(response.body)
    if answer is None:
        what = _describe_body(response)
        text = f"{host} answered the login of {form.who} with {status} and {what}"
        return Refused(TokenError(text, status_code=status), garbled=True)
    if answer.get("error"):
        return Refused(_refusal_error(answer, status, form, host))
    flaw = _flaw(answer, form)
    if flaw is not None:
        text = f"{host} answered the login of {form.who} with {status} and {flaw}"
        return Refused(TokenError(text, status_code=status))
    lifetime = _lifetime(answer.get("expires_in"))
    return Token(
        str(answer["access_token"]),
        None if lifetime is None else sent_at + lifetime,
        _string_in(answer, "refresh_token"),
    )


def _flaw(answer: Mapping[str, object], form: LoginForm) -> str | None:
    if "access_token" not in answer:
        return "JSON without access_token"
    flaw = flaw_in_token(answer["access_token"])
    if flaw is not None:
        return f"an access_token of no use: it {flaw}"
    kind = answer.get("token_type")
    if kind is None or (isinstance(kind, str) and kind.strip().lower() == "bearer"):
        return None
    # RFC 6749, 7.1: a client must not use a token of an unknown type.
    shown = one_line(form.redact(kind), _LONGEST_WORD) if isinstance(kind, str) else "no string"
    return f"a token_type that is not bearer: {shown}"


def _lifetime(expires_in: object) -> float | None:
    """Read ``expires_in``; an impossible value, such as 0 or less, counts as missing."""
    if isinstance(expires_in, str) and _SECONDS.fullmatch(expires_in.strip()):
        expires_in = float(expires_in)
    if isinstance(expires_in, float) and 0 < expires_in <= _LONGEST_LIFETIME:
        return expires_in
    return None


def _refusal_error(
    answer: Mapping[str, object], status: int, form: LoginForm, host: str
) -> TokenError:
    received = _string_in(answer, "error")
    error = "" if received is None else one_line(form.redact(received), _LONGEST_WORD)
    received = _string_in(answer, "error_description") or _string_in(answer, "message")
    description = None if received is None else one_line(form.redact(received))
    words = ": ".join(part for part in (error, description) if part)
    return TokenError(
        f"{host} refused {form.who} with {status}{f', {words}' if words else ''}",
        error=error,
        error_description=description,
        status_code=status,
    )


def _redirect_error(response: Response, form: LoginForm, host: str) -> TokenError:
    try:
        place = urlsplit(response.headers.get("location", ""))
        target = f"{place.scheme}://{place.netloc.rpartition('@')[2]}" if place.netloc else ""
    except ValueError:
        target = ""
    shown = f" to {one_line(form.redact(target))}" if target else ""
    return TokenError(
        f"{host} answered the login of {form.who} with {response.status}, a redirect{shown}; it is"
        " not followed, as the login holds a secret",
        status_code=response.status,
    )


def _without_secrets(response: Response, form: LoginForm) -> Response:
    """Keep only the message and two headers of an answer; a debug page may hold the whole form.

    Without the quota's headers and status, a 429 is read as ``Busy``: too many logins at once, for
    which a short wait is right.
    """
    answer = _json_object(response.body) or {}
    message = _string_in(answer, "message") or _string_in(answer, "error_description")
    words = {} if message is None else {"message": one_line(form.redact(message))}
    return Response(
        response.status,
        Headers(
            {
                name: form.redact(response.headers[name])
                for name in ("date", "retry-after")
                if name in response.headers
            }
        ),
        json.dumps(words).encode() if words else b"",
    )


def _json_object(body: bytes) -> dict[str, object] | None:
    try:
        # Integers as floats: Python refuses to parse an int of 5,000 digits.
        answer: object = json.loads(body, parse_int=float)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, object]", answer) if isinstance(answer, dict) else None


def _string_in(answer: Mapping[str, object], name: str) -> str | None:
    value = answer.get(name)
    return value if isinstance(value, str) and value else None


def _describe_body(response: Response) -> str:
    if not response.body.strip():
        return "an empty body"
    if "html" in response.headers.get("content-type", "").lower():
        return "an HTML page instead of JSON"
    return "a body that is no JSON object"


def _decodings(text: str) -> list[str]:
    """Decode a text as URL encoding, once and twice, and as HTML."""
    once = [unquote_plus(text), unquote(text), html.unescape(text)]
    return [*once, *(unquote_plus(reading) for reading in once), unquote(once[1])]
