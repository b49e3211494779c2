"""What must not be seen in a recording, and how it is kept out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import parse_qsl

from ringme_async.testing.schema import JSON

MASK: Final = "***"

_SECRET = (
    r"[\w-]*(?:token|secret|password|passwd|api[_-]?key|authorization|cookie|assertion|verifier)"
)
_CONTACT = r"[\w-]*(?:e-?mail|phone|ambassadors)s?"
_SECRET_NAME = re.compile(_SECRET, re.IGNORECASE)
_CONTACT_NAME = re.compile(_CONTACT, re.IGNORECASE)
# Of a form or a query only: elsewhere a code is a number that tells what went wrong.
_SECRET_IN_FORM = frozenset({"code", "username", "login"})
_SCHEMES = frozenset({"bearer", "basic"})
_SHORTEST_SECRET = 6

_EMAIL = re.compile(r"[\w.+%-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+", re.IGNORECASE)
_WITH_SCHEME = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]+", re.IGNORECASE)
_JWT = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*")
_PHONE = re.compile(
    r"(?<![\w.:-])(?:\+|%2B)?\(?\d(?:[ ()-]{0,2}\d){9,14}(?![\w.:-]?\d)", re.IGNORECASE
)
_PHONE_IN_PATH = re.compile(r"(?:\+|%2B)\d{7,15}", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
# Where a body is no whole JSON and no form: a name, what parts it from the value, and the value.
_NAMED = re.compile(
    rf'(["\']?\b(?:{_SECRET}|{_CONTACT})["\']?\s*[:=]\s*)(?:"(?:[^"\\]|\\.)*"?|[^\s"&,;<>{{}}]+)',
    re.IGNORECASE,
)


class Masker:
    """Masks one exchange, and what it has found to be secret there wherever that turns up again.

    Args:
        also: Names of fields and headers that are masked beside the usual ones.
        on: False lets everything through as it is.
    """

    def __init__(self, also: Iterable[str] = (), *, on: bool = True) -> None:
        self._also = frozenset(name.lower() for name in also)
        self._on = on
        self._found: set[str] = set()

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Mask header fields, by name and by pattern."""
        return {name: self._named(name, value) for name, value in headers.items()}

    def pairs(self, text: str) -> JSON:
        """Take a form or a query apart, and mask it by name and by pattern."""
        # A plus that nobody has quoted would part an address when it becomes a space.
        text = _EMAIL.sub(MASK, text) if self._on else text
        pairs = parse_qsl(text, keep_blank_values=True, errors="surrogateescape")
        return [[self._name(name), self._named(name, value, in_form=True)] for name, value in pairs]

    def json(self, value: JSON, name: str = "") -> JSON:
        """Mask JSON, by field name and by pattern, however deep."""
        match value:
            case dict():
                return {self._name(key): self.json(inner, key) for key, inner in value.items()}
            case list():
                return [self.json(inner, name) for inner in value]
            case str():
                return self._named(name, value)
            case None | bool():
                return value
            case _:
                return MASK if self._on and self._is_hidden(name) else value

    def path(self, path: str) -> str:
        """Mask a path, in which long numbers are ids."""
        if not self._on:
            return path
        return self._known(_PHONE_IN_PATH.sub(MASK, _EMAIL.sub(MASK, path)))

    def text(self, text: str) -> str:
        """Mask what is no JSON and no form, by pattern."""
        if not self._on:
            return text
        text = _NAMED.sub(rf"\g<1>{MASK}", text)
        return self._patterns(text)

    def _named(self, name: str, value: str, *, in_form: bool = False) -> str:
        if not self._on or not value:
            return value
        if self._is_secret(name) or (in_form and name.lower() in _SECRET_IN_FORM):
            self._remember(value)
            return MASK
        if _CONTACT_NAME.fullmatch(name):
            return MASK
        return self._patterns(value)

    def _is_secret(self, name: str) -> bool:
        return _SECRET_NAME.fullmatch(name) is not None or name.lower() in self._also

    def _is_hidden(self, name: str) -> bool:
        return self._is_secret(name) or _CONTACT_NAME.fullmatch(name) is not None

    def _remember(self, secret: str) -> None:
        # An Authorization header's secret is what follows the scheme.
        scheme, _, rest = secret.partition(" ")
        found = rest if scheme.lower() in _SCHEMES else secret
        if len(found) >= _SHORTEST_SECRET:
            self._found.add(found)

    def _patterns(self, text: str) -> str:
        text = _WITH_SCHEME.sub(rf"\g<1> {MASK}", text)
        return self._known(self._name(_JWT.sub(MASK, text)))

    def _name(self, text: str) -> str:
        # No word of a secret, which may be an everyday word, has to do with the names of fields.
        return _PHONE.sub(_phone_or_date, _EMAIL.sub(MASK, text)) if self._on else text

    def _known(self, text: str) -> str:
        for secret in sorted(self._found, key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
        return text


def _phone_or_date(found: re.Match[str]) -> str:
    return found[0] if _DATE.match(found[0]) else MASK


def body_shown(masker: Masker, body: bytes, kind: str) -> dict[str, JSON]:
    """Show a body, masked, in the form that can be read best."""
    if not body:
        return {}
    text = body.decode("utf-8", "surrogateescape")
    if kind.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
        return {"form": masker.pairs(text)}
    try:
        value: JSON = json.loads(body.decode(), parse_constant=_refuse)
        return {"json": masker.json(value)}
    except (ValueError, RecursionError):
        return {"text": masker.text(text)}


def _refuse(name: str) -> JSON:
    raise ValueError(f"{name} is no JSON")
