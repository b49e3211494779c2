"""The pytest plugin, run in scratch projects."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path
from xml.etree import ElementTree as ET

import attrs
import pytest

ROOT = Path(__file__).parent.parent.parent
AUTO = ("-p", "pytest_asyncio.plugin", "-o", "asyncio_mode=auto")
STRICT = ("-p", "pytest_asyncio.plugin", "-o", "asyncio_mode=strict")
ANYIO = ("-p", "anyio.pytest_plugin")

ASYNC_TESTS = """
import asyncio

import pytest

from ringme_async import ClientCredentials, ConnectError, RetryPolicy, RingMe
from ringme_async.testing import JumpingLoop


@pytest.mark.ringme(tenants=3)
async def test_ringme_reaches_all(ringme, fake_ringme):
    assert (await ringme.clients.get(2)).id == 2
    fake_ringme.assert_quiet()


async def test_the_clock_jumps(ringme_clock):
    await asyncio.sleep(3600)
    assert ringme_clock.time() == 3600
    ringme_clock.let_pass(5)
    assert asyncio.get_running_loop().time() == 3605


async def test_other_loops_stay_as_they_are():
    assert not isinstance(asyncio.get_running_loop(), JumpingLoop)


@pytest.mark.parametrize("hours", [1, 2])
async def test_each_has_its_own_clock(hours, ringme_clock):
    await asyncio.sleep(3600 * hours)
    assert ringme_clock.time() == 3600 * hours


@pytest.mark.usefixtures("ringme_clock")
class TestInClass:
    async def test_a_method_jumps_too(self):
        await asyncio.sleep(1e6)


@pytest.mark.ringme(tenants=3)
async def test_the_server_goes_down_and_comes_up(ringme_server, ringme_dealer, fake_ringme):
    auth = ClientCredentials(ringme_dealer.app_id, ringme_dealer.app_secret)
    once = RetryPolicy(attempts=1)
    async with RingMe(ringme_server, auth=auth, retry=once) as ringme:
        assert (await ringme.clients.get(2)).id == 2
        async with fake_ringme.outage():
            with pytest.raises(ConnectError):
                await ringme.clients.get(2)
        assert (await ringme.clients.get(3)).id == 3


async def test_fails_as_a_server_does_not_jump(ringme_clock, ringme_server):
    pass


async def test_fails_as_it_comes_too_late(request):
    request.getfixturevalue("ringme_clock")


async def test_fails_as_a_thread_does_not_jump(ringme_clock):
    await asyncio.to_thread(print)


async def test_fails_as_nothing_is_left_to_wait_for(ringme_clock):
    await asyncio.Event().wait()
"""

PASSED = {
    "test_ringme_reaches_all",
    "test_the_clock_jumps",
    "test_other_loops_stay_as_they_are",
    "test_each_has_its_own_clock[1]",
    "test_each_has_its_own_clock[2]",
    "test_a_method_jumps_too",
    "test_the_server_goes_down_and_comes_up",
}
FAILED = {
    "test_fails_as_a_server_does_not_jump": "ringme_clock and ringme_server cannot be used in one",
    "test_fails_as_it_comes_too_late": "ringme_clock came too late: ringme_clock needs a loop that",
    "test_fails_as_a_thread_does_not_jump": "RuntimeError: this test runs on a jumping clock and",
    "test_fails_as_nothing_is_left_to_wait_for": "everybody waits and no timer is left: Task-",
}

OTHER_TESTS = """
import asyncio
import urllib.error
import urllib.request

import pytest

from ringme_async.testing import OAuthSettings, faults


def said(url):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url)
    caught.value.close()
    return caught.value.code


def test_a_server_answers_code_that_blocks(ringme_server, fake_ringme):
    assert said(f"{ringme_server}/api/ver1.0/client/@me/client/") == 406
    assert len(fake_ringme.requests) == 1


def test_a_fake_is_empty_without_a_marker(fake_ringme):
    assert len(fake_ringme.records) == 0


@pytest.mark.ringme(tenants=100, seed=3, ceiling=7, oauth=OAuthSettings(lifetime=60))
class TestMarker:
    def test_its_settings_reach_the_fake(self, fake_ringme, ringme_dealer):
        assert len(fake_ringme.records) == 101
        assert fake_ringme.oauth.lifetime == 60
        assert ringme_dealer.ceiling == 7

    @pytest.mark.ringme(tenants=[{"id": 5, "name": "five"}])
    def test_the_closest_has_the_last_word(self, fake_ringme):
        assert list(fake_ringme.records) == [5]
        assert fake_ringme.oauth.lifetime == 60

    @pytest.mark.ringme(faults=faults.Stall(5))
    def test_one_fault(self, fake_ringme):
        assert fake_ringme.faults.left == 1

    @pytest.mark.ringme(faults=[faults.Stall(5), faults.Busy()])
    def test_faults_in_a_row(self, fake_ringme):
        assert fake_ringme.faults.left == 2

    @pytest.mark.ringme(faults=lambda faults_of: faults_of.next(faults.Busy(), times=4))
    def test_faults_by_a_function(self, fake_ringme):
        assert fake_ringme.faults.left == 4

    @pytest.mark.ringme(faults={"reset": 0.5, faults.Busy(): 0.5, "on": "/"})
    def test_faults_by_chance(self, fake_ringme, ringme_server):
        with pytest.raises((OSError, urllib.error.URLError)):
            for _ in range(20):
                urllib.request.urlopen(
                    urllib.request.Request(ringme_server, headers={"Accept-Encoding": "gzip"})
                )
        assert fake_ringme.faults.struck.total() > 0


@pytest.mark.ringme(tenants=1)
def test_ringme_is_closed_although_its_loop_has_ended(ringme):
    assert asyncio.run(ringme.clients.get(1)).id == 1


@pytest.mark.ringme(tenant=3)
def test_fails_for_a_name_that_is_none(fake_ringme):
    pass


@pytest.mark.ringme(3)
def test_fails_for_what_has_no_name(fake_ringme):
    pass


@pytest.mark.ringme(faults={"statu": 0.1, faults.Busy(): 0.1})
def test_fails_for_a_chance_of_what_is_none(fake_ringme):
    pass


@pytest.mark.ringme(faults={"status": 0.7, "reset": 0.7})
def test_fails_for_chances_over_one(fake_ringme):
    pass


@pytest.mark.ringme(faults="reset")
def test_fails_for_a_fault_without_its_chance(fake_ringme):
    pass


@pytest.mark.ringme(faults=[503])
def test_fails_for_a_fault_that_is_none(fake_ringme):
    pass


def test_fails_as_it_is_not_async(ringme_clock):
    pass


@pytest.fixture
def taken(fake_ringme, monkeypatch):
    def serve():
        return type(fake_ringme).serve(fake_ringme, host="203.0.113.1")

    monkeypatch.setattr(fake_ringme, "serve", serve)


def test_fails_as_there_is_no_port(taken, ringme_server):
    pass
"""

FAKE_UVLOOP = """
import asyncio

class Loop(asyncio.SelectorEventLoop): pass
class EventLoopPolicy(asyncio.DefaultEventLoopPolicy): _loop_factory = Loop
def new_event_loop(): return Loop()
"""

# Hash seeds and memory addresses must make no difference.
NIGHT = """
import asyncio
import hashlib
import pytest

@pytest.mark.ringme(
    tenants={tenants}, ceiling={ceiling}, seed=7, latency=0.05, journal=None,
    faults={{"status": 0.01, "reset": 0.01, "token_death": 0.0005}},
)
async def test_night(ringme, fake_ringme, ringme_clock):
    async def outage():
        await asyncio.sleep(3600 + 3)
        async with fake_ringme.outage():
            await asyncio.sleep(600)

    left = list(range(1, {tenants} + 1))
    async with asyncio.TaskGroup() as group:
        group.create_task(outage())
        while left:
            report = await ringme.clients.get_many(left)
            left = [outcome.who for outcome in report if not outcome.ok]
            await asyncio.sleep(600)
    assert 2 * 3600 < ringme_clock.time() < 3 * 3600
    assert not fake_ringme.violations
    assert fake_ringme.requests[-1].at > 7200
    lines = "\\n".join(f"{{entry.at}} {{entry}}" for entry in fake_ringme.requests)
    print("journal:", hashlib.sha256(lines.encode()).hexdigest(), len(fake_ringme.requests))
"""


@attrs.frozen
class Project:
    """A folder with tests outside this project."""

    folder: Path
    python: str = sys.executable

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, "utf-8")

    def run(
        self, *options: str, seed: str = "random", root: bool = True, quick: bool = False
    ) -> Report:
        report = self.folder / "report.xml"
        environ = {**os.environ, "PYTHONHASHSEED": seed, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        if quick:
            # Coverage that starts by itself imports asyncio twice. A task is then cancelled by
            # another class than asyncio.CancelledError.
            for name in [name for name in environ if name.startswith("COVERAGE_")]:
                del environ[name]
        if root:
            environ["PYTHONPATH"] = str(ROOT)
            options = (*options, "-p", "pytest_ringme_async")
        done = subprocess.run(
            [
                *(
                    self.python,
                    "-X",
                    "dev",
                    "-W",
                    "error",
                    "-m",
                    "pytest",
                    "-p",
                    "no:cacheprovider",
                ),
                *("-rA", "--junitxml", str(report), *options),
            ],
            cwd=self.folder,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert report.exists(), done.stdout + done.stderr
        return Report(
            {case.attrib["name"]: told(case) for case in ET.parse(report).iter("testcase")},
            done.stdout + done.stderr,
        )


def told(case: ET.Element) -> str:
    """Return the error of a test; an empty text if it passed."""
    flaws = [*case.iter("failure"), *case.iter("error")]
    return "\n".join(f"{flaw.attrib['message']}\n{flaw.text}" for flaw in flaws)


@attrs.frozen
class Report:
    """The result of each test, and the output."""

    cases: dict[str, str]
    output: str


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def marked(mark: str) -> str:
    return ASYNC_TESTS.replace("\nasync def", f"\n@pytest.mark.{mark}\nasync def").replace(
        "    async def test", f"    @pytest.mark.{mark}\n    async def test"
    )


@pytest.mark.parametrize(
    ("tests", "options"),
    [
        (ASYNC_TESTS, AUTO),
        (marked("asyncio"), STRICT),
        (ASYNC_TESTS, (*ANYIO, "-o", "anyio_mode=auto")),
        (marked("anyio"), (*ANYIO, *STRICT)),
    ],
    ids=["asyncio-auto", "asyncio-strict", "anyio-auto", "anyio-beside-asyncio"],
)
def test_the_fixtures_are_the_same_under_every_plugin(
    project: Project, tests: str, options: tuple[str, ...]
) -> None:
    if ANYIO[1] in options:
        pytest.importorskip("anyio")
        # Common in conftest files; it chooses another backend than ours.
        project.write(
            "conftest.py",
            "import pytest\n@pytest.fixture\ndef anyio_backend(): return 'asyncio', {}\n",
        )
    else:
        options = (*options, "-o", "asyncio_default_fixture_loop_scope=function")
    project.write("test_it.py", tests)
    if STRICT[1] in options and "asyncio_default_fixture_loop_scope=function" not in options:
        options = (*options, "-o", "asyncio_default_fixture_loop_scope=function")

    report = project.run(*options)

    cases = {
        name.replace("[asyncio]", "").replace("[asyncio-", "["): flaw
        for name, flaw in report.cases.items()
    }
    cases = {name.replace("-asyncio]", "]"): flaw for name, flaw in cases.items()}
    assert {name for name, flaw in cases.items() if not flaw} == PASSED, report.output
    for name, words in FAILED.items():
        assert words in cases[name]
    assert cases.keys() == PASSED | FAILED.keys()


def test_tests_that_are_not_async_and_every_form_of_the_marker(project: Project) -> None:
    project.write("test_it.py", OTHER_TESTS)

    report = project.run()

    failed = {name: flaw for name, flaw in report.cases.items() if flaw}
    assert failed.keys() == {
        "test_fails_as_it_is_not_async",
        "test_fails_as_there_is_no_port",
        "test_fails_for_a_chance_of_what_is_none",
        "test_fails_for_a_fault_that_is_none",
        "test_fails_for_a_fault_without_its_chance",
        "test_fails_for_chances_over_one",
        "test_fails_for_a_name_that_is_none",
        "test_fails_for_what_has_no_name",
    }, report.output
    assert "the test that uses it is async def" in failed["test_fails_as_it_is_not_async"]
    assert "and not tenant" in failed["test_fails_for_a_name_that_is_none"]
    assert "and not what has no name" in failed["test_fails_for_what_has_no_name"]
    assert "OSError" in failed["test_fails_as_there_is_no_port"]
    marker = "@pytest.mark.ringme(faults=...): "
    assert failed["test_fails_for_a_chance_of_what_is_none"].endswith(
        f"{marker}there is no 'statu'; there are bomb, busy, cut, drip, garbled, html, on, reset,"
        " seed, stall, status, token_death, and faults"
    )
    assert f"{marker}a fault is a value of" in failed["test_fails_for_a_fault_that_is_none"]
    assert failed["test_fails_for_a_fault_without_its_chance"].endswith(
        f"{marker}a fault by its name has a chance: {{'reset': 0.02}}"
    )
    assert f"{marker}chances are from 0 to 1" in failed["test_fails_for_chances_over_one"]
    assert len(report.cases) == 17


@pytest.mark.parametrize(
    "choice",
    [
        "def pytest_asyncio_loop_factories(config, item): return {'uv': uvloop.new_event_loop}",
        "def pytest_configure(config): asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())",
    ],
    ids=["hook", "policy"],
)
def test_the_clock_refuses_uvloop(project: Project, choice: str) -> None:
    project.write("uvloop.py", FAKE_UVLOOP)
    project.write("conftest.py", f"import asyncio\nimport uvloop\n{choice}\n")
    project.write(
        "test_it.py", "async def test_it(ringme_clock): pass\nasync def test_that(): pass"
    )

    report = project.run(*AUTO, "-o", "asyncio_default_fixture_loop_scope=function")

    assert "ringme_clock cannot be used under uvloop" in report.cases["test_it"], report.output
    assert report.cases["test_that"] == ""


def test_the_clock_refuses_a_database_and_leaves_nothing_behind(
    project: Project,
) -> None:
    project.write(
        "test_it.py",
        "import pytest\n"
        "from ringme_async.mirror import Mirror, refresh\n"
        "@pytest.mark.ringme(tenants=5)\n"
        "async def test_it(ringme, ringme_clock):\n"
        "    await refresh(ringme, range(1, 6), Mirror('sqlite:///clients.db'))\n",
    )

    report = project.run(*AUTO, "-o", "asyncio_default_fixture_loop_scope=function")

    assert "a thread or a socket does not jump" in report.cases["test_it"].splitlines()[0]
    assert re.search(r"= 1 failed in .* =", report.output), report.output


def test_a_test_keeps_the_loop_factories_that_it_names(project: Project) -> None:
    project.write(
        "conftest.py",
        "import asyncio\n"
        "def pytest_asyncio_loop_factories(config, item): return {'real': asyncio.new_event_loop}\n",
    )
    project.write(
        "test_it.py",
        "import pytest\n"
        "@pytest.mark.asyncio(loop_factories=['real'])\n"
        "async def test_named(ringme_clock): pass\n"
        "@pytest.mark.asyncio\n"
        "async def test_open(ringme_clock): assert ringme_clock.time() == 0\n",
    )

    report = project.run(*STRICT, "-o", "asyncio_default_fixture_loop_scope=function")

    assert "ringme_clock needs a loop that jumps" in report.cases["test_named"], report.output
    assert report.cases["test_open"] == ""


def test_the_clock_is_never_too_late_on_a_jumping_loop(project: Project) -> None:
    project.write(
        "conftest.py",
        "from ringme_async.testing import JumpingLoop\n"
        "def pytest_asyncio_loop_factories(config, item): return {'jumping': JumpingLoop}\n",
    )
    project.write(
        "test_it.py",
        "async def test_it(request):\n"
        "    assert request.getfixturevalue('ringme_clock').time() == 0\n",
    )

    report = project.run(*AUTO, "-o", "asyncio_default_fixture_loop_scope=function")

    assert report.cases == {"test_it": ""}, report.output


# Acts like versions before 1.4: no hook, and the policy comes from a fixture.
OLD_PLUGIN = """
import asyncio
import inspect
import pytest

@pytest.fixture(scope="session", autouse=True)
def event_loop_policy(): return asyncio.get_event_loop_policy()

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    policy = pyfuncitem.funcargs["event_loop_policy"]
    names = inspect.signature(pyfuncitem.obj).parameters
    with asyncio.Runner(loop_factory=policy.new_event_loop) as runner:
        runner.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
"""


NO_CHOICE = """
import asyncio
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    names = pyfuncitem.funcargs.keys()
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
"""


def test_a_policy_chooses_the_loop_without_the_hook(project: Project) -> None:
    project.write("conftest.py", OLD_PLUGIN)
    project.write("test_it.py", ASYNC_TESTS)

    report = project.run("-k", "clock or other or method")

    passed = {name for name, flaw in report.cases.items() if not flaw}
    assert passed == {
        "test_a_method_jumps_too[jumping]",
        "test_each_has_its_own_clock[1-jumping]",
        "test_each_has_its_own_clock[2-jumping]",
        "test_other_loops_stay_as_they_are",
        "test_the_clock_jumps[jumping]",
    }, report.output


def test_a_test_fails_with_the_reason_when_nothing_chooses_its_loop(project: Project) -> None:
    project.write("conftest.py", NO_CHOICE)
    project.write(
        "test_it.py",
        "import pytest\n"
        "async def test_it(ringme_clock): pass\n"
        "async def test_clock():\n"
        "    from ringme_async.testing.plugin import Clock\n"
        "    Clock().time()\n",
    )

    report = project.run()

    assert "ringme_clock needs a loop that jumps" in report.cases["test_it"], report.output
    assert "ringme_clock needs a loop that jumps" in report.cases["test_clock"]


def test_ringme_is_closed_although_its_loop_goes_on(project: Project) -> None:
    project.write(
        "test_it.py",
        "import pytest\n"
        "@pytest.mark.ringme(tenants=1)\n"
        "async def test_it(ringme): assert (await ringme.clients.get(1)).id == 1\n"
        "async def test_that(ringme): pass\n",
    )

    report = project.run(
        *AUTO,
        *("-o", "asyncio_default_fixture_loop_scope=session"),
        *("-o", "asyncio_default_test_loop_scope=session"),
    )

    assert report.cases == {"test_it": "", "test_that": ""}, report.output


def test_examples_of_hypothesis_share_the_clock(project: Project) -> None:
    project.write(
        "test_it.py",
        "import asyncio\n"
        "from hypothesis import HealthCheck, given, settings, strategies as st\n"
        "@settings(max_examples=5, suppress_health_check=list(HealthCheck), database=None)\n"
        "@given(hours=st.integers(1, 1000))\n"
        "async def test_it(ringme_clock, hours):\n"
        "    before = ringme_clock.time()\n"
        "    await asyncio.sleep(3600 * hours)\n"
        "    assert ringme_clock.time() == before + 3600 * hours\n",
    )

    report = project.run(*AUTO, "-o", "asyncio_default_fixture_loop_scope=function")

    assert report.cases == {"test_it": ""}, report.output


def test_a_run_without_the_fixtures_imports_the_plugin_alone(project: Project) -> None:
    project.write(
        "test_it.py",
        "import sys\n"
        "def test_it():\n"
        "    assert 'pytest_ringme_async' in sys.modules\n"
        "    assert not {'ringme_async', 'aiohttp', 'attrs', 'asyncio'} & sys.modules.keys()\n",
    )

    report = project.run(
        "--strict-markers", "-p", "no:faulthandler", "-p", "no:unraisableexception"
    )

    assert report.cases == {"test_it": ""}, report.output


def test_a_night_is_the_same_in_every_run(project: Project) -> None:
    project.write("test_it.py", NIGHT.format(tenants=1_500, ceiling=600))
    journals: set[str] = set()
    for seed in ("1", "2"):
        report = project.run(
            *AUTO, "-o", "asyncio_default_fixture_loop_scope=function", seed=seed, quick=True
        )
        assert report.cases == {"test_night": ""}, report.output
        journals.update(line for line in report.output.splitlines() if line.startswith("journal:"))
    assert len(journals) == 1


@pytest.mark.slow
def test_a_hundred_thousand_tenants_go_through_three_quota_hours(project: Project) -> None:
    project.write("test_it.py", NIGHT.format(tenants=100_000, ceiling=40_000))

    report = project.run(*AUTO, "-o", "asyncio_default_fixture_loop_scope=function", quick=True)

    assert report.cases == {"test_night": ""}, report.output


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose environment has only the wheel of this one."""
    folder = tmp_path_factory.mktemp("elsewhere")
    subprocess.run(
        [
            *(sys.executable, "-m", "build", "--wheel", "--no-isolation"),
            *("--outdir", str(folder), str(ROOT)),
        ],
        check=True,
        capture_output=True,
    )
    project = folder / "project"
    project.mkdir()
    return Project(project, installed(folder / "venv", next(folder.glob("*.whl"))))


@pytest.mark.parametrize("mode", ["auto", "strict", "anyio"])
def test_the_first_test_of_the_docs_passes_with_the_installed_wheel(
    elsewhere: Project, mode: str
) -> None:
    first = first_snippet(ROOT / "docs" / "howto" / "testing.md")
    imports = [line for line in first.splitlines() if line.startswith(("import ", "from "))]
    assert imports == ["import pytest"]
    options: tuple[str, ...] = (
        *("-p", "pytest_asyncio.plugin", "-o", f"asyncio_mode={mode}"),
        *("-o", "asyncio_default_fixture_loop_scope=function"),
    )
    if mode == "anyio":
        pytest.importorskip("anyio")
        options, first = ANYIO, first.replace("mark.asyncio", "mark.anyio")
    elsewhere.write("test_first.py", first)

    report = elsewhere.run(*options, "-p", "pytest_ringme_async", "--trace-config", root=False)

    passed = {name.partition("[")[0] for name, flaw in report.cases.items() if not flaw}
    assert passed == {"test_a_client_is_read"}, report.output
    assert f"{elsewhere.folder.parent / 'venv'}" in next(
        line for line in report.output.splitlines() if "pytest_ringme_async" in line
    )


def first_snippet(page: Path) -> str:
    """Return the first Python block of a page, as a reader copies it."""
    return page.read_text("utf-8").partition("```python\n")[2].partition("```")[0]


def installed(folder: Path, wheel: Path) -> str:
    """Make an environment with the wheel, and the dependencies of this one."""
    venv.create(folder, with_pip=False)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"),
            *("--target", str(packages), str(wheel)),
        ],
        check=True,
    )
    borrowed = str(Path(pytest.__file__).parent.parent)
    (packages / "borrowed.pth").write_text(f"{borrowed}\n", "utf-8")
    return str(python)
