"""The race: every contender in a fresh process, one after the other, round after round."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from statistics import median

from attrs import define, field, frozen

from benchmarks.contenders import CONTENDERS, PLAIN, Contender
from benchmarks.one import MISSING
from benchmarks.upstream import Upstream

FEWEST = 200


@frozen
class Spread:
    """A median, with the lowest and highest value."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Summarise the values of all rounds."""
        every = list(values)
        return cls(median(every), min(every), max(every))


@define
class Line:
    """One contender's results at one verb; ratios are to plain, by round."""

    contender: Contender
    verb: str
    cpu_us: list[float] = field(factory=list[float])
    per_second: list[float] = field(factory=list[float])
    cpu_ratio: list[float] = field(factory=list[float])
    rate_ratio: list[float] = field(factory=list[float])
    missing: str = ""

    @property
    def label(self) -> str:
        """The contender's name."""
        return self.contender.label


@frozen
class Race:
    """The settings and the rounds of the race."""

    server: Upstream
    rounds: int
    requests: int
    concurrency: int
    only: tuple[str, ...] = ()

    def entries(self) -> Iterator[tuple[str, int, Contender]]:
        """List the contenders of each verb; plain is always among them."""
        for verb in PLAIN.verbs:
            for place, contender in enumerate(CONTENDERS):
                chosen = not self.only or any(word in contender.label for word in self.only)
                if verb in contender.verbs and (chosen or contender == PLAIN):
                    yield verb, place, contender

    def run(self, say: Callable[[str], None]) -> list[Line]:
        """Run all rounds."""
        entries = list(self.entries())
        lines = [Line(contender, verb) for verb, _, contender in entries]
        for number in range(1, self.rounds + 1):
            say(f"round {number} of {self.rounds}")
            # Every other round runs backwards, so that no contender always follows the same one.
            order = list(zip(entries, lines, strict=True))[:: 1 if number % 2 else -1]
            plain: dict[str, tuple[float, float]] = {}
            for (verb, place, contender), line in order:
                if line.missing:
                    continue
                shown = self._measure(verb, place, contender)
                if isinstance(shown, str):
                    line.missing = shown
                    continue
                line.cpu_us.append(shown["cpu_us"])
                line.per_second.append(shown["per_second"])
                if contender == PLAIN:
                    plain[verb] = shown["cpu_us"], shown["per_second"]
            for line in lines:
                if not line.missing:
                    cpu_us, per_second = plain[line.verb]
                    line.cpu_ratio.append(line.cpu_us[-1] / cpu_us)
                    line.rate_ratio.append(line.per_second[-1] / per_second)
        return lines

    def _measure(self, verb: str, place: int, contender: Contender) -> dict[str, float] | str:
        method, _, packed = verb.partition(" ")
        command = [
            *(sys.executable, "-m", "benchmarks.one", str(place), "--method", method),
            *("--origin", self.server.packed if packed else self.server.plain),
            *("--requests", str(max(FEWEST, int(self.requests * contender.share)))),
            *("--concurrency", str(self.concurrency)),
        ]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode == MISSING:
            return done.stderr.strip()
        if done.returncode:
            raise RuntimeError(f"{contender.label} at {verb} failed:\n{done.stderr}")
        shown: dict[str, float] = json.loads(done.stdout)
        return shown
