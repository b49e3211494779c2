"""Which columns a list may have, and what is wrong with the others."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from attrs import frozen

from ringme_async.cli.text import meant

__all__ = ["Columns", "flaw_in_field_name"]

# API fields are called so; the object "extra" of a JSON list takes any other name.
_FIELD_NAME: Final = re.compile(r"\w[\w-]{0,99}")
_MOST_TOLD: Final = 10


@frozen
class Columns:
    """The columns that a list may have.

    Attributes:
        names: Those with a meaning.
        prefix: Beginning of the columns for fields that the SDK does not know; empty for none.
        locked: Names of fields that can be read only.
    """

    names: Sequence[str]
    prefix: str = ""
    locked: Collection[str] = ()

    def folded(self, name: str) -> str:
        """Write a name of a CSV header as the column is called: in lower case, up to the prefix."""
        beginning, rest = name[: len(self.prefix)], name[len(self.prefix) :]
        is_extra = bool(self.prefix) and beginning.lower() == self.prefix
        return self.prefix + rest if is_extra else name.lower()

    def unknown(self, given: Sequence[str]) -> list[str]:
        """Give the names that no column has."""
        return [name for name in given if name not in self.names and not self._is_extra(name)]

    def flaw_in(self, given: Sequence[str], what: str = "column") -> str | None:
        """Say what is wrong with the names of columns; None if nothing is."""
        return next(self._flaws(given, what), None)

    def _flaws(self, given: Sequence[str], what: str) -> Iterator[str]:
        if "" in given:
            yield f"{what} {given.index('') + 1} has no name"
        unknown = self.unknown(given)
        if unknown:
            told = ", ".join(map(self._remarked, unknown[:_MOST_TOLD]))
            there_are = [*self.names, *([f"{self.prefix}NAME"] if self.prefix else ())]
            yield f"unknown {what}s: {told}; there are {', '.join(there_are)}"
        twice = next((name for name in given if given.count(name) > 1), None)
        if twice is not None:
            yield f"a {what} is named twice: {twice!r:.60}"
        for name in filter(self._is_extra, given):
            flaw = flaw_in_field_name(name.removeprefix(self.prefix))
            if flaw:
                yield f"{what} {name!r:.60}: {flaw}"

    def _is_extra(self, name: str) -> bool:
        return bool(self.prefix) and name.startswith(self.prefix)

    def _remarked(self, name: str) -> str:
        locked = " (this field can be read, and not changed)" if name in self.locked else ""
        return f"{name!r:.40}{locked}{meant(name, self.names)}"


def flaw_in_field_name(name: str) -> str | None:
    """Say why no field can be called so; None if one can."""
    if not name:
        return "it does not name a field"
    if _FIELD_NAME.fullmatch(name) is None:
        return "the name of a field has letters, digits, _ and -, without spaces and dots"
    return None
