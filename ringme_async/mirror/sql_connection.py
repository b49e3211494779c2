"""The connection to a database: its URL, driver, lock and error messages."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager, nullcontext
from typing import Any, Final, TypeVar

from attrs import define, field
from sqlalchemy import URL, Integer, NullPool, func, literal, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ringme_async import InvalidRequest, RingMeError
from ringme_async.mirror.errors import (
    OutputError,
    OutputInUse,
    TransientOutputError,
    translate_os_errors,
)
from ringme_async.mirror.output_lock import locked

__all__ = [
    "ExclusiveConnection",
    "connect_exclusively",
    "database_url",
    "run_shielded",
    "shown_url",
    "translate_database_errors",
    "with_driver",
]

T = TypeVar("T")

_DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
}
_SETTINGS: Final[dict[str, dict[str, Any]]] = {
    # Short, as a waiting driver cannot be cancelled; the session retries.
    "aiosqlite": {"timeout": 1.0},
    # Commands are shielded from cancellation, so they need timeouts of their own.
    "asyncpg": {"timeout": 10.0, "command_timeout": 60.0},
}
# PostgreSQL: lost connection, serialization failure and deadlock, too many connections, lock not
# available, and shutting down or starting up.
_TRANSIENT: Final = ("08", "40", "53300", "55P03", "57P")
_LOCK: Final = 0x52_4D_4D_49
_LOCK_ATTEMPTS: Final = 30
_LOCK_INTERVAL: Final = 0.1
_LONGEST_MESSAGE: Final = 300


def database_url(given: str) -> URL:
    """Parse a database's URL.

    Raises:
        InvalidRequest: It is malformed, is of another kind of database, or names no file. Neither
            the message nor a frame holds its password.
    """
    url = _parsed(given)
    # A traceback may show this frame's locals; a parsed URL hides its password.
    del given
    if url is None:
        raise InvalidRequest(
            'a database is given as "sqlite:///clients.db"'
            ' or "postgresql+asyncpg://user:password@host/name"'
        )
    kind = with_driver(url).get_backend_name()
    if kind not in {"sqlite", "postgresql"}:
        raise InvalidRequest(f"a mirror is kept in SQLite or PostgreSQL, not in {kind}")
    if kind == "sqlite" and (url.database or ":memory:").startswith((":memory:", "file:")):
        raise InvalidRequest("name the file of the database, as in sqlite:///clients.db")
    return url


def with_driver(url: URL) -> URL:
    """Choose the driver if the URL names none."""
    return url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))


def _parsed(given: str) -> URL | None:
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        # Their messages may hold the password.
        return None
    password = url.query.get("password")
    if password is None:
        return url
    # Moved beside the user's name, where SQLAlchemy hides it. The last of several counts.
    last = password if isinstance(password, str) else password[-1]
    return url.set(password=last).difference_update_query(["password"])


def shown_url(url: URL) -> str:
    """Show a database's URL without its password and settings, which may be secret."""
    return url.set(query={}).render_as_string(hide_password=True)


@define(eq=False)
class ExclusiveConnection:
    """The only connection of a run, which excludes other runs and can reconnect."""

    url: URL
    _engine: AsyncEngine
    connection: AsyncConnection = field(init=False)

    async def begin(self) -> None:
        """Connect, and exclude other runs; for a file, its lock has done so before.

        Raises:
            OutputInUse: Another run writes into the database.
        """
        self.connection = self._engine.connect()
        await run_shielded(_start(self.connection))
        if not _is_file(self.url):
            await _exclude_others(self.connection, shown_url(self.url))

    async def reconnect(self) -> None:
        """Connect again after a failure; uncommitted work is rolled back.

        Raises:
            OutputInUse: Another run writes into the database.
        """
        await self.close(broken=True)
        await self.begin()

    async def close(self, *, broken: bool = False) -> None:
        """Close the connection, if there is one.

        Args:
            broken: Drop the connection without a last message to the server.
        """
        if self.connection.sync_connection is None:
            return
        if broken and not self.connection.invalidated:
            await run_shielded(self.connection.invalidate())
        await run_shielded(self.connection.close())


@asynccontextmanager
async def connect_exclusively(url: URL) -> AsyncGenerator[ExclusiveConnection, None]:
    """Hold the only connection of a run, and exclude other runs.

    Raises:
        OutputInUse: Another run writes into the database.
        OutputError: The database cannot be reached, or its driver is missing.
    """
    with locked(str(url.database)) if _is_file(url) else nullcontext():
        if _is_file(url):
            _check_file(str(url.database))
        database = ExclusiveConnection(url, _engine_for(url, shown_url(url)))
        try:
            await translate_database_errors(database.begin(), url)
            yield database
        finally:
            await database.close()


def _is_file(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _check_file(path: str) -> None:
    """Refuse a file that SQLite could not open, as SQLite gives no reason."""
    with translate_os_errors(path):
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, "")
        if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, "")


async def translate_database_errors(work: Coroutine[Any, Any, T], url: URL) -> T:
    """Turn any driver's error into one that names the database, without its password.

    Raises:
        TransientOutputError: The work may succeed later, over a new connection.
        OutputError: The work raised something else.
    """
    try:
        return await work
    except RingMeError:
        raise
    except Exception as error:  # noqa: BLE001 - each driver has errors of its own
        words = _message_of(error, url)
        kind = TransientOutputError if _is_transient(error) else OutputError
    # Outside the `except`, so that nothing is chained: drivers' frames hold the password.
    raise kind(f"{shown_url(url)}: {words}")


def _is_transient(error: Exception) -> bool:
    """Return True if the connection or a lock failed, and not the work."""
    if isinstance(error, OSError):
        return True
    if not isinstance(error, DBAPIError):
        # A driver raises a class of its own while the server starts up.
        return _has_transient_state(error)
    if error.connection_invalidated:
        return True
    origin = error.orig
    code = getattr(origin, "sqlite_errorcode", None)
    if code is not None:
        # The low byte is the primary code.
        return code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
    return _has_transient_state(origin)


def _has_transient_state(error: object) -> bool:
    state = getattr(error, "sqlstate", None)
    return isinstance(state, str) and state.startswith(_TRANSIENT)


async def run_shielded(work: Coroutine[Any, Any, T]) -> T:
    """Finish work before a cancellation takes effect.

    A driver cancelled halfway leaves it unknown whether the work was committed.
    """
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()
    raise cancelled


def _engine_for(url: URL, name: str) -> AsyncEngine:
    url = with_driver(url)
    driver = url.get_driver_name()
    failure: RingMeError
    try:
        return create_async_engine(
            url,
            poolclass=NullPool,
            hide_parameters=True,
            connect_args=_SETTINGS.get(driver, {}),
            # Records are JSON already.
            json_serializer=_as_is,
            json_deserializer=_as_is,
        )
    except ImportError:
        extra = "ringme-async[mirror]" if driver == "aiosqlite" else driver
        failure = OutputError(f"{name} needs {driver}: pip install '{extra}'")
    except (SQLAlchemyError, ValueError) as error:
        failure = InvalidRequest(f"{name}: {_message_of(error, url)}")
    raise failure


def _as_is(value: str) -> str:
    return value


async def _start(connection: AsyncConnection) -> None:
    await connection.start()


async def _exclude_others(connection: AsyncConnection, name: str) -> None:
    """Take the lock of this mirror, which the server releases when the connection ends.

    Several attempts, as the server may take a moment to notice that a killed process is gone.
    """
    for _ in range(_LOCK_ATTEMPTS):
        if await run_shielded(_try_lock(connection)):
            return
        await asyncio.sleep(_LOCK_INTERVAL)
    raise OutputInUse(f"{name} is being written by another run; wait for its end")


async def _try_lock(connection: AsyncConnection) -> bool:
    # Keyed by schema: mirrors in different schemas of one database do not exclude each other.
    schema = func.hashtext(func.current_schema())
    taken = await connection.scalar(
        select(func.pg_try_advisory_lock(literal(_LOCK, Integer), schema))
    )
    await connection.commit()
    return bool(taken)


def _message_of(error: Exception, url: URL) -> str:
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    words = " ".join(str(origin).split()) or type(origin).__name__
    if url.password:
        words = words.replace(url.password, "***")
    return words if len(words) <= _LONGEST_MESSAGE else words[: _LONGEST_MESSAGE - 1] + "\u2026"
