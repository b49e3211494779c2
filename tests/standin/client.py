"""Starts a stand-in in a separate process, reads its books, and stops it."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, cast

_ROOT = Path(__file__).resolve().parents[2]


class RunningStandIn:
    """A stand-in that listens."""

    def __init__(self, port: int, other_port: int, *, scheme: str = "http") -> None:
        self.port = port
        self.other_port = other_port
        self.base_url = f"{scheme}://127.0.0.1:{port}"

    async def books(self, *, tenants: str = "all") -> dict[str, Any]:
        """Its books now; ``tenants="failed"`` shows only those without a good last answer."""
        answer = await asyncio.to_thread(self._ask, "GET", f"/__books?tenants={tenants}", None)
        return cast("dict[str, Any]", answer)

    async def do(self, command: str, **given: Any) -> Any:
        """Give it a command (see server.py) and take its answer."""
        order = json.dumps({"do": command, **given})
        answer = await asyncio.to_thread(self._ask, "POST", "/__do", order)
        return answer["answer"]

    def _connection(self) -> http.client.HTTPConnection:
        if self.base_url.startswith("http:"):
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=120, context=context)

    def _ask(self, method: str, path: str, body: str | None) -> Any:
        with closing(self._connection()) as wire:
            wire.request(method, path, body)
            with wire.getresponse() as response:
                text = response.read()
                if response.status != 200:
                    raise RuntimeError(f"{method} {path}: {response.status} {text!r}")
                return json.loads(text)


@contextmanager
def running_standin(config: Mapping[str, Any] | None = None) -> Iterator[RunningStandIn]:
    """Run a stand-in with this configuration (config.py) for the length of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.standin", "--config", "-", "--until-eof"],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(config or {}).encode() + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("the stand-in ended before it listened; its stderr says why")
        where = json.loads(line)
        scheme = "https" if config and config.get("tls") else "http"
        yield RunningStandIn(where["port"], where["other_port"], scheme=scheme)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@asynccontextmanager
async def start_standin(config: Mapping[str, Any] | None = None) -> AsyncIterator[RunningStandIn]:
    """Run a stand-in as ``running_standin`` does, without blocking the loop while it starts."""
    stack = ExitStack()
    try:
        yield await asyncio.to_thread(stack.enter_context, running_standin(config))
    finally:
        stack.close()
