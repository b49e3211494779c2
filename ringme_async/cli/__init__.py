"""The ``ringme`` command."""

from __future__ import annotations

import sys

from ringme_async.cli.codes import ExitCode
from ringme_async.version import __version__

__all__ = ["main"]


def main() -> int:
    """Run the command that the arguments name.

    Returns:
        0: all well. 1: some tenants failed. 2: the command line is wrong. 3: it could not start.
        130: it was interrupted.
    """
    arguments = sys.argv[1:]
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
