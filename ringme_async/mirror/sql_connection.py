"""The way to a database: its URL, its driver, its lock, and its errors in words."""

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
    told_of,
)
from ringme_async.mirror.output_lock import locked

__all__ = [
    "Link",
    "connected",
    "database_url",
    "shown_url",
    "told_of_database",
    "undisturbed",
    "with_driver",
]

T = TypeVar("T")

_DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
}
_SETTINGS: Final[dict[str, dict[str, Any]]] = {
    # Short, as nothing can be cancelled meanwhile: a session tries again.
    "aiosqlite": {"timeout": 1.0},
    # What cannot be cancelled has to end by itself.
    "asyncpg": {"timeout": 10.0, "command_timeout": 60.0},
}
# Of PostgreSQL: lost connection, serialization failure and deadlock, too many connections, lock not
# available, and shutting down or starting up.
_TRANSIENT: Final = ("08", "40", "53300", "55P03", "57P")
_LOCK: Final = 0x52_4D_4D_49
_LOOKS: Final = 30
_BETWEEN_LOOKS: Final = 0.1
_LONGEST: Final = 300


def database_url(given: str) -> URL:
    """Read a database's URL; messages show it as it was given.

    Raises:
        InvalidRequest: It is malformed, is of another kind of database, or names no file; neither
            the message nor a frame holds its password.
    """
    url = _parsed(given)
    # A traceback may show this frame's locals; what is left of the password, a URL hides.
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
        # What they say may hold the password.
        return None
    password = url.query.get("password")
    if password is None:
        return url
    # Beside the user's name it means the same, and is never shown. Of several, the last one counts.
    told = password if isinstance(password, str) else password[-1]
    return url.set(password=told).difference_update_query(["password"])


def shown_url(url: URL) -> str:
    """Show a database's URL without what may be secret in it: the password and the settings."""
    return url.set(query={}).render_as_string(hide_password=True)


@define(eq=False)
class Link:
    """The one connection of a run, with nobody else writing; it can be made anew."""

    url: URL
    _engine: AsyncEngine
    connection: AsyncConnection = field(init=False)

    async def begin(self) -> None:
        """Connect, and exclude other runs; those on a file have been excluded before.

        Raises:
            OutputInUse: Another run writes into the database.
        """
        self.connection = self._engine.connect()
        await undisturbed(_start(self.connection))
        if not _is_file(self.url):
            await _exclude_others(self.connection, shown_url(self.url))

    async def renew(self) -> None:
        """Connect anew after a failure; what was not committed is rolled back.

        Raises:
            OutputInUse: Another run writes into the database.
        """
        await self.close(broken=True)
        await self.begin()

    async def close(self, *, broken: bool = False) -> None:
        """Close the connection, if there is one.

        Args:
            broken: Do not say goodbye to the server.
        """
        if self.connection.sync_connection is None:
            return
        if broken and not self.connection.invalidated:
            await undisturbed(self.connection.invalidate())
        await undisturbed(self.connection.close())


@asynccontextmanager
async def connected(url: URL) -> AsyncGenerator[Link, None]:
    """Hold the one connection of a run, with nobody else writing.

    Raises:
        OutputInUse: Another run writes into the database.
        OutputError: It cannot be reached, or its driver is missing.
    """
    with locked(str(url.database)) if _is_file(url) else nullcontext():
        if _is_file(url):
            _check_file(str(url.database))
        link = Link(url, _engine_for(url, shown_url(url)))
        try:
            await told_of_database(link.begin(), url)
            yield link
        finally:
            await link.close()


def _is_file(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _check_file(path: str) -> None:
    """Refuse what SQLite could not open: it does not say why."""
    with told_of(path):
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, "")
        if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, "")


async def told_of_database(work: Coroutine[Any, Any, T], url: URL) -> T:
    """Turn whatever a driver raises into an error that names the database, without its password.

    Raises:
        TransientOutputError: The work may succeed later, over a new connection.
        OutputError: The work raised something else.
    """
    try:
        return await work
    except RingMeError:
        raise
    except Exception as error:  # noqa: BLE001 - each driver has errors of its own
        words = _in_words(error, url)
        kind = TransientOutputError if _may_pass(error) else OutputError
    # Raised here, so that nothing is chained, not even unseen: drivers' frames hold the password.
    raise kind(f"{shown_url(url)}: {words}")


def _may_pass(error: Exception) -> bool:
    """Tell whether a failure is of the connection or of a lock, and not of the work."""
    if isinstance(error, OSError):
        return True
    if not isinstance(error, DBAPIError):
        # A driver raises its own class if the server does not take the connection yet.
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


async def undisturbed(work: Coroutine[Any, Any, T]) -> T:
    """Let a piece of work come to its end before a cancellation takes effect.

    A driver that is cancelled in mid-way leaves it open whether something was committed.
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
    flaw: RingMeError
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
        flaw = OutputError(f"{name} needs {driver}: pip install '{extra}'")
    except (SQLAlchemyError, ValueError) as error:
        flaw = InvalidRequest(f"{name}: {_in_words(error, url)}")
    raise flaw


def _as_is(value: str) -> str:
    return value


async def _start(connection: AsyncConnection) -> None:
    await connection.start()


async def _exclude_others(connection: AsyncConnection, name: str) -> None:
    """Take the lock of this mirror, which the server lets go of when the connection ends.

    It may take a moment to see that a killed process is gone.
    """
    for _ in range(_LOOKS):
        if await undisturbed(_take_lock(connection)):
            return
        await asyncio.sleep(_BETWEEN_LOOKS)
    raise OutputInUse(f"{name} is being written by another run; wait for its end")


async def _take_lock(connection: AsyncConnection) -> bool:
    # Mirrors in other schemas of the database are others.
    schema = func.hashtext(func.current_schema())
    taken = await connection.scalar(
        select(func.pg_try_advisory_lock(literal(_LOCK, Integer), schema))
    )
    await connection.commit()
    return bool(taken)


def _in_words(error: Exception, url: URL) -> str:
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    words = " ".join(str(origin).split()) or type(origin).__name__
    if url.password:
        words = words.replace(url.password, "***")
    return words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "\u2026"
