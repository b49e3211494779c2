"""CONTRIBUTING names files and commands that are there."""

from __future__ import annotations

import re

from tests.docs.stage import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
NOXFILE = (ROOT / "noxfile.py").read_text("utf-8")


def test_every_file_that_an_addition_touches_is_there() -> None:
    named = set(re.findall(r"`((?:ringme_async|tests|docs)/[\w./]+)`", PAGE))
    assert len(named) > 20
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_every_session_of_a_command_is_there() -> None:
    sessions = set(re.findall(r"nox -R?s (\w+)", PAGE))
    assert {name for name in sessions if f"def {name}(" not in NOXFILE} == set()
