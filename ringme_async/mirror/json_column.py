"""JSON in a column: every row can be queried, and every character comes back.

A NUL and half of a surrogate pair are characters of JSON, but no database has a text for them.
``jsonb`` and ``->>`` of PostgreSQL refuse a record that holds one, and so a query of all rows;
SQLite cuts the text at a NUL. In a column such a character is U+241B, the symbol for escape, and
its four hexadecimal digits. U+241B itself is escaped as well, so that each text has one meaning.
"""

from __future__ import annotations

import json
import re
from typing import Final, cast

from ringme_async import JSON

__all__ = ["decode_json", "escaped", "unescaped"]

_ESCAPE: Final = "\u241b"
# A backslash with what it escapes: "\\u0000" is a backslash and five letters. A whole pair of
# surrogates is one character.
_IN_JSON: Final = re.compile(
    r"\\u(?:d[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|([0-9a-f]{4}))|\\[^u]|" + _ESCAPE,
    re.IGNORECASE,
)
_IN_COLUMN: Final = re.compile(_ESCAPE + "([0-9a-f]{4})")


def escaped(text: str) -> str:
    """Write JSON for a column."""
    return _IN_JSON.sub(_replacement, text)


def unescaped(text: str) -> str:
    """Read JSON from a column."""
    return _IN_COLUMN.sub(r"\\u\1", text)


def decode_json(text: str) -> JSON:
    """Read the text of a column ``record``, ``before`` or ``after`` of a mirror.

    Plain JSON, but for characters that no database has a text for: NUL and halves of surrogate
    pairs. In the columns they are escaped, and here they come back.

    Raises:
        ValueError: The text is no JSON.
    """
    return cast("JSON", json.loads(unescaped(text)))


def _replacement(found: re.Match[str]) -> str:
    if found[0] == _ESCAPE:
        return f"{_ESCAPE}241b"
    digits = (found[1] or "").lower()
    if digits in {"0000", "241b"} or (digits.startswith("d") and digits[1:2] in set("89abcdef")):
        return _ESCAPE + digits
    return found[0]
