"""The tables of a mirror."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Integer,
    MetaData,
    Table,
    Text,
    insert,
    inspect,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeDecorator, TypeEngine

from ringme_async.mirror.errors import OutputError
from ringme_async.mirror.json_column import escaped, unescaped

__all__ = ["VERSION", "clients", "history", "prepare", "runs"]

VERSION: Final = 1


class JSONText(TypeDecorator[str]):
    """JSON as text, so that a value is read back exactly as written, to the last digit.

    PostgreSQL uses its type ``json``, which keeps the text and can be queried. Characters that
    queries refuse are escaped.
    """

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = Text
    cache_ok: bool | None = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.JSON())
        return dialect.type_descriptor(Text())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else escaped(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else unescaped(value)


_metadata = MetaData()

clients: Table = Table(
    "clients",
    _metadata,
    Column("tenant", Text, primary_key=True),
    Column("client_id", BigInteger),
    Column("record", JSONText),
    Column("read_at", DateTime(timezone=True)),
    Column("run", Text),
    Column("last_error", Text),
    Column("last_error_at", DateTime(timezone=True)),
    Column("error_run", Text),
)

history: Table = Table(
    "history",
    _metadata,
    Column("number", Integer, primary_key=True),
    Column("tenant", Text, nullable=False, index=True),
    Column("field", Text, nullable=False),
    Column("before", JSONText, nullable=False),
    Column("after", JSONText, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("run", Text, nullable=False),
)

runs: Table = Table(
    "runs",
    _metadata,
    Column("number", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("started", DateTime(timezone=True), nullable=False),
    Column("finished", DateTime(timezone=True)),
    Column("read", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("changed", Integer, nullable=False),
)

_version = Table("mirror_version", MetaData(), Column("version", Integer, nullable=False))


async def prepare(connection: AsyncConnection) -> None:
    """Create missing tables.

    The version's table comes first and its row last, so that an interrupted creation can be
    continued.

    Raises:
        OutputError: The tables are of a newer version, or are not a mirror's.
    """
    existing = set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))
    if _version.name not in existing:
        foreign = sorted(existing & _metadata.tables.keys())
        if foreign:
            raise OutputError(f"there is a table {foreign[0]} already that is not a mirror's")
        await connection.run_sync(_version.create)
        await connection.commit()
    found = await connection.scalar(select(_version.c.version))
    if found is None:
        await connection.run_sync(_metadata.create_all)
        await connection.execute(insert(_version).values(version=VERSION))
    elif found > VERSION:
        raise OutputError(
            f"its tables are of version {found}, and this package knows {VERSION}; update it"
        )
    await connection.commit()
