"""One failure, many who wait: an exception of its own for each of them."""

from __future__ import annotations

import copy
from typing import TypeVar

from ringme_async.errors import RingMeError

__all__ = ["twin_of"]

E = TypeVar("E", bound=Exception)


def twin_of(error: E) -> E:
    """Make another exception that says the same.

    A twin of one of our own errors is bare: without traceback, cause and context, since these
    lead to frames that held a secret. A foreign one is a bug in somebody's code and keeps its
    traceback, so that it can be found; if it does not let itself be copied, it is shared.
    """
    if isinstance(error, RingMeError):
        twin = type(error).__new__(type(error), *error.args)
        twin.__dict__.update(vars(error))
        if hasattr(error, "__notes__"):
            twin.__notes__ = list(error.__notes__)
        return twin
    try:
        copied = copy.copy(error)
    except Exception:  # noqa: BLE001 - whatever a foreign class does when it is copied
        return error
    if type(copied) is not type(error):
        return error
    copied.__cause__ = error.__cause__
    copied.__context__ = error.__context__
    copied.__suppress_context__ = error.__suppress_context__
    return copied.with_traceback(error.__traceback__)
