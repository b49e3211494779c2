"""Mask secrets and contacts in recordings and journals."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import parse_qsl, unquote_plus

from ringme_async._internal.redaction import (
    IN_FORM,
    MASK,
    SECRET,
    credentials_in,
    hide_named,
    hide_pairs,
    is_secret_name,
    spellings,
)
from ringme_async.testing.fake.client_schema import JSON

_CONTACT = r"[\w-]{0,64}(?:e-?mail|phone|ambassadors)s?"
_CONTACT_NAME = re.compile(_CONTACT, re.IGNORECASE)
_SECRET_IN_FORM = frozenset(IN_FORM.split("|"))
_SHORTEST_SECRET = 6
_LONGEST_WORD = 20
# Only the latest are kept, since each one is searched for in every text.
_MOST_KNOWN = 200

_EMAIL = re.compile(r"[\w.+%-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+", re.IGNORECASE)
_WITH_SCHEME = re.compile(r"\b(?P<scheme>Bearer|Basic)\s+(?P<value>[\w.~+/=-]+)", re.IGNORECASE)
_JWT = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*")
_PHONE = re.compile(
    r"(?<![\w.:-])(?:\+|%2B)?\(?\d(?:[ ()-]{0,2}\d){9,14}(?![\w.:-]?\d)", re.IGNORECASE
)
_PHONE_IN_PATH = re.compile(r"(?:\+|%2B)\d{7,15}", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


class Masker:
    """Masks secrets by the names of their fields, and later wherever they occur again.

    It remembers the secrets it found. The first pass over an exchange collects them, the second
    masks them in every spelling. A short secret made of letters is masked as a whole word only: an
    App Secret "client" must not change "clients".

    Args:
        also: Further names of fields and headers to mask.
        on: False masks nothing.
        contacts: False does not mask e-mail addresses and phone numbers.
    """

    def __init__(self, also: Iterable[str] = (), *, on: bool = True, contacts: bool = True) -> None:
        self._also = frozenset(name.lower() for name in also)
        self._names = "|".join([SECRET, *(re.escape(name) for name in sorted(self._also))])
        self._on = on
        self._masks_contacts = contacts
        self._found: dict[str, list[str]] = {}

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Mask header fields, by name and by pattern."""
        return {name: self._masked_value(name, value) for name, value in headers.items()}

    def pairs(self, text: str) -> JSON:
        """Parse a form or a query, and mask it by name and by pattern."""
        # Before parsing, which turns an unquoted plus in an address into a space.
        text = _EMAIL.sub(MASK, text) if self._on and self._masks_contacts else text
        pairs = parse_qsl(text, keep_blank_values=True, errors="surrogateescape")
        return [
            [self._masked_name(name), self._masked_value(name, value, in_form=True)]
            for name, value in pairs
        ]

    def json(self, value: JSON, name: str = "", *, in_form: bool = False) -> JSON:
        """Mask JSON by field name and by pattern, at any depth."""
        match value:
            case dict() if self._on and self._is_secret(name, in_form=in_form):
                # Its keys may be secrets too.
                self._learn_all(value)
                return MASK
            case dict():
                form = "grant_type" in value
                return {
                    self._masked_name(key): self.json(
                        inner, name if self._is_contact(name) else key, in_form=form
                    )
                    for key, inner in value.items()
                }
            case list():
                return [self.json(inner, name, in_form=in_form) for inner in value]
            case str():
                return self._masked_value(name, value, in_form=in_form)
            case None | bool():
                return value
            case _:
                hidden = self._is_secret(name, in_form=in_form) or self._is_contact(name)
                return MASK if self._on and hidden else value

    def path(self, path: str) -> str:
        """Mask a path; long numbers in it are ids, not phones."""
        if not self._on:
            return path
        if self._masks_contacts:
            path = _PHONE_IN_PATH.sub(MASK, _EMAIL.sub(MASK, path))
        return self._without_secrets(path)

    def query(self, query: str) -> str:
        """Mask a query, and leave the rest unchanged."""
        self.pairs(query)
        return self._patterns(query, hide_pairs)

    def text(self, text: str) -> str:
        """Mask other text by pattern."""
        if not self._on:
            return text
        return self._patterns(text, hide_named)

    def _masked_value(self, name: str, value: str, *, in_form: bool = False) -> str:
        if not self._on or not value:
            return value
        if self._is_secret(name, in_form=in_form):
            self._learn(name, value)
            return MASK
        if self._is_contact(name):
            return MASK
        return self._json_in(value) or self._patterns(value, hide_pairs)

    def _json_in(self, text: str) -> str | None:
        """Mask JSON inside a text; None if the text is not JSON, or has nothing to mask."""
        if not text.lstrip().startswith(("{", "[")):
            return None
        try:
            value: JSON = json.loads(text, parse_constant=_refuse)
            masked = self.json(value)
        except (ValueError, RecursionError):
            return None
        return None if masked == value else json.dumps(masked, ensure_ascii=False)

    def _is_secret(self, name: str, *, in_form: bool = False) -> bool:
        lower = name.lower()
        return is_secret_name(name) or lower in self._also or (in_form and lower in _SECRET_IN_FORM)

    def _learn(self, name: str, value: str) -> None:
        """Remember the value of a field with a secret name."""
        lower = name.lower()
        if lower.endswith("authorization"):
            found = [*credentials_in(value)]
        elif lower.endswith("cookie"):
            found = [part.partition("=")[2].strip() for part in value.split(";")]
            found = found[:1] if lower == "set-cookie" else found
        else:
            found = [value]
        for one in found:
            self._learn_spelled(one)

    def _learn_all(self, value: JSON) -> None:
        match value:
            case dict():
                for key, inner in value.items():
                    self._remember(key)
                    self._learn_all(inner)
            case list():
                for inner in value:
                    self._learn_all(inner)
            case str():
                self._remember(value)
            case _:
                pass

    def _learn_spelled(self, value: str) -> None:
        """Remember a secret from a text, in its decoded spellings too."""
        once = unquote_plus(value)
        for one in dict.fromkeys([value, once, unquote_plus(once), html.unescape(value)]):
            self._remember(one)

    def _remember(self, secret: str) -> None:
        if len(secret) < _SHORTEST_SECRET or MASK in secret:
            return
        known = self._found.pop(secret, None)
        self._found[secret] = known or spellings(secret)
        if len(self._found) > _MOST_KNOWN:
            del self._found[next(iter(self._found))]

    def _patterns(self, text: str, hide: Callable[..., str]) -> str:
        text = _WITH_SCHEME.sub(self._without_credentials, text)
        text = hide(text, self._names, self._learn_spelled)
        if self._masks_contacts:
            text = hide(text, _CONTACT)
        return self._without_secrets(self._contacts(_JWT.sub(MASK, text)))

    def _without_credentials(self, found: re.Match[str]) -> str:
        for one in credentials_in(found[0]):
            self._remember(one)
        return f"{found['scheme']} {MASK}"

    def _masked_name(self, text: str) -> str:
        # A secret can be an everyday word, and must not mask the name of a field.
        return self._without_secrets(self._contacts(text), words=False) if self._on else text

    def _is_contact(self, name: str) -> bool:
        return self._masks_contacts and _CONTACT_NAME.fullmatch(name) is not None

    def _contacts(self, text: str) -> str:
        if not self._masks_contacts:
            return text
        return _PHONE.sub(_phone_or_date, _EMAIL.sub(MASK, text))

    def _without_secrets(self, text: str, *, words: bool = True) -> str:
        for secret in sorted(self._found, key=len, reverse=True):
            word = secret.isalpha() and len(secret) < _LONGEST_WORD
            if word and not words:
                continue
            for spelling in self._found[secret]:
                if spelling in text:
                    text = _without(spelling, text, alone=word)
        return text


def _without(spelling: str, text: str, *, alone: bool) -> str:
    if alone:
        return re.sub(rf"(?<!\w){re.escape(spelling)}(?!\w)", MASK, text)
    return text.replace(spelling, MASK)


def _phone_or_date(found: re.Match[str]) -> str:
    return found[0] if _DATE.match(found[0]) else MASK


def masked_body(masker: Masker, body: bytes, kind: str) -> dict[str, JSON]:
    """Return a masked body as JSON, form or text."""
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
