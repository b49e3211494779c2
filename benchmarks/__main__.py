"""Run the benchmark: ``python -m benchmarks``, from the checkout, or ``nox -s bench``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

import attrs

from benchmarks.chart import chart
from benchmarks.looks import SECTIONS, Finding, Looks
from benchmarks.race import Race
from benchmarks.report import as_json, table
from benchmarks.upstream import upstream


def say(text: str) -> None:
    """Print progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Read the command line, measure, print, and write JSON and the chart."""
    options = read_command_line()
    # Subprocesses import ``benchmarks`` from the current directory.
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    options.output.mkdir(parents=True, exist_ok=True)
    told: dict[str, object] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": f"{platform.system()}, {platform.machine()}, {os.cpu_count()} cores",
    }
    chosen = options.sections or ["race", *SECTIONS]
    if "race" in chosen:
        told |= race(options)
    findings = look(options, [section for section in chosen if section != "race"])
    told["findings"] = [attrs.asdict(finding) for finding in findings]
    (options.output / "performance.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    if options.check and not all(finding.ok for finding in findings):
        sys.exit(1)


def race(options: argparse.Namespace) -> dict[str, object]:
    """Run the race, print its table and draw it."""
    with upstream(without_nginx=options.without_nginx) as server:
        say(f"the server is {server.name}")
        run = Race(
            server, options.rounds, options.requests, options.concurrency, tuple(options.only)
        )
        lines = run.run(say)
    print("\n".join(table(lines)))
    (options.output / "performance.svg").write_text(chart(lines, server.name), "utf-8")
    return {
        "server": server.name,
        "rounds": options.rounds,
        "requests": options.requests,
        "concurrency": options.concurrency,
        "race": as_json(lines),
    }


def look(options: argparse.Namespace, sections: list[str]) -> list[Finding]:
    """Measure everything else, and print each finding at once."""
    looks = Looks(options.rounds, options.largest, options.concurrency, say)
    findings: list[Finding] = []
    for section in sections:
        for finding in SECTIONS[section](looks):
            print(finding, flush=True)
            findings.append(finding)
    return findings


def read_command_line() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = ("race", *SECTIONS)
    parser.add_argument("sections", nargs="*", metavar="section", help=", ".join(names))
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--requests", type=int, default=10_000, help="in a run; default 10,000")
    parser.add_argument("--concurrency", type=int, default=64, help="default 64")
    parser.add_argument(
        "--largest",
        type=int,
        default=1_000_000,
        help="records in the longest run; default 1,000,000",
    )
    parser.add_argument("--only", nargs="+", default=[], help="contenders, by parts of their names")
    parser.add_argument("--without-nginx", action="store_true", help="serve with asyncio")
    parser.add_argument("--check", action="store_true", help="fail where a target is missed")
    parser.add_argument("--output", type=Path, default=Path("build"), help="a folder; build")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(names):
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    main()
