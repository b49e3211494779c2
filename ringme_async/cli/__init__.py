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

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def main() -> int:
    """Run the command that the arguments name.

    Returns:
        0: all well. 1: some tenants failed, or the run broke off. 2: the command line is wrong.
        3: it could not start, and nothing was sent. 130: it was interrupted, by Ctrl-C, SIGTERM or
        SIGHUP, however many of them came.
    """
    handle_signals(_interrupt)
    _stand_in_for_what_is_closed()
    try:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A name that the terminal has no letters for is no reason to fail.
                stream.reconfigure(errors="backslashreplace")
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("ringme: interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Nobody reads the result any more.
        _write_nothing_more()
        return ExitCode.SOME_FAILED
    except OSError as error:
        print(f"ringme: {_told(error)}", file=sys.stderr)
        _write_nothing_more()
        return ExitCode.SOME_FAILED
    finally:
        has_come = any(signal.getsignal(number) is ignore for number in ENDING)
        # The interpreter resets handlers of its own before its end, but not SIG_IGN.
        handle_signals(signal.SIG_IGN if has_come else ignore)
    return code


def _told(error: OSError) -> str:
    if error.errno in _NO_ROOM:
        return f"the result could not be written: {error.strerror}"
    # Imported here, so that --version costs little.
    from ringme_async.mirror.errors import told_of_file, words_of  # noqa: PLC0415

    path = error.filename
    return told_of_file(path, error) if isinstance(path, str) else words_of(error)


class _Nowhere(io.TextIOBase):
    """What stands in for a stream that whoever has called has closed."""

    def write(self, text: str) -> int:
        return len(text)


def _stand_in_for_what_is_closed() -> None:
    """Let what is told to a closed stream go nowhere, and not to the other one."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, _Nowhere())


def _write_nothing_more() -> None:
    """Keep the interpreter from trying, at its end, to write the rest of the result."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    handle_signals(ignore)
    raise KeyboardInterrupt


def _run(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        print(__version__)
        return ExitCode.ALL_WELL
    try:
        # Imported here, so that --version costs little, and a missing extra is told in one line.
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
