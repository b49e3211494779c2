"""Checks of an output's path: its kind, and whether the file is still there."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Final

from ringme_async import InvalidRequest
from ringme_async._internal.file_kind import FileKind, file_kind, foreign_file
from ringme_async.mirror.errors import OutputError, translate_os_errors

__all__ = ["normalize_output", "refuse_database_url", "refuse_for_plan", "refuse_moved"]

_DATABASE: Final = re.compile(
    r"(?:jdbc:)?(sqlite|postgres|postgresql|mysql|mariadb|mssql|oracle)(?:\+\w+)?:(.*)",
    re.IGNORECASE | re.DOTALL,
)


def normalize_output(into: str) -> str:
    """Turn the path of a SQLite database into its URL; return anything else unchanged.

    Raises:
        InvalidRequest: This is a misspelt database URL.
    """
    found = _DATABASE.match(into)
    if found is not None:
        if not found[2].startswith("//") or into[: len("jdbc:")].lower() == "jdbc:":
            refuse_database_url(into)
        return into
    # An unreadable file gets its error when it is opened.
    with suppress(OSError):
        if file_kind(into) is FileKind.DATABASE and "?" not in into:
            return f"sqlite:///{into}"
    return into


def refuse_database_url(path: str) -> None:
    """Refuse a database URL where a file is meant, as it would become the file's name.

    Raises:
        InvalidRequest: The path is a database URL; the message hides its password.
    """
    found = _DATABASE.match(path)
    if found is None:
        return
    kind, rest = found[1].lower(), found[2]
    # A traceback may show this frame's locals.
    del path, found
    if kind != "sqlite":
        del rest
        raise InvalidRequest(
            f"the URL of a database ({kind}) is misspelt, or stands where a file is meant;"
            " a database is postgresql+asyncpg://user@host/name"
        )
    file = rest.lstrip("/")
    absolute = f", or sqlite:////{file} from the root" if rest.startswith("/") else ""
    raise InvalidRequest(
        f"the URL of a database (sqlite) is misspelt, or stands where a file is meant;"
        f" a database is sqlite:///{file}{absolute}"
    )


def refuse_for_plan(path: str) -> None:
    """Check that saving a plan destroys nothing but an earlier plan.

    Raises:
        InvalidRequest: The path is a database URL.
        OutputError: The file is not a plan, or cannot be read.
    """
    refuse_database_url(path)
    with translate_os_errors(path):
        message = foreign_file(path, FileKind.PLAN)
    if message is not None:
        raise OutputError(message)


def refuse_moved(path: str, ours: os.stat_result) -> None:
    """Check that a path still leads to the file that a run writes.

    Args:
        path: The path of the output.
        ours: The file that the run writes.

    Raises:
        OutputError: The path leads elsewhere; the message says what is lost.
    """
    try:
        if os.path.samestat(ours, os.stat(path)):
            return
    except OSError:
        # Unreachable for any reason: the user cannot find the output at its path.
        pass
    if ours.st_nlink == 0:
        raise OutputError(
            f"{path} was removed during the run, and its content is lost; begin the run anew"
        )
    raise OutputError(
        f"{path} was renamed or removed during the run; move the file back and resume the run"
        " (resume=True, --resume), or begin anew if it is gone"
    )
