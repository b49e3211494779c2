"""The benchmark runs, small and without nginx, and says what it found; how fast is not tested."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def written(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "performance.json").read_text("utf-8"))
    return found


@pytest.mark.slow
def test_the_race_is_run_and_drawn(tmp_path: Path) -> None:
    table = run(
        *("race", "--rounds", "1", "--requests", "400", "--without-nginx"),
        *("--only", "RingMe, in bulk", "--output", str(tmp_path)),
    )
    found = written(tmp_path)
    lines = {(line["verb"], line["contender"]): line for line in found["race"]}
    drawn = ET.parse(tmp_path / "performance.svg").getroot()

    assert found["server"] == "asyncio (nginx is not here)"
    for verb in ("GET", "GET gzip", "PUT"):
        assert lines[verb, "plain aiohttp"]["cpu_ratio"] == [1.0]
        (ratio,) = lines[verb, "RingMe, in bulk"]["cpu_ratio"]
        assert ratio > 0
        assert f"| RingMe, in bulk | {ratio:.2f} |" in table
    assert "plain aiohttp" in "".join(drawn.itertext())


@pytest.mark.slow
def test_everything_else_is_looked_at(tmp_path: Path) -> None:
    said = run(
        *("share", "memory", "size", "steps"),
        *("--rounds", "1", "--largest", "1000", "--output", str(tmp_path)),
    )
    findings = written(tmp_path)["findings"]

    assert len(said.splitlines()) == len(findings)
    assert {finding["unit"] for finding in findings} == {"µs", "kB", "MB", "x json.loads"}
    assert all(finding["value"] > 0 for finding in findings if finding["unit"] != "MB")


def test_a_section_that_is_none_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "nonsense", "--output", str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )

    assert done.returncode == 2
    assert "no such section: nonsense" in done.stderr
