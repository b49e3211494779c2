"""Find secrets by their names, and mask known secrets in every spelling."""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import quote, quote_plus, unquote_plus

__all__ = [
    "IN_FORM",
    "MASK",
    "SECRET",
    "credentials_in",
    "hide_named",
    "hide_pairs",
    "is_secret_name",
    "spellings",
]

MASK: Final = "***"

SECRET: Final = (
    r"[\w-]{0,64}(?:token|secret|password|passwd|passphrase|pwd|credential|assertion|verifier|cookie"
    r"|authorization|jwt|(?:api|auth|private)[_-]?key)s?"
)
"""The names of fields, headers and parameters that hold a secret."""

IN_FORM: Final = r"code|username|login"
"""Secret names in forms and queries only; in JSON a ``code`` is an error code."""

_NAME = re.compile(SECRET, re.IGNORECASE)
_LAST_PART = re.compile(r"[\w-]+(?=\]?$)")
_USERINFO = re.compile(r"(?<=://)[^/?#@\s\"<>]+(?=@)")
_BOUND = r"(?![\w-])"
_QUOTE = r"\\*[\"']"
_VALUE = r"[^\s\"'&#,;<>{}\[\]\\]"


@lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """Return whether a name is that of a secret, such as ``user[password]``."""
    part = _LAST_PART.search(name)
    return part is not None and _NAME.fullmatch(part[0]) is not None


def spellings(secret: str) -> list[str]:
    """Return the spellings of a secret, the longest first.

    It may be plain, quoted for a URL once or twice, escaped for JSON, HTML or XML, or in base64.
    """
    plain = secret.encode("utf-8", "surrogateescape")
    quoted = [quote(plain, safe=""), quote(plain), quote_plus(plain)]
    quoted += [re.sub("%..", lambda code: code[0].lower(), one) for one in quoted]
    found = dict.fromkeys([secret, *quoted, quote(quoted[0], safe="")])
    for one in [*found]:
        found.update(dict.fromkeys(_escaped(one)))
    for code in (base64.b64encode(plain), base64.urlsafe_b64encode(plain)):
        found.update(dict.fromkeys(_escaped(code.decode().rstrip("="))))
    return sorted(found, key=len, reverse=True)


def _escaped(text: str) -> Iterable[str]:
    for ascii_only in (True, False):
        inner = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield from (inner, inner.replace("/", "\\/"), json.dumps(inner)[1:-1])
    marked = html.escape(text)
    yield from (marked, html.escape(text, quote=False), marked.replace("&#x27;", "&apos;"))
    yield marked.replace("&#x27;", "&#39;").replace("&quot;", "&#34;")


def credentials_in(header: str) -> Iterable[str]:
    """Yield the secrets in the value of an ``Authorization`` header; Basic is decoded, too."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() not in {"bearer", "basic"}:
        yield header
        return
    yield rest.strip()
    if scheme.lower() == "basic":
        try:
            pair = base64.b64decode(rest.strip(), validate=True).decode("utf-8", "surrogateescape")
        except (binascii.Error, ValueError):
            return
        secret = pair.partition(":")[2]
        # RFC 6749 requires both halves form-encoded, but only some clients do so.
        yield from (pair, unquote_plus(pair), secret, unquote_plus(secret))


def hide_pairs(text: str, names: str = SECRET, found: Callable[[str], None] | None = None) -> str:
    """Mask values after secret names in URLs and quoted JSON, in any text.

    Args:
        text: The text.
        names: A pattern of the names.
        found: Called with each value that was masked.
    """
    return _hidden(_USERINFO.sub(MASK, text), _pairs(names), found)


def hide_named(text: str, names: str = SECRET, found: Callable[[str], None] | None = None) -> str:
    """Mask values after secret names in lines, JSON, XML, multipart and URLs."""
    return hide_pairs(_hidden(text, _kinds(names), found), names, found)


def _hidden(
    text: str, patterns: Iterable[re.Pattern[str]], found: Callable[[str], None] | None
) -> str:
    def mask(match: re.Match[str]) -> str:
        if found is not None and MASK not in match["value"]:
            found(match["value"])
        return f"{match['before']}{MASK}"

    for pattern in patterns:
        text = pattern.sub(mask, text)
    return text


@lru_cache(maxsize=32)
def _pairs(names: str) -> tuple[re.Pattern[str], ...]:
    url = rf"(?:{names}|{IN_FORM}){_BOUND}"
    quoted = rf"(?P<before>{_QUOTE}(?:{names}){_QUOTE}\s*[:=]\s*)"
    patterns = (
        rf"(?P<before>(?:^|[?&#;\s]){url}=)(?P<value>[^&#;\s\"'<>\\]+)",
        # A URL in the query of another.
        rf"(?P<before>%(?:25)?(?:3F|26|23){url}%(?:25)?3D)(?P<value>(?:(?!%(?:25)?26){_VALUE})+)",
        rf"{quoted}(?P<quote>{_QUOTE})(?P<value>.*?)(?:(?<!\\)(?P=quote)|\Z)",
        rf"{quoted}(?P<value>[{{\[].*|{_VALUE}+)",
    )
    return tuple(re.compile(pattern, re.IGNORECASE | re.DOTALL) for pattern in patterns)


@lru_cache(maxsize=32)
def _kinds(names: str) -> tuple[re.Pattern[str], ...]:
    part = rf"content-disposition:[^\r\n]*\bname=\"?(?:{names}|{IN_FORM})\"?{_BOUND}[^\r\n]*"
    element = rf"<(?:\w+:)?(?P<name>{names}){_BOUND}[^<>]*(?<!/)>"
    named = rf"(?P<before>\b(?:{names}){_BOUND}\s*[:=]\s*)"
    patterns = (
        # Up to the next boundary of a multipart body.
        rf"(?P<before>{part}(?:\r?\n[^\r\n]+)*\r?\n\r?\n)(?P<value>.*?)(?=\r?\n--|\Z)",
        rf"(?P<before>{element})(?P<value>.*?)(?=</(?:\w+:)?(?P=name)\s*>|\Z)",
        rf"{named}(?P<quote>[\"'])(?P<value>(?:[^\"\\]|\\.)*?)(?:(?P=quote)|\Z)",
        # A header on a line of its own.
        rf"(?m:^)(?P<before>[ \t>*]*(?:{names}):[ \t]*)(?P<value>[^\r\n]+)",
        rf"{named}(?P<value>{_VALUE}+)",
    )
    return tuple(re.compile(pattern, re.IGNORECASE | re.DOTALL) for pattern in patterns)


_SHORTEST_ANYWHERE = 4
# Words of ordinary sentences; a longer secret is hardly such a word.
_WORD = re.compile(r"(?=.{1,15}$)[^\W\d_]+(?:[-_ ][^\W\d_]+)*")
_QUOTES = "\"'`\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb<>"
# The places where a secret is expected; the groups are the text before it.
_EXPECTED = (
    r"^(\s*)SECRET(?=\s*$)",
    rf"(?<=[{_QUOTES}])SECRET(?=\\?[{_QUOTES}])",
    r"(=\s?)SECRET(?![\w-])",
    rf"(:\s?)SECRET(?=$|[\\;&}}@{_QUOTES}])",
    r"((?i:secret|password|passwd|token|key)[\"']?\s?:\s?)SECRET(?![\w-])",
    r"(\b(?i:bearer|basic)\s+)SECRET(?![\w-])",
)


def masked(text: str, secrets: tuple[str, ...]) -> str:
    """Mask tokens in a text, in every spelling that a server may echo.

    Servers make tokens, so no token is an ordinary word. A token of a few characters is part of
    many words and is masked only where it stands alone.
    """
    for secret in secrets:
        for spelling in spellings(secret):
            text = without_token(secret, text, spelling)
    return text


def masked_bytes(body: bytes, secrets: tuple[str, ...]) -> bytes:
    """Mask secrets in a body; they come from headers, so they are ASCII."""
    return masked(body.decode("latin-1"), secrets).encode("latin-1")


def contains_secret(text: str, secrets: tuple[str, ...]) -> bool:
    """Return whether a text holds one of the secrets, in any spelling."""
    return masked(text, secrets) != text


def without(secret: str, text: str) -> str:
    """Mask a secret that a person has chosen, such as a password.

    It may be an ordinary word, such as ``wrong``. A word is masked only where a secret is expected:
    in quotes, after ``=`` or ``Bearer``. Elsewhere it is part of a sentence.

    Args:
        secret: The secret; not empty.
        text: The text.
    """
    if _WORD.fullmatch(secret) is None:
        return without_token(secret, text, secret)
    expected = "|".join(place.replace("SECRET", re.escape(secret)) for place in _EXPECTED)
    return re.sub(expected, _mask_last, text)


def without_token(token: str, text: str, spelling: str) -> str:
    """Mask one spelling of a token; a short token only where it stands alone."""
    if len(token) >= _SHORTEST_ANYWHERE:
        return text.replace(spelling, MASK)
    return re.sub(rf"(?<![^\W_]){re.escape(spelling)}(?![^\W_])", MASK, text)


def _mask_last(found: re.Match[str]) -> str:
    """Mask the secret and keep the text before it."""
    before = next((group for group in found.groups() if group is not None), "")
    return before + MASK
