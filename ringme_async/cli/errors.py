"""What keeps a command from starting, in sentences for the person who called it."""

from __future__ import annotations

from typing import Final

from attrs import define, field

__all__ = ["CouldNotStart", "Flaws", "WrongUsage"]

_MOST_TOLD: Final = 20


class WrongUsage(Exception):
    """The command line itself is wrong."""


class CouldNotStart(Exception):
    """Something that the command needs is missing or wrong; nothing was sent.

    Args:
        sentences: What is wrong, one a line.
    """

    def __init__(self, *sentences: str) -> None:
        super().__init__(*sentences)
        self.sentences = sentences


@define
class Flaws:
    """What is wrong with the lines of a file, gathered so that all of it is told at once.

    Args:
        path: The file.
    """

    path: str
    _lines: dict[int, str] = field(factory=dict[int, str], init=False)

    def add(self, line: int, flaw: str) -> None:
        """Take in what is wrong with a line; of two flaws in one, the first is told."""
        self._lines.setdefault(line, flaw)

    def refuse(self) -> None:
        """Tell all that was found, if anything was.

        Raises:
            CouldNotStart: Something was; the first 20 lines are named, and how many more there are.
        """
        if not self._lines:
            return
        told = [f"{self.path}, line {line}: {flaw}" for line, flaw in sorted(self._lines.items())]
        more = len(told) - _MOST_TOLD
        if more > 0:
            others = "one more line is" if more == 1 else f"{more} more lines are"
            told[_MOST_TOLD:] = [f"{self.path}: {others} wrong"]
        raise CouldNotStart(*told)
