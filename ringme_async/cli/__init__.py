"""The ``ringme`` command."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from types import FrameType
from typing import Final

from ringme_async.cli.codes import ExitCode
from ringme_async.cli.signals import ENDING, handle_signals, ignore
from ringme_async.version import __version__

__all__ = ["main"]

_WRITE_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def main() -> int:
    """Run the command that the arguments name.

    Returns:
        0: all well. 1: some tenants failed, or the run broke off. 2: the command line is wrong. 3:
        the command could not start and sent nothing. 130: one or more of Ctrl-C, SIGTERM and SIGHUP
        interrupted it.
    """
    handle_signals(_on_signal)
    _replace_closed_streams()
    try:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A name that the terminal cannot encode must not fail the command.
                stream.reconfigure(errors="backslashreplace")
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("ringme: interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader has closed the pipe, as ``head`` does.
        _discard_stdout()
        return ExitCode.SOME_FAILED
    except OSError as error:
        print(f"ringme: {_describe(error)}", file=sys.stderr)
        _discard_stdout()
        return ExitCode.SOME_FAILED
    finally:
        has_come = any(signal.getsignal(number) is ignore for number in ENDING)
        # SIG_IGN after a signal, as the interpreter resets Python handlers before its end.
        handle_signals(signal.SIG_IGN if has_come else ignore)
    return code


def _describe(error: OSError) -> str:
    if error.errno in _WRITE_ERRORS:
        return f"the result could not be written: {error.strerror}"
    # Imported here, so that --version costs little.
    from ringme_async.mirror.errors import describe_file_error, describe_os_error  # noqa: PLC0415

    path = error.filename
    return describe_file_error(path, error) if isinstance(path, str) else describe_os_error(error)


class _NullStream(io.TextIOBase):
    """Discards all output; replaces a stream that the caller has closed."""

    def write(self, text: str) -> int:
        return len(text)


def _replace_closed_streams() -> None:
    """Discard output to a closed stream, as ``print`` would fail without one."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, _NullStream())


def _discard_stdout() -> None:
    """Discard the rest of the result, as the interpreter would fail to flush it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    handle_signals(ignore)
    raise KeyboardInterrupt


def _run(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        print(__version__)
        return ExitCode.ALL_WELL
    try:
        # Imported here, so that --version costs little, and a missing extra gets a one-line error.
        from ringme_async.cli.app import run  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        package = str(missing.name).partition(".")[0]
        if package not in {"cyclopts", "rich"}:
            raise
        print(
            f"ringme: the command line needs {package};"
            " install it with: pip install 'ringme-async[cli]'",
            file=sys.stderr,
        )
        return ExitCode.COULD_NOT_START
    return run(arguments)
