"""Links inside of the repository lead somewhere; Sphinx looks after those of its own pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.stage import DOCS, PAGES, ROOT, name_of

LINK = re.compile(r"(?<!`)\[[^\]`]*(?:`[^`]*`[^\]`]*)*\]\(([^)\s]+)\)")
OUTSIDE = ("http://", "https://", "mailto:")
AT_THE_ROOT = sorted(ROOT.glob("*.md"))


def anchors_in(page: Path) -> set[str]:
    """Name the headings of a page as a link does."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    words = (re.sub(r"[^\w\s-]", "", title.lower()).strip() for title in titles)
    return {re.sub(r"\s", "-", word) for word in words}


@pytest.mark.parametrize("page", sorted({*PAGES, *AT_THE_ROOT}), ids=name_of)
def test_every_link_inside_of_the_repository_leads_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for link in LINK.findall(prose):
        if link.startswith(OUTSIDE):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert target.is_relative_to(ROOT)
        assert not anchor or anchor in anchors_in(target), f"{link} names no heading"


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = {DOCS / "index.md"}
    for page in DOCS.rglob("*.md"):
        if "_build" in page.parts:
            continue
        for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            entries = [line for line in block.splitlines() if line and not line.startswith(":")]
            listed |= {(page.parent / f"{entry}.md").resolve() for entry in entries}
    assert {page for page in PAGES if page.is_relative_to(DOCS)} == listed


def test_the_guides_name_every_example() -> None:
    page = (DOCS / "howto" / "index.md").read_text("utf-8")
    told = re.findall(r"^\| `(\w+\.py)` \|", page, re.MULTILINE)
    assert sorted(told) == sorted(path.name for path in (ROOT / "examples").glob("*.py"))
