"""Runs one contender in its own process, and prints its cost as JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time

from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.work import Work

# The exit code for a contender whose package is not installed.
MISSING = 3


async def measure(contender: Contender, work: Work, count: int) -> dict[str, float]:
    """Run a contender's work after a warm-up."""
    async with contender.load()(work) as go:
        await go(max(2 * work.concurrency, count // 10))
        # CPU time of the process, so that a library's threads count too.
        began, spent = time.perf_counter(), time.process_time()
        got = await go(count)
        spent, took = time.process_time() - spent, time.perf_counter() - began
    if got != count:
        raise RuntimeError(f"{contender.label}: {got} records instead of {count}")
    return {
        "cpu_us": spent / count * 1e6,
        "per_second": count / took,
        "rss_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def main() -> None:
    """Read the command line, do the work and print its cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", type=int, help="the contender's place in the table")
    parser.add_argument("--origin", required=True)
    parser.add_argument("--method", choices=("GET", "PUT"), default="GET")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=64)
    options = parser.parse_args()
    contender = CONTENDERS[options.place]
    work = Work(options.origin, options.method, options.concurrency)
    try:
        factory = loop_factory(contender)
        with asyncio.Runner(loop_factory=factory) as runner:
            print(json.dumps(runner.run(measure(contender, work, options.requests))))
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(MISSING)


def loop_factory(contender: Contender) -> type[asyncio.AbstractEventLoop] | None:
    """Choose the event loop."""
    if not contender.uvloop:
        return None
    import uvloop  # noqa: PLC0415 - it may be missing, and most contenders run without it

    loop: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return loop


if __name__ == "__main__":
    main()
