"""The workflows of a forge that the project does not depend on: read, as they cannot be run here."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

pytestmark = pytest.mark.skipif(not FILES, reason="an sdist has no workflows")


def read(name: str) -> dict[Any, Any]:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text("utf-8"))
    assert isinstance(workflow, dict)
    return workflow


def steps_of(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job.get("steps", [])]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
class TestEachWorkflow:
    def test_may_only_read_unless_a_job_says_otherwise(self, path: Path) -> None:
        assert read(path.name)["permissions"] == {"contents": "read"}

    def test_pins_each_action_to_a_commit_and_names_its_version(self, path: Path) -> None:
        used = re.findall(r"uses: (?!\./)(.+)", path.read_text("utf-8"))
        assert used
        for action in used:
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action

    def test_leaves_no_credentials_in_a_checkout(self, path: Path) -> None:
        for step in steps_of(read(path.name)):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False

    def test_puts_nothing_that_others_may_choose_into_a_shell(self, path: Path) -> None:
        for step in steps_of(read(path.name)):
            expressions = re.findall(r"\$\{\{(.*?)\}\}", step.get("run", ""))
            assert all(expression.strip().startswith("matrix.") for expression in expressions)

    def test_ends_each_job_some_day(self, path: Path) -> None:
        for job in read(path.name)["jobs"].values():
            assert "uses" in job or job["timeout-minutes"] <= 60


def test_the_tests_run_on_three_systems_and_every_python_that_is_promised() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    promised = [
        line.rpartition(" ")[2]
        for line in project["classifiers"]
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", line)
    ]
    matrix = read("checks.yml")["jobs"]["tests"]["strategy"]["matrix"]
    assert matrix["python"] == promised
    assert {system.partition("-")[0] for system in matrix["os"]} == {"ubuntu", "macos", "windows"}


def test_every_session_that_is_asked_for_exists() -> None:
    noxfile = (ROOT / "noxfile.py").read_text("utf-8")
    there = set(re.findall(r"^def (\w+)\(session: nox.Session\) -> None:", noxfile, re.MULTILINE))
    asked = [
        word.strip('"').partition("-")[0]
        for step in steps_of(read("checks.yml"))
        if "--sessions" in step.get("run", "")
        for word in step["run"].partition("--sessions ")[2].split()
        if re.match(r'"?[a-z]', word)
    ]
    assert {"check", "lowest", "tests", "docs"} <= set(asked)
    assert {name for name in asked if name != "matrix.python"} <= there


def test_a_release_is_tested_built_and_published_without_a_token() -> None:
    jobs = read("release.yml")["jobs"]
    assert jobs["checks"]["uses"] == "./.github/workflows/checks.yml"
    publish = jobs["publish"]
    assert set(publish["needs"]) == {"checks", "build"}
    assert publish["permissions"] == {"id-token": "write"}
    (step,) = [one for one in publish["steps"] if "pypi-publish" in one.get("uses", "")]
    assert step["with"] == {"attestations": True}
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    assert "secrets." not in text


def test_the_check_of_this_repository_needs_none_of_it() -> None:
    assert ".github" not in (ROOT / ".ci" / "run").read_text("utf-8")
