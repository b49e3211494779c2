"""What a change has to pass. ``nox`` runs all of it, ``nox -l`` lists the parts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2026.10.20"

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
EXTRAS = ".[cli,fake,fast,mirror,otel]"

nox.options.default_venv_backend = "uv|virtualenv"
# An interpreter that is not there is skipped, on a build machine too, and never downloaded.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"
# Two at a time, each told of when it is done: most of the tests' time is spent waiting.
nox.options.parallel = 2
nox.options.allow_parallel = True
# `check` runs the tests on the interpreter that nox runs on, so the others are what is left.
nox.options.sessions = [
    "check",
    *(f"tests-{version}" for version in PYTHONS if version != RUNNING),
    "lowest",
    "steps",
]


def switch_on_all_of_pyenv() -> None:
    """Let pyenv's ``python3.12`` answer, although another of its versions is switched on."""
    pyenv = shutil.which("pyenv")
    if pyenv is None or "PYENV_VERSION" in os.environ:
        return
    listed = subprocess.run(
        [pyenv, "versions", "--bare"], check=False, capture_output=True, text=True
    ).stdout.split()
    ours = [version for version in listed if version.rpartition(".")[0] in PYTHONS]
    if ours:
        os.environ["PYENV_VERSION"] = ":".join(ours)


switch_on_all_of_pyenv()


def install(session: nox.Session, *groups: str, constraints: Path | None = None) -> None:
    """Install the project as it stands here, with groups of what its developers need."""
    bounds = ("--constraint", str(constraints)) if constraints else ()
    needed = nox.project.dependency_groups(PROJECT, *groups)
    session.install("--editable", EXTRAS, *needed, *bounds)


def run_lint(session: nox.Session) -> None:
    """Look for mistakes and for code out of form."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


def run_typing(session: nox.Session) -> None:
    """Check the types inside the package, and those that its users get to see."""
    session.env["PYRIGHT_PYTHON_IGNORE_WARNINGS"] = "1"
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--ignoreexternal", "--verifytypes", "ringme_async")


def run_tests(session: nox.Session) -> None:
    """Run the tests but the slow ones, for which one interpreter is enough."""
    session.run("python", "-m", "pytest", "-m", "not slow", *session.posargs)


def run_tests_strictly(session: nox.Session) -> None:
    """Run the tests as strictly as Python can, and look whether they reach every branch."""
    strictly = "-X dev -W error"
    # Three processes, a file of tests in one of them: much of the time is spent waiting.
    spread = ("--tx", f"3*popen//python=python {strictly}", "--dist", "loadfile")
    session.run("python", *strictly.split(), "-m", "pytest", "--cov", *spread, *session.posargs)


@nox.session
def check(session: nox.Session) -> None:
    """Lint, types, and tests with coverage, all in one environment."""
    install(session, "dev")
    run_lint(session)
    run_typing(session)
    run_tests_strictly(session)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: its rules and its format."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    run_lint(session)


@nox.session
def typing(session: nox.Session) -> None:
    """Both mypy and pyright, strict, and the types that users see, all of them known."""
    install(session, "test", "typing")
    run_typing(session)


@nox.session
def coverage(session: nox.Session) -> None:
    """The tests, every branch of the package covered."""
    install(session, "test")
    run_tests_strictly(session)


@nox.session
def scale(session: nox.Session) -> None:
    """The tests of large runs at their full size; they take minutes."""
    install(session, "test")
    session.env["RINGME_ASYNC_FULL_SCALE"] = "1"
    large = ("tests/bulk/test_scale.py", "tests/standin/test_against_standin_bulk.py")
    session.run("python", "-m", "pytest", *large, *session.posargs)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests on one version of Python."""
    install(session, "test")
    run_tests(session)


@nox.session
def lowest(session: nox.Session) -> None:
    """The tests on the lowest versions that the project says it works with."""
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    optional = [need for extra in extras.values() for need in extra]
    promised: list[str] = [*project["dependencies"], *optional]
    # A constraint names no extras.
    lowest = [re.sub(r"\[.*?\]", "", bound).replace(">=", "==") for bound in promised]
    constraints = Path(session.create_tmp(), "lowest.txt")
    constraints.write_text("\n".join(lowest))
    install(session, "test", constraints=constraints)
    run_tests(session)


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmark, beside other libraries; it starts nginx if it is installed."""
    needed = nox.project.dependency_groups(PROJECT, "bench")
    session.install("--editable", ".[fast]", *needed)
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def steps(session: nox.Session) -> None:
    """What single steps cost, held to ceilings: each a ratio to a step of the standard library."""
    session.install("--editable", ".[fast]")
    session.run("python", "-m", "benchmarks", "steps", "--check", *session.posargs)


# On 3.11.7 the interpreter itself breaks down under mutmut, as the tests of `BulkRun` go through it.
@nox.session(python=PYTHONS[-1])
def mutation(session: nox.Session) -> None:
    """A score for each file: how many small changes of the code a test notices, at least 90 %.

    All of it takes hours. Give a pattern of mutants for one file: "ringme_async.policies.retry.*".
    """
    # Not the project itself: what is imported has to be the changed copy in mutants/.
    needed = nox.project.dependency_groups(PROJECT, "mutation")
    session.install(*PROJECT["project"]["dependencies"], *needed)
    session.run("mutmut", "run", "--max-children", "1", *session.posargs)
    session.run("python", "-m", "tests.mutation")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, every warning an error; it ends up in docs/_build/html."""
    install(session, "docs")
    strictly = ("-W", "--keep-going", "-n")
    session.run("sphinx-build", *strictly, "-b", "html", "docs", "docs/_build/html")
    session.run("python", "docs/check_links.py", "docs/_build/html")
