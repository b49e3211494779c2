"""Run the benchmark: ``python -m benchmarks``, from the checkout."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.chart import chart
from benchmarks.race import Race
from benchmarks.report import as_json, table
from benchmarks.upstream import upstream

SECTIONS = ("race",)


def say(text: str) -> None:
    """Tell whoever waits how far it is."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Read the command line, measure, print, and write JSON and the chart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; default all")
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--requests", type=int, default=10_000, help="in a run; default 10,000")
    parser.add_argument("--concurrency", type=int, default=64, help="default 64")
    parser.add_argument("--only", nargs="+", default=[], help="contenders, by parts of their names")
    parser.add_argument("--without-nginx", action="store_true", help="serve with asyncio")
    parser.add_argument("--output", type=Path, default=Path("build"), help="a folder; build")
    options = parser.parse_args()
    # What starts other processes of the benchmark does so from wherever it stands.
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    told: dict[str, object] = {
        "at": datetime.now(UTC).isoformat(),
        "python": platform.python_version(),
    }
    options.output.mkdir(parents=True, exist_ok=True)
    with upstream(without_nginx=options.without_nginx) as server:
        say(f"the server is {server.name}")
        race = Race(
            server, options.rounds, options.requests, options.concurrency, tuple(options.only)
        )
        lines = race.run(say)
    print("\n".join(table(lines)))
    told |= {"server": server.name, "race": as_json(lines)}
    (options.output / "performance.svg").write_text(chart(lines, server.name), "utf-8")
    (options.output / "performance.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
