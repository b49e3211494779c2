"""What is built from the repository, and the commands that its README gives."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

import pytest

from ringme_async.version import __version__

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
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"ringme_async-{__version__}.dist-info/METADATA").decode()
    return HeaderParser().parsestr(text)


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


def test_the_wheel_carries_its_licence(inside_wheel: set[str], metadata: Message) -> None:
    assert metadata["License-Expression"] == "MIT"
    assert f"ringme_async-{__version__}.dist-info/licenses/LICENSE" in inside_wheel


def test_the_wheel_has_the_version_that_the_code_says(wheel: Path, metadata: Message) -> None:
    assert metadata["Version"] == __version__
    assert wheel.name == f"ringme_async-{__version__}-py3-none-any.whl"


def test_the_core_needs_no_more_than_it_says(metadata: Message) -> None:
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {re.split(r"[^\w-]", line)[0] for line in needed} == {
        "aiohttp",
        "attrs",
        "cattrs",
        "msgspec",
    }


def test_the_wheel_runs_by_itself(wheel: Path, tmp_path: Path) -> None:
    program = (
        "import ringme_async, ringme_async.testing as kit\n"
        "kit.FakeRingMe().add_tenant()\n"
        "print(ringme_async.__file__)\n"
    )
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    said = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{program}"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    ).stdout
    assert Path(said.strip()).is_relative_to(tmp_path)


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
