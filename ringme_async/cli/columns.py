"""The columns that a list may have, and error messages for all others."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from attrs import frozen

from ringme_async.cli.text import did_you_mean

__all__ = ["Columns", "field_name_error"]

# The names of API fields; the object "extra" of a JSON list takes any other name.
_FIELD_NAME: Final = re.compile(r"\w[\w-]{0,99}")
_MOST_SHOWN: Final = 10


@frozen
class Columns:
    """The columns that a list may have.

    Attributes:
        names: The known columns.
        prefix: The prefix of columns for fields that the SDK does not know; empty for none.
        read_only: The names of fields that can only be read.
    """

    names: Sequence[str]
    prefix: str = ""
    read_only: Collection[str] = ()

    def folded(self, name: str) -> str:
        """Return the column of a CSV header's name: lower case, except after the prefix."""
        beginning, rest = name[: len(self.prefix)], name[len(self.prefix) :]
        is_extra = bool(self.prefix) and beginning.lower() == self.prefix
        return self.prefix + rest if is_extra else name.lower()

    def unknown(self, given: Sequence[str]) -> list[str]:
        """Return the names that are not columns."""
        return [name for name in given if name not in self.names and not self._is_extra(name)]

    def error_in(self, given: Sequence[str], what: str = "column") -> str | None:
        """Return what is wrong with the names of columns; None if nothing is."""
        return next(self._errors(given, what), None)

    def _errors(self, given: Sequence[str], what: str) -> Iterator[str]:
        if "" in given:
            yield f"{what} {given.index('') + 1} has no name"
        unknown = self.unknown(given)
        if unknown:
            shown = ", ".join(map(self._with_hint, unknown[:_MOST_SHOWN]))
            known = [*self.names, *([f"{self.prefix}NAME"] if self.prefix else ())]
            yield f"unknown {what}s: {shown}; there are {', '.join(known)}"
        repeated = next((name for name in given if given.count(name) > 1), None)
        if repeated is not None:
            yield f"a {what} is named twice: {repeated!r:.60}"
        for name in filter(self._is_extra, given):
            message = field_name_error(name.removeprefix(self.prefix))
            if message:
                yield f"{what} {name!r:.60}: {message}"

    def _is_extra(self, name: str) -> bool:
        return bool(self.prefix) and name.startswith(self.prefix)

    def _with_hint(self, name: str) -> str:
        hint = " (this field can be read, and not changed)" if name in self.read_only else ""
        return f"{name!r:.40}{hint}{did_you_mean(name, self.names)}"


def field_name_error(name: str) -> str | None:
    """Return why this cannot be the name of a field; None if it can."""
    if not name:
        return "it does not name a field"
    if _FIELD_NAME.fullmatch(name) is None:
        return "the name of a field has letters, digits, _ and -, without spaces and dots"
    return None
