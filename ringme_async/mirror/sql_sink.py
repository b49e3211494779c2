"""An output in a database: current records, last errors and changes."""

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
from ringme_async.mirror.output_path import normalize_output
from ringme_async.mirror.sink import Clock, Session, Sink, now

__all__ = ["Mirror", "sink_for"]

_URL: Final = re.compile(r"[A-Za-z0-9_+.-]+://")


@frozen(init=False)
class Mirror:
    """Clients in a database: their current records, their last errors, and every change.

    Tables (the field names of JSON in ``record``, ``before`` and ``after`` are the API's):

    - ``clients``: ``tenant`` (its key), ``client_id``, ``record``, ``read_at`` and ``run`` (of the
      last read), ``last_error``, ``last_error_at`` and ``error_run`` (null after a later read).
    - ``history``: ``tenant``, ``field``, ``before``, ``after``, ``at``, ``run``: a row for each
      field that differs from the last read.
    - ``runs``: ``number``, ``id``, ``started``, ``finished`` (null until every tenant was tried, and
      again while the run is resumed), and the totals ``read``, ``failed`` and ``changed``.
    - ``mirror_version``: the version of the tables; a version newer than this package is refused.

    A NUL, or half of a surrogate pair, is escaped in the columns of JSON, so that each row can be
    queried; ``decode_json`` restores it.

    Times are UTC. The promise is exactly once in each run, at least once at the server. Outcomes
    are committed in batches, and a committed tenant is done. ``kill -9`` loses at most the last
    batch; the resumed run reads its tenants again.

    To resume is to continue the latest run, finished or not, as with a ``Journal``: it keeps its
    id, skips read tenants, and retries failures. If nothing is left to do, nothing is read. A run
    killed before its first request may leave no trace; the latest run is then the one before it. To
    read every tenant again, start a new run.

    It needs SQLAlchemy and the database's driver. ``pip install 'ringme-async[mirror]'`` brings
    them for SQLite; for PostgreSQL, add ``asyncpg``. Two runs on one database exclude each other,
    by a file beside it or by an advisory lock.

    Args:
        url: ``"sqlite:///clients.db"``, or ``"postgresql+asyncpg://user:password@host/name"``. The
            password is never shown; ``PGPASSWORD`` or ``~/.pgpass`` may hold it instead.
        batch: Outcomes in one commit, at most.
        every: Seconds that an outcome waits for its commit, at most.
        retry_for: Seconds for which a run reconnects after a lost connection, or waits for a
            database that another program has locked; 0 disables both. Nothing is lost or written
            twice. After a cancellation the limit is 10 seconds.
        clock: Returns the time of day.

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
            # A traceback may show this frame's locals, and self has no fields to show yet.
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
        """Open the database for a run.

        Args:
            resume: Continue the latest run: skip read tenants, retry failures. Without a run, or
                without ``resume``, a new run starts.

        Raises:
            InvalidRequest: The URL is malformed, or is of another kind of database.
            OutputInUse: Another run writes into the database.
            OutputError: The database is unusable, or a package it needs is not installed.
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
    """Return the output for a path or a URL.

    Args:
        into: A path such as ``"clients.jsonl"``, or a URL such as ``"sqlite:///clients.db"``. The
            path of a SQLite database means that database.
        overwrite: Start over and discard an earlier run's output in the file.

    Raises:
        InvalidRequest: ``overwrite`` is set for a database, or a database URL is misspelt.
    """
    into = normalize_output(os.fspath(into))
    if not _URL.match(into):
        return Journal(into, overwrite=overwrite)
    if overwrite:
        # The frame of this call would show the password.
        del into
        raise InvalidRequest("a database is not overwritten: a new run updates what is in it")
    return Mirror(into)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
