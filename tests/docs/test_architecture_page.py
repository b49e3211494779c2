"""The page on the architecture names what the code has, and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.docs.stage import DOCS
from tests.test_architecture import BESIDE, CORE, LAYERS, MODULES, PACKAGE, TREES

PAGE = (DOCS / "architecture.md").read_text("utf-8")
# A header field, and a project of others.
NOT_OURS = {"Date", "OpenTelemetry"}
BODIES = (
    *TREES.values(),
    ast.parse((PACKAGE.parent / "pytest_ringme_async.py").read_text("utf-8")),
)


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def block(title: str) -> list[str]:
    """Give the lines of the first code block of a section."""
    lines = section(title).partition("```text\n")[2].partition("```")[0].splitlines()
    return [line for line in lines if line]


def entries_of_tree() -> Iterator[tuple[Path, str]]:
    """Give each entry of the tree: its path below the package, and its description."""
    folders: list[str] = []
    for line in block("The tree")[1:]:
        name, _, description = line.strip().partition(" ")
        depth = (len(line) - len(line.lstrip())) // 2 - 1
        folders = [*folders[:depth], name.rstrip("/")]
        yield Path(*folders), description.strip()


ENTRIES = list(entries_of_tree())


def test_the_tree_names_every_module_of_the_core_once() -> None:
    files = [path.as_posix() for path, _ in ENTRIES if path.suffix]
    core = [MODULES[name].relative_to(PACKAGE) for name in CORE]
    # A folder's line stands for its `__init__.py`; at the top, the front door has its own.
    expected = {path.as_posix() for path in core if path.name != "__init__.py"}
    assert sorted(files) == sorted({*expected, "__init__.py", "__main__.py"})


def test_the_tree_names_every_folder_once() -> None:
    folders = [path.as_posix() for path, _ in ENTRIES if not path.suffix]
    there = {path.parent.relative_to(PACKAGE) for path in MODULES.values()}
    core = {path.as_posix() for path in there if path.parts and path.parts[0] not in BESIDE}
    assert sorted(folders) == sorted({*core, *(BESIDE - {"__main__"})})


def test_every_entry_of_the_tree_says_what_it_is() -> None:
    assert [path for path, description in ENTRIES if not description] == []


def test_the_arrows_are_the_layers_that_the_tests_enforce() -> None:
    drawn = [set(line.split(", ")) for line in block("The arrows")]
    assert drawn == list(LAYERS)


def test_every_file_on_the_page_is_there() -> None:
    named = set(re.findall(r"[\w/]+\.py\b", PAGE))
    found = {path.relative_to(PACKAGE).as_posix() for path in MODULES.values()}
    found |= {path.name for path in MODULES.values()}
    assert {name for name in named - found if not (PACKAGE.parent / name).is_file()} == set()


def identifiers() -> Iterator[str]:
    for tree in BODIES:
        for node in ast.walk(tree):
            match node:
                case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                    yield name
                case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                    yield name
                case ast.AsyncFunctionDef(name=name) | ast.alias(name=name):
                    yield name
                case _:
                    pass


def docstrings() -> Iterator[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for tree in BODIES:
        for node in ast.walk(tree):
            if isinstance(node, documented):
                yield ast.get_docstring(node) or ""


def test_every_class_and_function_on_the_page_is_there() -> None:
    names = set(re.findall(r"`(_?[A-Z]\w*[a-z]\w*|\w+_\w+)`", PAGE))
    names |= set(re.findall(r"\b[A-Z][a-z]+[A-Z]\w+\b", " ".join(block("The tree"))))
    assert names - NOT_OURS - set(identifiers()) == set()


def test_the_code_uses_every_term_of_the_glossary() -> None:
    terms = re.findall(r"^\| \*([\w-]+)\* \|", section("Glossary"), re.MULTILINE)
    snake_case = (name.replace("_", " ") for name in identifiers())
    code = re.sub(r"[-\s]+", " ", " ".join((*snake_case, *docstrings()))).lower()
    missing = [
        term for term in terms if not re.search(rf"\b{term.replace('-', ' ')}(?:s|es|ed)?\b", code)
    ]
    assert len(terms) > 8
    assert missing == []


def test_every_term_of_the_glossary_is_explained_in_one_sentence() -> None:
    rows = re.findall(r"^\| \*[\w-]+\* \| (.+) \|$", section("Glossary"), re.MULTILINE)
    assert [row for row in rows if ". " in row] == []
