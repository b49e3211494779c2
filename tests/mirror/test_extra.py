"""Without the extra, JSON lines work and a database names the missing extra."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import asyncio, sys

sys.modules["sqlalchemy"] = None  # As if it were not installed.

from ringme_async import BearerToken, RingMe
from ringme_async.mirror import Journal, Mirror, OutputError, refresh


async def main():
    async with RingMe("https://pbx.example.com", auth=BearerToken("t")) as ringme:
        print((await refresh(ringme, [], Journal(sys.argv[1]))).read)
        try:
            await refresh(ringme, [], Mirror("sqlite:///never.db"))
        except OutputError as error:
            print(error)


asyncio.run(main())
"""


def said_by(program: str, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_json_lines_work_without_the_extra_and_a_database_names_it(tmp_path: Path) -> None:
    read, refused = said_by(PROGRAM, str(tmp_path / "clients.jsonl"))
    assert read == "0"
    assert refused.startswith("a database needs more than is installed")
    assert refused.endswith("install it with: pip install 'ringme-async[mirror]'")


def test_importing_the_mirror_imports_no_database() -> None:
    loaded = said_by("import ringme_async.mirror, sys; print(*sys.modules, sep='\\n')")
    assert {"sqlalchemy", "aiosqlite", "asyncpg"}.isdisjoint(loaded)
