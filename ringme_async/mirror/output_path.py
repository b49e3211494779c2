"""Where an output is: what its name stands for, and whether it is still there."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Final

from ringme_async import InvalidRequest
from ringme_async._internal.file_kind import FileKind, file_kind, foreign_file
from ringme_async.mirror.errors import OutputError, told_of

__all__ = ["in_full", "refuse_database_url", "refuse_for_plan", "refuse_moved"]

_DATABASE: Final = re.compile(
    r"(?:jdbc:)?(sqlite|postgres|postgresql|mysql|mariadb|mssql|oracle)(?:\+\w+)?:(.*)",
    re.IGNORECASE | re.DOTALL,
)


def in_full(into: str) -> str:
    """Give the URL of a database that is named without ``sqlite:///``; anything else as it is.

    Raises:
        InvalidRequest: It is a URL of a database, misspelt.
    """
    found = _DATABASE.match(into)
    if found is not None:
        if not found[2].startswith("//") or into[: len("jdbc:")].lower() == "jdbc:":
            refuse_database_url(into)
        return into
    # What cannot be read is named when it is opened.
    with suppress(OSError):
        if file_kind(into) is FileKind.DATABASE and "?" not in into:
            return f"sqlite:///{into}"
    return into


def refuse_database_url(path: str) -> None:
    """See to it that no file is made that is called like a database.

    Raises:
        InvalidRequest: The path is a URL of a database; the message shows no password of it.
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
    """See to it that saving a plan would destroy nothing but an earlier plan.

    Raises:
        InvalidRequest: The path is a URL of a database.
        OutputError: The file is something else than a plan, or cannot be read.
    """
    refuse_database_url(path)
    with told_of(path):
        flaw = foreign_file(path, FileKind.PLAN)
    if flaw is not None:
        raise OutputError(flaw)


def refuse_moved(path: str, ours: os.stat_result) -> None:
    """See to it that a path still leads to the file that a run writes.

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
        # Whatever the reason: nobody finds the output at its path.
        pass
    if ours.st_nlink == 0:
        raise OutputError(
            f"{path} was removed during the run, and its content is lost; begin the run anew"
        )
    raise OutputError(
        f"{path} was renamed or removed during the run; move the file back and resume the run"
        " (resume=True, --resume), or begin anew if it is gone"
    )
