"""The page to try calls on a fake on a socket."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from ringme_async.testing import FakeRingMe
from ringme_async.testing.fake import docs_pages as pages


@pytest.fixture
async def session(fake: FakeRingMe) -> AsyncIterator[aiohttp.ClientSession]:
    async with fake.serve() as url, aiohttp.ClientSession(url) as session:
        yield session


async def text(session: aiohttp.ClientSession, path: str) -> tuple[int, str, str]:
    async with session.get(path) as answer:
        return answer.status, answer.content_type, await answer.text()


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
async def test_the_page_loads_everything_from_the_same_server(
    session: aiohttp.ClientSession, path: str
) -> None:
    status, kind, page = await text(session, path)
    assert (status, kind) == (200, "text/html")
    needed = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(needed) == 4
    for each in needed:
        assert each.startswith("/docs/")
        async with session.get(each) as answer:
            assert answer.status == 200
            assert len(await answer.read()) > 100


async def test_the_page_shows_the_description_of_this_server(
    session: aiohttp.ClientSession,
) -> None:
    _, kind, start = await text(session, "/docs/start.js")
    assert kind == "text/javascript"
    assert 'url: "/openapi.json"' in start


async def test_the_page_forbids_other_servers_to_the_browser(
    session: aiohttp.ClientSession,
) -> None:
    async with session.get("/docs") as answer:
        policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "http" not in policy


async def test_a_request_for_a_page_does_not_count(
    session: aiohttp.ClientSession, fake: FakeRingMe
) -> None:
    await text(session, "/docs")
    async with session.head("/openapi.json") as answer:
        assert answer.status == 200
    assert fake.requests.total == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/docs"), ("GET", "/docs/LICENSE"), ("GET", "/docs/x/y"), ("GET", "/docsx")],
)
async def test_unknown_pages_are_not_found(
    session: aiohttp.ClientSession, fake: FakeRingMe, method: str, path: str
) -> None:
    async with session.request(method, path) as answer:
        assert answer.status == 404
    assert fake.requests.total == 1


async def test_without_the_extra_the_page_names_it(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(name: str) -> Any:
        assert name == "flask_swagger_ui"

    monkeypatch.setattr(pages, "find_spec", nothing)
    status, kind, told = await text(session, "/docs")
    assert (status, kind) == (501, "text/plain")
    assert "pip install 'ringme-async[fake]'" in told
    assert (await text(session, "/openapi.json"))[0] == 200


def test_the_page_s_files_are_found_without_importing_their_package() -> None:
    program = (
        "import sys; from ringme_async.testing.fake import docs_pages; docs_pages._page('start.js');"
        " assert not {'flask', 'flask_swagger_ui'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
