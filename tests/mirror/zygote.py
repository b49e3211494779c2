"""Starts processes that refresh or apply quickly, by forking after all imports.

Run by the tests: ``python -m tests.mirror.zygote``. Each line of its input is an order in JSON. It
answers with the process id of the process that carries it out and, once that has ended, with how:
0, a signal's number below 0, or 1 with a traceback on stderr.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

# Imported before the fork: that is what makes the processes quick.
import ringme_async.mirror.sql_session
from ringme_async import ClientCredentials, RetryPolicy, RingMe
from ringme_async.mirror import Mirror, apply_plan, refresh, sink_for

Order = Mapping[str, Any]

_ROOT = Path(__file__).parents[2]
_PRELOADED = ringme_async.mirror.sql_session


class Zygote:
    """A process that starts others."""

    def __init__(self, orders: IO[str], answers: IO[str]) -> None:
        self._orders = orders
        self._answers = answers

    def start(self, **order: Any) -> int:
        """Start a process for an order; return its id."""
        self._orders.write(json.dumps(order) + "\n")
        self._orders.flush()
        return int(self._answers.readline())

    def wait(self) -> int:
        """Wait for the end of a process; return its exit code."""
        return int(self._answers.readline())


@contextmanager
def running_zygote() -> Iterator[Zygote]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.mirror.zygote"],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Zygote(cast("IO[str]", process.stdin), cast("IO[str]", process.stdout))


async def carry_out(order: Order) -> None:
    auth = ClientCredentials("dealer", "hush-hush")
    retry = RetryPolicy(base=0.01, cap=0.05)
    async with RingMe(order["url"], auth=auth, retry=retry) as ringme:
        if "plan" in order:
            plan = ringme.clients.load_plan(order["plan"])
            await apply_plan(plan, order["into"], resume=order["resume"], concurrency=4)
            return
        into = order["into"]
        sink = Mirror(into, batch=7, every=0.02) if "://" in into else sink_for(into)
        await refresh(ringme, order["tenants"], sink, resume=order["resume"], concurrency=4)


def obey(order: Order) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(carry_out(order))
        except BaseException:  # noqa: BLE001 - the child must not go on as its parent
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    say(pid)
    say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    for line in sys.stdin:
        obey(json.loads(line))
