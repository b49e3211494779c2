"""Where the pages of the documentation are performed: a RingMe that answers every host."""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import partial
from json import dumps
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import urlencode

import pytest
from cyclopts import CycloptsError
from sybil import Document, Example
from sybil.parsers.myst import CodeBlockParser

import ringme_async
from ringme_async import (
    JSON,
    AiohttpTransport,
    ClientCredentials,
    Headers,
    InMemoryTransport,
    Request,
    Response,
    RingMe,
)
from ringme_async.cli.app import app
from ringme_async.testing import FakeRingMe, faults
from tests.jumping_loop import JumpingLoop

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = [
    *sorted(ROOT.glob("README*.md")),
    *(page for page in sorted(DOCS.rglob("*.md")) if "_build" not in page.parts),
]

T = TypeVar("T")

_OUTPUT = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# Tests that ask for the plugin's fixtures are not for this process, but for a pytest of their own.
_FOR_THE_PLUGIN = re.compile(r"def test_\w+\([^)]*\b(?:fake_)?ringme")
_TOP_LEVEL_AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def make_world() -> FakeRingMe:
    """The RingMe that is behind every host: its ids and secrets are those that the pages name."""
    fake = FakeRingMe()
    fake.add_application("app-id", "app-secret", tenant=fake.add_tenant(12))
    fake.add_dealer("dealer-id", "dealer-secret")
    fake.add_tenants(99)
    return fake


class Stage:
    """Performs one page: its snippets share a namespace, an event loop and a world.

    Args:
        page: The page's path.
        clock: What makes its event loop; by default one whose clock jumps, so that a snippet may
            wait for the next hour.
    """

    def __init__(
        self, page: Path, clock: Callable[[], asyncio.AbstractEventLoop] = JumpingLoop
    ) -> None:
        self.page = page
        self.world = make_world()
        self.runner = asyncio.Runner(loop_factory=clock)
        self.printed = ""
        self.snippets: list[str] = []
        self.namespace: dict[str, Any] = {
            "__name__": "__main__",
            "ask": ask,
            "on_a_real_clock": on_a_real_clock,
            "run_tests": run_tests,
            "snippets": self.snippets,
            "testing_faults": faults,
            "world": self.world,
        }

    def perform(self) -> int:
        """Run every snippet of the page, in order.

        Returns:
            How many Python snippets there were.
        """
        document = self._parsed()
        document.namespace = self.namespace
        examples = list(document.examples())
        with self.runner, self._in_place_of_the_network():
            opened = self.namespace["ringme"] = self.runner.run(self._opened())
            try:
                for example in examples:
                    example.evaluate()
            finally:
                self.runner.run(opened.aclose())
        return sum(example.region.lexemes["arguments"] == "python" for example in examples)

    def run_python(self, example: Example) -> None:
        """Run one snippet, whose lines keep their numbers in the page."""
        if "directive" not in example.region.lexemes:
            self.snippets.append(str(example.parsed))
        if _FOR_THE_PLUGIN.search(example.parsed):
            run_tests(str(example.parsed))
            return
        source = "\n" * (example.line + example.parsed.line_offset) + example.parsed
        code = compile(source, example.path, "exec", _TOP_LEVEL_AWAIT, dont_inherit=True)
        output = io.StringIO()
        with redirect_stdout(output):
            if code.co_flags & inspect.CO_COROUTINE:
                self.runner.run(eval(code, self.namespace))
            else:
                exec(code, self.namespace)
        self.printed = output.getvalue()

    def check_output(self, example: Example) -> str | None:
        """Compare what the snippet before has printed with what the page says."""
        wanted = str(example.parsed)
        checker = doctest.OutputChecker()
        if checker.check_output(wanted, self.printed, _OUTPUT):
            return None
        return f"the page says:\n{wanted}\nand it prints:\n{self.printed}"

    def check_shell(self, example: Example) -> str | None:
        """Look whether each command of a shell snippet is one that there is."""
        commands = str(example.parsed).replace("\\\n", " ").splitlines()
        flaws = [flaw for line in commands if (flaw := flaw_in(line)) is not None]
        return "\n".join(flaws) or None

    def _parsed(self) -> Document:
        return Document.parse(
            str(self.page),
            CodeBlockParser("python", self.run_python),
            CodeBlockParser("output", self.check_output),
            CodeBlockParser("sh", self.check_shell),
        )

    async def _opened(self) -> RingMe:
        auth = ClientCredentials("dealer-id", "dealer-secret")
        return RingMe("https://pbx.example.com", auth=auth)

    def _like_requests(self) -> ModuleType:
        """Make what the script before its migration needs of requests."""
        way = InMemoryTransport(self.world)
        module = ModuleType("requests")

        def send(
            method: str,
            url: str,
            *,
            data: Mapping[str, str] | None = None,
            json: JSON = None,
            headers: Mapping[str, str] | None = None,
        ) -> Response:
            fields, body = dict(headers or {}), b""
            if data is not None:
                fields["content-type"] = "application/x-www-form-urlencoded"
                body = urlencode(data).encode()
            elif json is not None:
                fields["content-type"] = "application/json"
                body = dumps(json).encode()
            request = Request(method.upper(), url, Headers(fields), body)
            return self.runner.run(way.send(request))

        for method in ("get", "post", "put"):
            setattr(module, method, partial(send, method))
        return module

    @contextmanager
    def _in_place_of_the_network(self) -> Iterator[None]:
        stage = self

        class Faked(AiohttpTransport):
            """Checks its arguments as the real one does; every host but this one is the world."""

            __slots__ = ("way",)

            async def send(self, request: Request) -> Response:
                if "://127.0.0.1" in request.url:
                    return await super().send(request)
                if not hasattr(self, "way"):
                    self.way = InMemoryTransport(stage.world)
                return await self.way.send(request)

        def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
            return self.runner.run(main)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ringme_async.transports.aiohttp.AiohttpTransport", Faked)
            patch.setattr(ringme_async, "AiohttpTransport", Faked)
            patch.setattr(asyncio, "run", run)
            patch.setitem(sys.modules, "requests", self._like_requests())
            patch.setenv("RINGME_BASE_URL", "https://pbx.example.com")
            patch.setenv("RINGME_APP_ID", "dealer-id")
            patch.setenv("RINGME_APP_SECRET", "dealer-secret")
            yield


def on_a_real_clock(main: Coroutine[Any, Any, T]) -> T:
    """Run what opens sockets, as those do not jump."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(main)


def run_tests(source: str) -> None:
    """Run a snippet as a file of tests, as a reader would."""
    file = Path("test_snippet.py")
    file.write_text(source, "utf-8")
    plugins = ("-p", "no:cacheprovider", "-p", "pytest_asyncio.plugin", "-p", "pytest_ringme_async")
    settings = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, *settings, file],
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path.cwd())]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


async def ask(app: Any, path: str, state: Mapping[str, object]) -> tuple[int, bytes]:
    """Send a GET to an ASGI application, and give the status and the body of its answer."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "headers": [],
        "state": dict(state),
    }
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


KNOWN = {
    ".",
    "curl",
    "export",
    "git",
    "nox",
    "pip",
    "pytest",
    "python",
    "python3",
    "set",
    "sphinx-build",
}


def flaw_in(line: str) -> str | None:
    """Say what is wrong with one line of a shell; None if nothing is."""
    for words in _commands(line):
        command = words[0].rpartition("/")[2]
        if command == "ringme":
            flaw = flaw_in_ringme(words[1:])
            if flaw is not None:
                return f"{line}: {flaw}"
        elif command not in KNOWN:
            return f"{line}: what is {command}?"
    return None


def flaw_in_ringme(arguments: list[str]) -> str | None:
    """Read the arguments as the command line does, without running anything."""
    try:
        app.parse_args(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return str(error)
    return None


def _commands(line: str) -> Iterator[list[str]]:
    words: list[str] = []
    for word in [*shlex.split(line, comments=True), "&&"]:
        if word in {"&&", "|", ";"}:
            while words and "=" in words[0]:
                words.pop(0)
            if words:
                yield words
            words = []
        else:
            words.append(word)
