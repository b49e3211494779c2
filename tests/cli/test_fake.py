"""The fake as a server, started and ended by a user."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from ringme_async import ClientCredentials, RingMe
from ringme_async.cli.codes import ExitCode
from tests.cli.shell import COMMAND, clean_environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it is ended by signals")


@define
class Started:
    """A fake in a process of its own."""

    process: asyncio.subprocess.Process
    shown: str = ""
    complaint: str = ""

    async def read_until(self, last: str) -> str:
        assert self.process.stdout is not None
        while not self.shown.endswith(last):
            line = await self.process.stdout.readline()
            assert line, "it ended before its time"
            self.shown += line.decode()
        return self.shown

    async def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(await self.read_until("\n}\n"))
        return facts

    async def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        _, complaint = await self.process.communicate()
        self.complaint = complaint.decode()
        assert self.process.returncode is not None
        return self.process.returncode


async def start(folder: Path, *arguments: str) -> Started:
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "fake", *arguments),
        cwd=folder,
        env=clean_environment(folder),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    return Started(process)


@asynccontextmanager
async def running(folder: Path, *arguments: str) -> AsyncIterator[Started]:
    fake = await start(folder, *arguments)
    try:
        yield fake
    finally:
        if fake.process.returncode is None:
            await fake.end(signal.SIGTERM)


async def refused(folder: Path, *arguments: str) -> tuple[int | None, str]:
    fake = await start(folder, *arguments)
    out, complaint = await fake.process.communicate()
    assert out == b""
    return fake.process.returncode, complaint.decode()


async def test_the_printed_facts_are_enough_to_read_every_client(tmp_path: Path) -> None:
    async with running(tmp_path, "--port", "0", "--tenants", "7", "--json") as fake:
        facts = await fake.facts()
        auth = ClientCredentials(facts["app_id"], facts["app_secret"])
        async with RingMe(facts["base_url"], auth=auth) as ringme:
            report = await ringme.clients.get_many(range(1, 8))
    assert report.ok
    assert facts["tenants"] == 7
    assert facts["openapi"] == facts["base_url"] + "/openapi.json"
    assert facts["docs"] == facts["base_url"] + "/docs"


async def test_the_id_and_the_secret_are_the_same_at_every_start(tmp_path: Path) -> None:
    applications: list[tuple[str, str]] = []
    for _ in range(2):
        async with running(tmp_path, "--port", "0", "--json") as fake:
            facts = await fake.facts()
            applications.append((facts["app_id"], facts["app_secret"]))
    assert applications[0] == applications[1]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
async def test_the_printed_commands_work_unchanged(tmp_path: Path) -> None:
    async with running(tmp_path, "--port", "0", "--tenants", "3") as fake:
        shown = await fake.read_until("is forgotten.\n")
        lines = shown[shown.index("TOKEN=") : shown.index("\nCtrl-C")]
        pasted = await asyncio.create_subprocess_exec(
            *("sh", "-e", "-c", lines),
            env={**clean_environment(tmp_path), "no_proxy": "*"},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await pasted.communicate()
    before, after = re.findall(r"\{.*?\}", out.decode())
    assert pasted.returncode == 0
    assert json.loads(before)["timezone"] == "Europe/Moscow"
    assert json.loads(after) == {**json.loads(before), "timezone": "Asia/Omsk"}


async def test_the_printed_environment_is_enough(tmp_path: Path) -> None:
    async with running(tmp_path, "--port", "0", "--tenants", "3") as fake:
        shown = await fake.read_until("is forgotten.\n")
        environ = dict(re.findall(r"^export (\w+)=(.*)$", shown, re.MULTILINE))
        async with RingMe.from_env(environ) as ringme:
            assert (await ringme.clients.get(3)).id == 3


async def test_the_output_names_the_docs_page_and_the_description(tmp_path: Path) -> None:
    async with running(tmp_path, "--port", "0") as fake:
        shown = await fake.read_until("is forgotten.\n")
    assert re.search(r"100 clients listens on http://127\.0\.0\.1:\d+\n", shown)
    for what in ("App ID ", "App Secret ", "/docs\n", "/openapi.json\n"):
        assert what in shown


@pytest.mark.parametrize(
    ("number", "code", "complaint"),
    [
        (signal.SIGINT, ExitCode.INTERRUPTED, "ringme: interrupted\n"),
        (signal.SIGTERM, ExitCode.ALL_WELL, ""),
    ],
)
async def test_signals_end_the_fake(
    tmp_path: Path, number: signal.Signals, code: ExitCode, complaint: str
) -> None:
    async with running(tmp_path, "--port", "0", "--json") as fake:
        await fake.facts()
        assert await fake.end(number) == code, fake.complaint
    assert fake.complaint == complaint


async def test_a_port_in_use_is_reported_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = await refused(tmp_path, "--port", str(port))
    message = f"ringme: port {port} of 127.0.0.1 is in use; --port 0 takes a free one\n"
    assert ended == (ExitCode.COULD_NOT_START, message)


async def test_an_address_of_another_machine_is_reported_in_one_line(tmp_path: Path) -> None:
    code, message = await refused(tmp_path, "--host", "203.0.113.1")
    assert code == ExitCode.COULD_NOT_START
    assert re.fullmatch(
        r"ringme: the fake cannot listen on port 8080 of 203.0.113.1: .+\n", message
    )


@pytest.mark.parametrize("wrong", [("--port", "65536"), ("--tenants", "0"), ("--secret", "x")])
async def test_a_wrong_command_line_is_reported(tmp_path: Path, wrong: tuple[str, str]) -> None:
    code, message = await refused(tmp_path, *wrong)
    assert code == ExitCode.WRONG_USAGE
    assert wrong[0] in message


async def test_a_server_on_all_addresses_is_shown_with_a_reachable_one(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, "--host", "0.0.0.0", "--port", "0", "--json") as fake:
        assert (await fake.facts())["base_url"].startswith("http://127.0.0.1:")
