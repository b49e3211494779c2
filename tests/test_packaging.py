"""What is built from the repository, its version, and the commands that its README gives."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath
from sysconfig import get_path

import pytest

ROOT = Path(__file__).parent.parent
TOP_OF_SDIST = {
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "PKG-INFO",
    "README.md",
    "README.ru.md",
    "SECURITY.md",
    "benchmarks",
    "docs",
    "examples",
    "noxfile.py",
    "pyproject.toml",
    "pytest_ringme_async.py",
    "ringme_async",
    "tests",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from it, with the tools that are installed."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)],
        check=True,
        capture_output=True,
    )
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def inside_wheel(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def version(wheel: Path) -> str:
    return wheel.name.split("-")[1]


@pytest.fixture(scope="module")
def metadata(wheel: Path, version: str) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"ringme_async-{version}.dist-info/METADATA").decode()
    return HeaderParser().parsestr(text)


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an environment of its own, and give that one's commands.

    What the package depends on is borrowed from this environment, as the test asks no registry.
    """
    place = tmp_path_factory.mktemp("fresh")
    venv.create(place, with_pip=True)
    scheme = {"base": str(place), "platbase": str(place)}
    scripts = Path(get_path("scripts", "venv", scheme))
    borrowed = Path(get_path("purelib", "venv", scheme), "borrowed.pth")
    borrowed.write_text(f"{get_path('purelib')}\n{get_path('platlib')}\n", "utf-8")
    subprocess.run(
        [scripts / "python", "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel],
        check=True,
        capture_output=True,
    )
    return scripts


def files_of_the_package() -> set[str]:
    """List the package's files and pytest's plugin, without what tools leave beside them."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in (*(ROOT / "ringme_async").rglob("*"), *ROOT.glob("pytest_*.py"))
        if path.is_file() and not re.search(r"/(__pycache__|\.\w+_cache)/", path.as_posix())
    }


def test_the_wheel_holds_the_package_whole_and_nothing_else(inside_wheel: set[str]) -> None:
    about_itself = {name for name in inside_wheel if ".dist-info/" in name}
    assert inside_wheel - about_itself == files_of_the_package()


def test_the_package_holds_code_and_data_that_somebody_meant_to_be_there() -> None:
    kinds = {PurePosixPath(name).suffix or name for name in files_of_the_package()}
    assert kinds <= {".py", ".json", ".typed"}


def test_the_wheel_says_that_it_is_typed(inside_wheel: set[str]) -> None:
    assert "ringme_async/py.typed" in inside_wheel


def test_the_wheel_carries_its_licence(
    inside_wheel: set[str], metadata: Message, version: str
) -> None:
    assert metadata["License-Expression"] == "MIT"
    assert f"ringme_async-{version}.dist-info/licenses/LICENSE" in inside_wheel


def test_the_wheel_has_the_version_of_the_sdist_that_it_was_built_from(
    built: Path, metadata: Message, version: str
) -> None:
    assert metadata["Version"] == version
    assert (built / f"ringme_async-{version}.tar.gz").exists()


def test_the_core_needs_no_more_than_it_says(metadata: Message) -> None:
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {re.split(r"[^\w-]", line)[0] for line in needed} == {
        "aiohttp",
        "attrs",
        "cattrs",
        "msgspec",
    }


READ_ONE = """
import asyncio
from ringme_async import ClientCredentials, InMemoryTransport, RingMe, __file__, __version__
from ringme_async.testing import FakeRingMe

async def main():
    fake = FakeRingMe()
    app = fake.add_application(tenant=fake.add_tenant(12))
    auth = ClientCredentials(app.app_id, app.app_secret)
    async with RingMe(fake.base_url, auth=auth, transport=InMemoryTransport(fake)) as ringme:
        print((await ringme.clients.get("@me")).id, __version__, __file__)

asyncio.run(main())
"""


def said_by(*command: str | Path, cwd: Path) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_the_wheel_runs_in_a_fresh_environment(fresh: Path, version: str, tmp_path: Path) -> None:
    read, said, file = said_by(fresh / "python", "-c", READ_ONE, cwd=tmp_path).split(maxsplit=2)

    assert (read, said) == ("12", version)
    assert Path(file).is_relative_to(fresh.parent)


@pytest.mark.slow
def test_the_wheel_brings_the_command(fresh: Path, version: str, tmp_path: Path) -> None:
    assert said_by(fresh / "ringme", "--version", cwd=tmp_path) == version
    assert "ringme demo" in said_by(fresh / "ringme", "demo", "--help", cwd=tmp_path)


def version_of(folder: Path) -> str:
    return said_by(sys.executable, "-m", "hatchling", "version", cwd=folder)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Make a repository of what builds the version, with one commit and no tag."""
    if shutil.which("git") is None:
        pytest.skip("git is not there")
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "All of it")
    return folder


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_version_is_that_of_the_tag(clone: Path) -> None:
    git(clone, "tag", "v7.8.9")
    assert version_of(clone) == "7.8.9"


def test_the_version_between_tags_counts_the_commits(clone: Path) -> None:
    git(clone, "tag", "v7.8.9")
    git(clone, "commit", "-q", "--allow-empty", "-m", "One more")
    assert re.fullmatch(r"7\.8\.10\.dev1\+g[0-9a-f]+", version_of(clone))


def test_a_clone_without_tags_has_a_version(clone: Path) -> None:
    assert re.fullmatch(r"0\.0\.0\.dev1\+g[0-9a-f]+", version_of(clone))


def test_a_snapshot_without_a_repository_has_a_version(clone: Path) -> None:
    shutil.rmtree(clone / ".git")
    assert version_of(clone) == "0.0.0.dev0"


def test_the_sdist_keeps_its_version(built: Path, version: str, tmp_path: Path) -> None:
    with tarfile.open(built / f"ringme_async-{version}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    assert version_of(tmp_path / f"ringme_async-{version}") == version


def test_the_sdist_has_no_stray_files(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        paths = [PurePosixPath(name) for name in archive.getnames()]
    assert {path.parts[1] for path in paths if len(path.parts) > 1} <= TOP_OF_SDIST
    assert not [path for path in paths if "__pycache__" in path.parts or path.suffix == ".pyc"]


def commands_of_the_readme() -> list[str]:
    text = (ROOT / "README.md").read_text("utf-8")
    return [block.strip() for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)][:2]


def test_the_readme_runs_the_demo_and_the_tests_by_one_line_each() -> None:
    demo, tests = commands_of_the_readme()
    assert demo.endswith("ringme demo")
    assert tests.endswith("nox")
    assert "\n" not in demo + tests


def test_continuous_integration_runs_the_line_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert script[-1] == commands_of_the_readme()[1]


def test_each_extra_of_the_readme_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = re.findall(r"\.\[([\w,]+)\]", (ROOT / "README.md").read_text("utf-8"))
    assert {extra for names in named for extra in names.split(",")} <= set(
        project["optional-dependencies"]
    )
