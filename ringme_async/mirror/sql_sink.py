"""An output in a database: the current records, what failed, and what has changed."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from attrs import field, frozen

from ringme_async import Client, InvalidRequest
from ringme_async.mirror.errors import OutputError
from ringme_async.mirror.jsonl_sink import Journal
from ringme_async.mirror.output_path import in_full
from ringme_async.mirror.sink import Clock, Session, Sink, now

__all__ = ["Mirror", "sink_for"]

_URL: Final = re.compile(r"[A-Za-z0-9_+.-]+://")


@frozen(init=False)
class Mirror:
    """Clients in a database: their current records, their last errors, and every change.

    Tables (the field names of JSON in ``record``, ``before`` and ``after`` are the API's):

    - ``clients``: ``tenant`` (its key), ``client_id``, ``record``, ``read_at`` and ``run`` (of the
      last time it was read), ``last_error``, ``last_error_at`` and ``error_run`` (null once it was
      read again).
    - ``history``: ``tenant``, ``field``, ``before``, ``after``, ``at``, ``run``: a row whenever a
      field is not what it was at the last read.
    - ``runs``: ``number``, ``id``, ``started``, ``finished`` (null until every tenant was tried, and
      again while it is gone on with), and how many were ``read``, ``failed`` and found ``changed``.
    - ``mirror_version``: the version of all this; a newer one than this package knows is refused.

    A NUL in a text, or half of a surrogate pair, is escaped in the columns of JSON, so that each row
    can be queried; ``decode_json`` gives it back.

    Times are UTC. The promise is exactly once in each run, at least once at the server: outcomes
    are committed in batches, and one counts as done once it is committed, so that ``kill -9`` loses
    at most the last batch, whose tenants are read again when the run is resumed.

    To resume is to go on with the latest run, finished or not, as with a ``Journal``: it keeps its
    id, skips whom it has read, and tries again what failed. Where nothing is left to do, nothing is
    read. A run that was killed before anything was sent may have left no trace, and then the latest
    is the one before it: to read everything anew, begin a run rather than resume one.

    It needs SQLAlchemy and the database's driver: ``pip install 'ringme-async[mirror]'`` brings
    them for SQLite; for PostgreSQL, add ``asyncpg``. Two runs on one database exclude each other,
    by a file beside it or by an advisory lock.

    Args:
        url: ``"sqlite:///clients.db"``, or ``"postgresql+asyncpg://user:password@host/name"``; the
            password is never shown, and may be left to ``PGPASSWORD`` or ``~/.pgpass``.
        batch: How many outcomes are committed at once, at the most.
        every: Seconds that an outcome waits for others to be committed with, at the most.
        retry_for: Seconds for which a run connects anew to a database that has ended the
            connection, and waits for one that another program has locked; 0: not at all. Nothing is
            lost or written twice by that. After a cancellation it is 10 seconds at most.
        clock: Tells the time of day.

    Raises:
        InvalidRequest: ``batch`` or ``retry_for`` is out of its range.
    """

    url: str = field(repr=False)
    batch: int
    every: float
    retry_for: float
    clock: Clock = field(repr=False)

    def __init__(
        self,
        url: str,
        *,
        batch: int = 200,
        every: float = 1.0,
        retry_for: float = 120.0,
        clock: Clock = now,
    ) -> None:
        if not _is_count(batch):
            # A traceback may show this frame's locals, and there is no self to show yet.
            del self, url
            raise InvalidRequest(f"batch is a number of tenants from 1 up, not {batch!r}")
        if not retry_for >= 0:
            del self, url
            raise InvalidRequest(f"retry_for is a number of seconds from 0 up, not {retry_for!r}")
        object.__setattr__(self, "url", url)
        object.__setattr__(self, "batch", batch)
        object.__setattr__(self, "every", every)
        object.__setattr__(self, "retry_for", retry_for)
        object.__setattr__(self, "clock", clock)

    @asynccontextmanager
    async def open(self, *, resume: bool) -> AsyncGenerator[Session[Client], None]:
        """Take hold of the database for a run.

        Args:
            resume: Go on with the latest run: skip whom it has read, try again what failed. If
                there is none, or without it, a new run begins.

        Raises:
            InvalidRequest: The URL is malformed, or is of another kind of database.
            OutputInUse: Another run writes into the database.
            OutputError: The database cannot be used, or what it needs is not installed.
        """
        try:
            # Imported here, so that JSON lines work without the extra.
            from ringme_async.mirror.sql_session import open_database  # noqa: PLC0415
        except ImportError as missing:
            raise OutputError(
                f"a database needs more than is installed ({missing});"
                " install it with: pip install 'ringme-async[mirror]'"
            ) from None
        async with open_database(self, resume=resume) as session:
            yield session


def sink_for(into: str | os.PathLike[str], *, overwrite: bool = False) -> Sink:
    """Give the output that a path or a URL stands for.

    Args:
        into: A path such as ``"clients.jsonl"``, or a URL such as ``"sqlite:///clients.db"``. The
            path of a file that is a SQLite database stands for that database.
        overwrite: Begin anew although an earlier run's output is in the file.

    Raises:
        InvalidRequest: A database is to be overwritten, or its URL is misspelt.
    """
    into = in_full(os.fspath(into))
    if not _URL.match(into):
        return Journal(into, overwrite=overwrite)
    if overwrite:
        # The frame of this call would show the password.
        del into
        raise InvalidRequest("a database is not overwritten: a new run updates what is in it")
    return Mirror(into)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
