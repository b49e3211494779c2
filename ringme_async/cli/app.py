"""What the command line offers, each command a thin shell over the SDK."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Annotated, TypeAlias

from cyclopts import App, CycloptsError, Parameter

from ringme_async.cli.codes import ExitCode
from ringme_async.cli.demo import run_demo
from ringme_async.cli.show import Bars, show_demo
from ringme_async.version import __version__

AsJSON: TypeAlias = Annotated[bool, Parameter(name="--json", negative=())]

app = App(
    name="ringme",
    help="Read and change the tenants of a RingMe PBX.",
    version=__version__,
    suppress_keyboard_interrupt=False,
)


@app.command
def demo(*, as_json: AsJSON = False) -> int:
    """Read 1,000 tenants of a RingMe on this machine and change some, with trouble on the way.

    It needs no network and no account, and ends in under 15 seconds. Some tenants fail because
    they are blocked, which is part of the show: the exit code is 0 if what the SDK tells agrees
    with the server's own books.

    Parameters
    ----------
    as_json
        Print the result as JSON, for scripts.
    """
    with Bars() as bars:
        try:
            report = asyncio.run(run_demo(bars.follow))
        except OSError as error:
            print(f"ringme: the demo's server did not start: {error}", file=sys.stderr)
            return ExitCode.COULD_NOT_START
    show_demo(report, as_json=as_json)
    return ExitCode.ALL_WELL if report.books_agree else ExitCode.SOME_FAILED


def run(arguments: Sequence[str]) -> int:
    """Run one command and give its exit code."""
    try:
        code = app(arguments, exit_on_error=False, result_action="return_value")
    except CycloptsError:
        return ExitCode.WRONG_USAGE
    except KeyboardInterrupt:
        print("ringme: interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    return code if isinstance(code, int) else ExitCode.ALL_WELL
