"""Runs the real command in processes of its own, against a fake that the test serves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

from attrs import define, field

from ringme_async.testing import FakeRingMe

ROOT = Path(__file__).parents[2]
COMMAND = (
    sys.executable,
    "-W",
    "error",
    "-c",
    "import sys; from ringme_async.cli import main; sys.exit(main())",
)
SECRET = "dealer-s3cret"


@define
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(self.out)
        return result


@define
class Shell:
    """A folder to work in, and the environment variables that commands get.

    Every output is looked through for secrets.
    """

    folder: Path
    fake: FakeRingMe
    url: str
    variables: dict[str, str] = field(factory=dict[str, str])

    def __attrs_post_init__(self) -> None:
        self.variables |= {
            "RINGME_BASE_URL": self.url,
            "RINGME_APP_ID": "dealer",
            "RINGME_APP_SECRET": SECRET,
        }

    async def run(self, *arguments: str) -> Ended:
        """Run a command to its end."""
        return await self.end_of(await self.start(*arguments))

    async def fed(self, stdin: str, *arguments: str) -> Ended:
        """Run a command to its end, with a text on its standard input."""
        process = await self.start(*arguments, stdin=asyncio.subprocess.PIPE)
        return await self.end_of(process, stdin.encode())

    async def start(
        self,
        *arguments: str,
        stdin: int | IO[bytes] = asyncio.subprocess.DEVNULL,
        stdout: int | IO[bytes] = asyncio.subprocess.PIPE,
        before: tuple[str, ...] = (),
    ) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *before,
            *COMMAND,
            *arguments,
            cwd=self.folder,
            env=clean_environment(self.folder) | self.variables,
            stdin=stdin,
            stdout=stdout,
            stderr=asyncio.subprocess.PIPE,
        )

    async def end_of(
        self, process: asyncio.subprocess.Process, stdin: bytes | None = None
    ) -> Ended:
        out, err = await process.communicate(stdin)
        assert b"s3cret" not in out + err
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())

    async def stop_after(self, requests: int, stop: signal.Signals, *arguments: str) -> Ended:
        """Start a command, and send it a signal once the server has had so many requests."""
        before = self.fake.requests.total
        process = await self.start(*arguments)
        while self.fake.requests.total < before + requests:
            assert process.returncode is None, "it ended before its time"
            await asyncio.sleep(0.005)
        process.send_signal(stop)
        return await self.end_of(process)

    def write(self, name: str, content: str | bytes, mode: int = 0o600) -> str:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return name

    def write_tenants(self, numbers: range) -> str:
        """Write a list of tenants that the dealer reaches, named t1 and so on."""
        lines = ["name,client_id", *(f"t{number},{number}" for number in numbers)]
        return self.write("tenants.csv", "\n".join(lines))

    def lines(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / name
        return (
            [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
        )


def clean_environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RINGME_")}
    kept.pop("XDG_CONFIG_HOME", None)
    kept.pop("FORCE_COLOR", None)
    return kept | {"HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}


@asynccontextmanager
async def shell_in(folder: Path, fake: FakeRingMe) -> AsyncIterator[Shell]:
    """Serve a fake, in which a dealer reaches everybody."""
    fake.add_dealer("dealer", SECRET)
    async with fake.serve() as url:
        yield Shell(folder, fake, url)
