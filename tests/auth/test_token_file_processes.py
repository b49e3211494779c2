"""One token file and several real processes, some of which are killed."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ringme_async.auth.credentials import file_key
from ringme_async.auth.token_file import TokenFile
from tests.auth.writer import key_of

ROOT = Path(__file__).parents[2]


def start(path: Path, name: str, count: int, *, spare: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.auth.writer", str(path), name, str(count), str(spare)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        # A warning in the output is no tenant, so it fails the test.
        stderr=subprocess.STDOUT,
        text=True,
    )


def open_again(path: Path) -> TokenFile:
    return TokenFile(str(path), capacity=100_000, wall_clock=time.time)


def found(file: TokenFile, tenant: str) -> str | None:
    name = file_key(key_of(tenant))
    assert name is not None
    token = file.newest(name)
    return None if token is None else token.value


@pytest.mark.parametrize("spare", [0, 1_000])
def test_processes_that_write_at_the_same_time_lose_no_token(tmp_path: Path, spare: int) -> None:
    path = tmp_path / "tokens"
    writers = {name: start(path, name, 100, spare=spare) for name in ("a", "b", "c", "d")}
    for writer in writers.values():
        said, _ = writer.communicate(timeout=120)
        assert len(said.splitlines()) == 100
        assert writer.returncode == 0
    tenants = [f"{name}-{number}" for name in writers for number in range(100)]
    tenants += [f"shared-{number}" for number in range(10)]
    file = open_again(path)
    assert {tenant: found(file, tenant) for tenant in tenants} == {
        tenant: f"token-of-{tenant}" for tenant in tenants
    }
    for line in path.read_bytes().splitlines():
        json.loads(line)
    assert {each.name for each in tmp_path.iterdir()} == {"tokens", "tokens.lock"}
    assert {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("spare", [0, 1_000])
def test_processes_killed_in_a_write_lose_no_written_token(tmp_path: Path, spare: int) -> None:
    path = tmp_path / "tokens"
    said: list[str] = []
    for round_ in range(6):
        writers = [start(path, f"{round_}-{name}", 0, spare=spare) for name in ("a", "b")]
        for number, writer in enumerate(writers):
            assert writer.stdout is not None
            # They never stop writing, so each is killed at a different point of a write.
            said += [writer.stdout.readline() for _ in range(1 + 7 * round_ + number)]
            writer.kill()
        for writer in writers:
            assert writer.stdout is not None
            said += [line for line in writer.stdout if line.endswith("\n")]
            writer.stdout.close()
            assert writer.wait() == -signal.SIGKILL
        file = open_again(path)
        lost = [tenant for tenant in map(str.strip, said) if found(file, tenant) is None]
        assert lost == []
    with (tmp_path / "tokens").open("rb") as raw:
        assert os.fstat(raw.fileno()).st_mode & 0o777 == 0o600
