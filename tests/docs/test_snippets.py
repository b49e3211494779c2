"""Every Python snippet of the README and of the documentation runs, and prints what it says."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.docs.stage import PAGES, Stage, name_of

# These open sockets, and a socket does not jump.
ON_A_REAL_CLOCK = {"docs/howto/aiohttp-web.md", "docs/howto/fastapi.md"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_snippets_of_a_page_do_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    real = name_of(page) in ON_A_REAL_CLOCK
    stage = Stage(page, asyncio.new_event_loop) if real else Stage(page)
    text = page.read_text("utf-8")
    shown = re.findall(r"^ *(?:```|~~~)python|invisible-code-block: python", text, re.MULTILINE)

    assert stage.perform() == len(shown)
