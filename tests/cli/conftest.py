"""A shell to run commands in, and a quicker way to run one in this process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from ringme_async.cli import app
from ringme_async.testing import FakeRingMe
from tests.cli.shell import Ended, Shell, shell_in

Here: TypeAlias = Callable[..., Awaitable[Ended]]


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    fake = FakeRingMe()
    fake.add_tenants(20)
    async with shell_in(tmp_path, fake) as shell:
        yield shell


@pytest.fixture
def here(shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """Run a command in a thread of this process, with the shell's folder and variables."""

    async def run(*arguments: str) -> Ended:
        for name in [name for name in os.environ if name.startswith("RINGME_")]:
            monkeypatch.delenv(name)
        for name, value in {"HOME": str(shell.folder), **shell.variables}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(shell.folder)
        code = await asyncio.to_thread(app.run, arguments)
        captured = capsys.readouterr()
        assert "s3cret" not in captured.out + captured.err
        return Ended(code, captured.out, captured.err)

    return run
