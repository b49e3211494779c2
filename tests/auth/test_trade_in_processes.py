"""One refresh token, a server that rotates it, and real processes stopped at every step."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from attrs import define, field

from tests.auth.rotating import RotatingServer

ROOT = Path(__file__).parents[2]
BEFORE_ROTATION, AFTER_ROTATION = "before the rotation", "after the rotation"
IN_THE_ANSWER, AFTER_THE_ANSWER = "in the middle of the answer", "after the answer"
STEPS = [BEFORE_ROTATION, AFTER_ROTATION, IN_THE_ANSWER, AFTER_THE_ANSWER]


@define(eq=False)
class Stage:
    """A loopback server that pauses at one step of the first trade-in until the test resumes it."""

    path: Path
    stop_at: str = ""
    server: RotatingServer = field(factory=RotatingServer)
    reached: asyncio.Event = field(factory=asyncio.Event)
    go_on: asyncio.Event = field(factory=asyncio.Event)
    oldest_good: int = 0
    each_token_once: bool = False
    url: str = ""

    async def step(self, name: str) -> None:
        if name == self.stop_at and not self.reached.is_set():
            self.reached.set()
            await self.go_on.wait()

    async def token(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        await self.step(BEFORE_ROTATION)
        traded = self.server.trade(str(form["refresh_token"]))
        if traded is None:
            return web.json_response({"error": "invalid_grant"}, status=400)
        await self.step(AFTER_ROTATION)
        await asyncio.sleep(self.server.delay)
        body = web.json_response(traded).body
        assert isinstance(body, bytes)
        response = web.StreamResponse(headers={"content-type": "application/json"})
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body[:20])
        await self.step(IN_THE_ANSWER)
        await response.write(body[20:])
        return response

    async def api(self, request: web.Request) -> web.Response:
        await self.step(AFTER_THE_ANSWER)
        number = int(request.headers["authorization"].removeprefix("Bearer t-"))
        if number < self.oldest_good:
            return web.json_response({"status": "unauthorized"}, status=401)
        if self.each_token_once:
            self.oldest_good = max(self.oldest_good, number + 1)
        return web.json_response({})

    async def start(self, how: str = "with", count: int = 1) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.auth.trader", self.url, str(self.path), how, str(count)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )

    async def run_to_its_end(self) -> str:
        """Run a new program, which must trade in because no earlier access token is valid."""
        self.oldest_good = self.server.trades + 1
        return await output_of(await self.start())


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path / "tokens")
    app = web.Application()
    app.router.add_post("/oauth/token", stage.token)
    app.router.add_get("/api/ver1.0/x/", stage.api)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stage.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield stage
    stage.go_on.set()
    await runner.cleanup()


async def output_of(process: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    return output.decode().strip()


async def stop_program(stage: Stage, how: str, number: signal.Signals) -> None:
    process = await stage.start(how)
    assert process.stdout is not None
    async with asyncio.timeout(60):
        await stage.reached.wait()
        process.send_signal(number)
        assert await process.stdout.readline() == b"leaving\n"
    stage.go_on.set()
    await output_of(process)
    assert process.returncode != 0


@pytest.mark.parametrize(
    ("step", "how", "number"),
    [
        *((step, "with", signal.SIGINT) for step in STEPS),
        (AFTER_ROTATION, "bare", signal.SIGINT),
        (IN_THE_ANSWER, "bare", signal.SIGINT),
        (AFTER_ROTATION, "with", signal.SIGTERM),
    ],
)
async def test_a_stopped_program_leaves_the_newest_token_in_the_file(
    stage: Stage, step: str, how: str, number: signal.Signals
) -> None:
    stage.stop_at = step
    await stop_program(stage, how, number)
    assert await stage.run_to_its_end() == "done"
    assert stage.server.sent == ["r-0", "r-1"]


async def test_a_program_whose_call_times_out_leaves_the_newest_token_in_the_file(
    stage: Stage,
) -> None:
    stage.stop_at = AFTER_ROTATION
    process = await stage.start("hasty")
    assert process.stdout is not None
    assert await process.stdout.readline() == b"leaving\n"
    stage.go_on.set()
    await output_of(process)
    assert await stage.run_to_its_end() == "done"
    assert stage.server.sent == ["r-0", "r-1"]


async def test_a_program_killed_after_the_answer_has_saved_the_token(stage: Stage) -> None:
    stage.stop_at = AFTER_THE_ANSWER
    process = await stage.start()
    await stage.reached.wait()
    process.kill()
    assert await process.wait() == -signal.SIGKILL
    stage.go_on.set()
    assert await stage.run_to_its_end() == "done"
    assert stage.server.sent == ["r-0", "r-1"]


async def test_a_program_killed_before_the_answer_blocks_no_other_program(stage: Stage) -> None:
    stage.stop_at = AFTER_ROTATION
    process = await stage.start()
    await stage.reached.wait()
    process.kill()
    await process.wait()
    # The server has never sent the new token: no client can know it.
    assert await stage.run_to_its_end() == "refused"
    assert stage.server.sent == ["r-0", "r-0"]


async def test_four_programs_that_start_at_once_make_one_trade_in(stage: Stage) -> None:
    stage.server.delay = 0.5
    processes = [await stage.start() for _ in range(4)]
    assert [await output_of(process) for process in processes] == ["done"] * 4
    assert stage.server.sent == ["r-0"]


async def test_programs_that_share_a_file_never_send_a_spent_token(stage: Stage) -> None:
    stage.each_token_once = True
    processes = [await stage.start(count=5) for _ in range(4)]
    assert [await output_of(process) for process in processes] == ["done"] * 4
    assert not stage.server.reused
    assert {path.name for path in stage.path.parent.iterdir()} == {"tokens", "tokens.lock"}
