"""Errors that keep a command from starting, in sentences for its user."""

from __future__ import annotations

from typing import Final

from attrs import define, field

__all__ = ["CouldNotStart", "LineErrors", "WrongUsage"]

_MOST_SHOWN: Final = 20


class WrongUsage(Exception):
    """The command line itself is wrong."""


class CouldNotStart(Exception):
    """The command lacks something or has a wrong input; nothing was sent.

    Args:
        sentences: The errors, one a line.
    """

    def __init__(self, *sentences: str) -> None:
        super().__init__(*sentences)
        self.sentences = sentences


@define
class LineErrors:
    """Collects the errors of a file's lines, so that the user sees all of them at once.

    Args:
        path: The file.
    """

    path: str
    _lines: dict[int, str] = field(factory=dict[int, str], init=False)

    def add(self, line: int, message: str) -> None:
        """Add an error of a line; a line keeps only its first error."""
        self._lines.setdefault(line, message)

    def raise_if_any(self) -> None:
        """Report all errors, if there are any.

        Raises:
            CouldNotStart: There are errors; it names the first 20 lines, and counts the rest.
        """
        if not self._lines:
            return
        lines = [
            f"{self.path}, line {line}: {message}" for line, message in sorted(self._lines.items())
        ]
        more = len(lines) - _MOST_SHOWN
        if more > 0:
            others = "one more line is" if more == 1 else f"{more} more lines are"
            lines[_MOST_SHOWN:] = [f"{self.path}: {others} wrong"]
        raise CouldNotStart(*lines)
