"""What is said in Russian is what is said in English."""

from __future__ import annotations

import re

from tests.docs.stage import ROOT


def in_readme(name: str, pattern: str) -> list[str]:
    return re.findall(pattern, (ROOT / name).read_text("utf-8"), re.DOTALL | re.MULTILINE)


def test_the_russian_readme_shows_the_same_code_and_the_same_commands() -> None:
    fence = r"^```.+?^```$"
    assert in_readme("README.ru.md", fence) == in_readme("README.md", fence)


def test_the_russian_readme_has_the_same_sections_and_pictures() -> None:
    for pattern in (r"^(#+) ", r"!\[.+?\]\((.+?)\)"):
        assert in_readme("README.ru.md", pattern) == in_readme("README.md", pattern)


def test_the_russian_readme_leads_wherever_the_english_one_leads() -> None:
    pages = r"\]\(([\w/]+(?:\.md)?)\)"
    english = {*in_readme("README.md", pages)} - {"README.ru.md", "docs/"}
    assert english - {*in_readme("README.ru.md", pages)} == set()
