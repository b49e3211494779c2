"""The mutation report: how many mutants of each file the tests notice.

``nox -s mutation`` runs it after mutmut, as ``python -m tests.mutation``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

LEAST_PERCENT = 90.0
# A mutant that never ends or breaks the interpreter fails the build as well as a failing test.
NOTICED = frozenset({"killed", "timeout", "segfault", "caught by type check"})
TRIED = NOTICED | {"survived", "no tests", "suspicious"}
_RESULT = re.compile(r"\s*(?P<module>[\w.]+)\.x\S+__mutmut_\d+: (?P<status>[\w ]+)")

Scores = Mapping[str, tuple[int, int]]


def scores_in(results: Iterable[str]) -> Scores:
    """Count the mutants of each file, and those that were noticed.

    Args:
        results: The lines of ``mutmut results --all true``. Mutants that were not tried do not count.
    """
    mutants: Counter[str] = Counter()
    noticed: Counter[str] = Counter()
    for line in results:
        found = _RESULT.fullmatch(line.rstrip())
        if found and found["status"] in TRIED:
            file = f"{found['module'].replace('.', '/')}.py"
            mutants[file] += 1
            noticed[file] += found["status"] in NOTICED
    return {file: (mutants[file], noticed[file]) for file in sorted(mutants)}


def percent(mutants: int, noticed: int) -> float:
    return 100.0 * noticed / mutants


def table_of(scores: Scores) -> list[str]:
    width = max(map(len, scores), default=0)
    lines = [f"{'file':<{width}}  mutants  noticed  percent"]
    for file, (mutants, noticed) in scores.items():
        score = percent(mutants, noticed)
        mark = "" if score >= LEAST_PERCENT else f"  under {LEAST_PERCENT:g} %"
        lines.append(f"{file:<{width}}  {mutants:7}  {noticed:7}  {score:7.1f}{mark}")
    return lines


def too_low(scores: Scores) -> list[str]:
    return [file for file, score in scores.items() if percent(*score) < LEAST_PERCENT]


def main() -> int:
    mutmut = Path(sys.executable).with_name("mutmut")
    listed = subprocess.run(
        [mutmut, "results", "--all", "true"], check=True, capture_output=True, text=True
    ).stdout
    scores = scores_in(listed.splitlines())
    if not scores:
        # A pattern that matches nothing would pass for a perfect score.
        sys.stdout.write("no mutant was tried\n")
        return 1
    sys.stdout.writelines(f"{line}\n" for line in table_of(scores))
    return 1 if too_low(scores) else 0


if __name__ == "__main__":
    sys.exit(main())
