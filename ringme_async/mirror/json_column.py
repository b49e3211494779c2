"""Escapes JSON for a column, so that every row can be queried and every character comes back.

JSON may hold a NUL or half of a surrogate pair; database text cannot. ``jsonb`` and ``->>`` of
PostgreSQL refuse such a record and, with it, a query of all rows. SQLite cuts the text at a NUL.
A column holds U+241B, the symbol for escape, and the character's four hexadecimal digits instead.
U+241B itself is escaped as well, so that each text has one meaning.
"""

from __future__ import annotations

import json
import re
from typing import Final, cast

from ringme_async import JSON

__all__ = ["decode_json", "escaped", "unescaped"]

_ESCAPE: Final = "\u241b"
# Match a backslash together with the next character: "\\u0000" is a backslash and five letters, not
# a NUL. A whole pair of surrogates is one character.
_IN_JSON: Final = re.compile(
    r"\\u(?:d[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|([0-9a-f]{4}))|\\[^u]|" + _ESCAPE,
    re.IGNORECASE,
)
_IN_COLUMN: Final = re.compile(_ESCAPE + "([0-9a-f]{4})")


def escaped(text: str) -> str:
    """Escape JSON for a column."""
    return _IN_JSON.sub(_replacement, text)


def unescaped(text: str) -> str:
    """Restore JSON from a column."""
    return _IN_COLUMN.sub(r"\\u\1", text)


def decode_json(text: str) -> JSON:
    """Read the text of a column ``record``, ``before`` or ``after`` of a mirror.

    The columns hold plain JSON, with NUL and halves of surrogate pairs escaped. This function
    restores them.

    Raises:
        ValueError: The text is not JSON.
    """
    return cast("JSON", json.loads(unescaped(text)))


def _replacement(found: re.Match[str]) -> str:
    if found[0] == _ESCAPE:
        return f"{_ESCAPE}241b"
    digits = (found[1] or "").lower()
    if digits in {"0000", "241b"} or (digits.startswith("d") and digits[1:2] in set("89abcdef")):
        return _ESCAPE + digits
    return found[0]
