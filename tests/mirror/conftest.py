"""Databases for the tests of the mirror: a SQLite file, and PostgreSQL where it is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest

from ringme_async import RingMe
from tests.mirror.databases import ask
from tests.mirror.postgres import PASSWORD, running_postgres, why_not
from tests.mirror.world import World, ringme_on


@pytest.fixture
def world() -> World:
    """A fake of twenty tenants."""
    return World(20)


@pytest.fixture
async def ringme(world: World) -> AsyncIterator[RingMe]:
    """A RingMe for these tenants."""
    async with ringme_on(world) as ringme:
        yield ringme


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server, up to the name of the database."""
    reason = why_not()
    if reason is None and importlib.util.find_spec("asyncpg") is None:
        reason = "asyncpg is not installed"
    if reason is not None:
        pytest.skip(reason)
    with ExitStack() as stack:
        where = stack.enter_context(running_postgres())
        yield f"postgresql://postgres:{quote(PASSWORD, safe='')}@{where}/"


@pytest.fixture
async def postgres_url(postgres: str) -> str:
    """The URL of an empty PostgreSQL database."""
    name = f"mirror_{uuid4().hex}"
    await ask(f"{postgres}postgres", f"CREATE DATABASE {name}", alone=True)
    return postgres + name


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite database that is not there yet."""
    return f"sqlite:///{tmp_path / 'clients.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, of each kind."""
    found = request.getfixturevalue(f"{request.param}_url")
    assert isinstance(found, str)
    return found
