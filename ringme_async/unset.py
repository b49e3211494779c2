"""The mark of what an update does not name."""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal


class Unset(Enum):
    """The type of ``UNSET``, which is false, and its one value.

    An enumeration, so that type checkers narrow on ``is UNSET`` and a copy or an unpickled twin is
    the same object.
    """

    UNSET = "UNSET"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "UNSET"

    def __str__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""Not named: the field is not sent and stays as it is. ``None`` is sent, and clears it."""
