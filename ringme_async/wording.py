"""Foreign values in one bounded line, fit for a message or a ``repr``."""

from __future__ import annotations

import reprlib

from ringme_async.errors import one_line

_LONGEST = 100
_MOST_BITS = 1024


class _Short(reprlib.Repr):
    """Cuts long and deep values; unlike its base, it stands integers of any length."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = 60
        self.maxother = 80
        self.maxlevel = 3

    def repr_int(self, x: int, level: int) -> str:
        if x.bit_length() > _MOST_BITS:
            return f"an integer of {x.bit_length()} bits"
        return super().repr_int(x, level)


_SHORT = _Short()


def shown(value: object) -> str:
    """Show any value in one line of at most 100 characters."""
    return one_line(_SHORT.repr(value), _LONGEST)
