"""The command line as a whole: its version, its exit codes, and what it needs."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringme_async import cli
from ringme_async.cli import app, main, signals
from ringme_async.cli.codes import ExitCode
from ringme_async.version import __version__

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def _same_handlers_as_before() -> Iterator[None]:
    """A command ends with its process, and leaves the handlers of signals as they are."""
    before = signals.handle_signals(signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["ringme", *arguments])
    return main()


def test_the_version_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--version") == ExitCode.ALL_WELL
    assert capsys.readouterr().out == f"{__version__}\n"


def test_the_version_is_printed_into_a_replaced_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    monkeypatch.setattr(sys, "stdout", text)
    assert run(monkeypatch, "--version") == ExitCode.ALL_WELL
    assert text.getvalue() == f"{__version__}\n"


def entry() -> tuple[str, str]:
    """Return the module and the function that the installed script calls."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    module, _, function = scripts["ringme"].partition(":")
    return module, function


def test_printing_the_version_imports_no_more_than_it_needs() -> None:
    module, function = entry()
    program = (
        "import sys; sys.argv[1:] = ['--version']\n"
        f"from {module} import {function}\n"
        f"{function}(); print(*sys.modules, sep='\\n')"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout.split()
    unneeded = {"rich", "cyclopts", "sqlalchemy", "aiohttp", "attr", "cattrs", "msgspec", "asyncio"}
    assert unneeded.isdisjoint(loaded)
    assert [name for name in loaded if name.startswith("ringme_async")] == [
        "ringme_async",
        "ringme_async.cli.codes",
        "ringme_async.cli.signals",
        "ringme_async.version",
        "ringme_async.cli",
    ]


@pytest.mark.parametrize("arguments", [(), ("--help",), ("demo", "--help")])
def test_help_is_no_failure(
    arguments: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *arguments) == ExitCode.ALL_WELL
    assert "Usage: ringme" in capsys.readouterr().out


def test_help_lists_the_commands_in_order_of_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--help")
    shown = capsys.readouterr().out
    places = [shown.index(f"\u2502 {name} ") for name in ("get", "set", "refresh", "plan", "apply")]
    assert places == sorted(places)


@pytest.mark.parametrize("command", ["get", "set", "refresh", "apply"])
def test_help_shows_no_default_of_a_flag(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, command, "--help")
    shown = capsys.readouterr().out
    assert "False" not in shown
    assert "()" not in shown


@pytest.mark.parametrize("arguments", [("frob",), ("demo", "--frob"), ("demo", "x")])
def test_a_wrong_command_line_is_refused_on_stderr(
    arguments: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *arguments) == ExitCode.WRONG_USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err != ""


def test_an_interruption_has_its_own_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ringme_async.cli.app.run_demo", interrupted)
    assert run(monkeypatch, "demo") == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == "ringme: interrupted\n"


def test_running_the_package_is_running_the_command() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "ringme_async", "frob"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert (ended.returncode, ended.stdout) == (ExitCode.WRONG_USAGE, "")
    assert ended.stderr.startswith("ringme: ")


@pytest.mark.parametrize("missing", ["cyclopts", "rich"])
@pytest.mark.parametrize(
    "start",
    [
        "from ringme_async.cli import main; sys.exit(main())",
        "import runpy; runpy.run_module('ringme_async', run_name='__main__', alter_sys=True)",
    ],
    ids=["script", "module"],
)
def test_a_missing_extra_is_reported_in_one_line(missing: str, start: str) -> None:
    program = f"import sys; sys.argv[1:] = ['demo']; sys.modules[{missing!r}] = None\n{start}"
    ended = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert ended.returncode == ExitCode.COULD_NOT_START
    assert ended.stderr == (
        f"ringme: the command line needs {missing};"
        " install it with: pip install 'ringme-async[cli]'\n"
    )


def test_another_missing_module_is_not_blamed_on_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ringme_async.cli.app", None)
    with pytest.raises(ModuleNotFoundError, match=r"ringme_async\.cli\.app"):
        run(monkeypatch, "demo")


@pytest.mark.skipif(sys.platform == "win32", reason="a closed pipe is another error there")
def test_a_reader_that_closes_the_pipe_causes_no_traceback() -> None:
    program = "import sys; from ringme_async.cli import main; sys.exit(main())"
    nobody, stdout = os.pipe()
    os.close(nobody)
    ended = subprocess.run(
        [sys.executable, "-c", program, "--version"],
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
        cwd=ROOT,
    )
    os.close(stdout)
    assert (ended.returncode, ended.stderr) == (ExitCode.SOME_FAILED, b"")


def test_the_rest_of_the_output_is_discarded_after_the_pipe_is_closed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with open(tmp_path / "read-no-more", "wb") as reader:

        class Closed(io.StringIO):
            def flush(self) -> None:
                raise BrokenPipeError

            def fileno(self) -> int:
                return reader.fileno()

        monkeypatch.setattr(sys, "stdout", Closed())
        assert run(monkeypatch, "--version") == ExitCode.SOME_FAILED
        os.write(reader.fileno(), b"the interpreter's last words")
    assert (tmp_path / "read-no-more").read_bytes() == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is full")
@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_a_full_disk_is_reported_in_one_line(arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "ringme_async", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            cwd=ROOT,
            text=True,
        )
    assert (ended.returncode, ended.stderr) == (
        ExitCode.SOME_FAILED,
        f"ringme: the result could not be written: {os.strerror(errno.ENOSPC)}\n",
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            PermissionError(errno.EACCES, "denied", "a.csv"),
            "a.csv: Permission denied; check who may use it",
        ),
        (
            OSError(errno.EMFILE, "too many"),
            "Too many open files; raise the limit of open files (ulimit -n)",
        ),
        (OSError("odd"), "odd"),
    ],
)
def test_another_system_error_is_reported_in_one_line(
    error: OSError,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr(app, "run", fail)
    monkeypatch.setattr(cli, "_discard_stdout", lambda: None)
    assert run(monkeypatch, "get", "12") == ExitCode.SOME_FAILED
    assert capsys.readouterr().err == f"ringme: {message}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no shell to close a stream with")
@pytest.mark.parametrize(
    ("closed", "message"),
    [(">&-", ("", "ringme: Unknown")), ("2>&-", ("", "")), (">&- 2>&-", ("", ""))],
)
def test_output_to_a_closed_stream_is_discarded(closed: str, message: tuple[str, str]) -> None:
    program = f"exec {sys.executable} -X dev -W error -m ringme_async"
    wrong = subprocess.run(
        ["sh", "-c", f"{program} frob {closed}"],
        capture_output=True,
        check=False,
        cwd=ROOT,
        text=True,
    )
    assert (wrong.returncode, wrong.stdout) == (ExitCode.WRONG_USAGE, message[0])
    assert wrong.stderr[:15] == message[1]
    right = subprocess.run(
        ["sh", "-c", f"{program} --version {closed}"], check=False, cwd=ROOT, capture_output=True
    )
    assert (right.returncode, right.stderr) == (ExitCode.ALL_WELL, b"")


def test_a_missing_extra_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "ringme_async.cli.app", raising=False)
    monkeypatch.setitem(sys.modules, "cyclopts", None)
    assert run(monkeypatch, "demo") == ExitCode.COULD_NOT_START
    assert capsys.readouterr().err.startswith("ringme: the command line needs cyclopts;")
