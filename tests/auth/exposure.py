"""All text that a log, a print, a pickle or a debugger can show of an exception."""

from __future__ import annotations

import pickle
import traceback
from urllib.parse import quote, quote_plus

from ringme_async.errors import RingMeError


def told_by(error: BaseException) -> str:
    parts: list[str] = []
    shown: BaseException | None = error
    while shown is not None:
        parts += [str(shown), repr(shown), repr(shown.args), repr(vars(shown))]
        parts += getattr(shown, "__notes__", [])
        if isinstance(shown, RingMeError):
            parts.append(pickle.dumps(shown).decode("latin-1"))
        shown = shown.__cause__ or shown.__context__
    parts += traceback.TracebackException.from_exception(error, capture_locals=True).format()
    return "\n".join(parts)


def assert_keeps(text: str, *secrets: str) -> None:
    for secret in secrets:
        for form in {secret, quote(secret, safe=""), quote_plus(secret)}:
            assert form not in text, f"{form} in {text}"
