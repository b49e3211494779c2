"""Reads databases directly, without the mirror."""

from __future__ import annotations

from typing import Any

from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

from ringme_async.mirror import decode_json
from ringme_async.mirror.sql_connection import database_url, with_driver


async def ask(url: str, *statements: str, alone: bool = False) -> list[dict[str, Any]]:
    """Run statements, and return the rows of the last one."""
    engine = create_async_engine(with_driver(database_url(url)), poolclass=NullPool)
    rows: list[dict[str, Any]] = []
    async with engine.connect() as connection:
        if alone:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
        for statement in statements:
            result = await connection.execute(text(statement))
            rows = [dict(row._mapping) for row in result] if result.returns_rows else []
        if not alone:
            await connection.commit()
    return rows


async def clients_in(url: str) -> dict[str, dict[str, Any]]:
    """Return the rows of the clients by tenant, their records as JSON."""
    rows = await ask(
        url,
        "SELECT tenant, client_id, CAST(record AS TEXT) AS record, read_at, run,"
        " last_error, last_error_at, error_run FROM clients",
    )
    for row in rows:
        row["record"] = None if row["record"] is None else decode_json(row["record"])
    return {row["tenant"]: row for row in rows}


async def history_in(url: str) -> list[dict[str, Any]]:
    """Return the rows of the history, in order."""
    rows = await ask(
        url,
        "SELECT tenant, field, CAST(before AS TEXT) AS before, CAST(after AS TEXT) AS after,"
        " at, run FROM history ORDER BY number",
    )
    return [
        {**row, "before": decode_json(row["before"]), "after": decode_json(row["after"])}
        for row in rows
    ]


async def runs_in(url: str) -> list[dict[str, Any]]:
    """Return the rows of the runs, in order."""
    return await ask(url, "SELECT * FROM runs ORDER BY number")
