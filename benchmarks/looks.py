"""All measurements beside the race: memory, size, a slow server, imports, single steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from statistics import median

from attrs import field, frozen

from benchmarks.contenders import CONTENDERS
from benchmarks.upstream import fallback

DELAY = 0.05
THEIRS = "import aiohttp, attrs, cattrs"
OURS = (
    "import ringme_async",
    "from ringme_async import RingMe",
    "from ringme_async import AiohttpTransport, RingMe",
)


@frozen
class Finding:
    """A measured number and its target."""

    what: str
    value: float
    unit: str
    target: str = ""
    ok: bool = True

    def __str__(self) -> str:
        verdict = (
            f" (target {self.target}: {'met' if self.ok else 'missed'})" if self.target else ""
        )
        return f"{self.what}: {self.value:,.2f} {self.unit}{verdict}".rstrip()


@frozen
class Looks:
    """The settings and the measurements."""

    rounds: int
    largest: int
    concurrency: int
    say: Callable[[str], None] = field(repr=False)

    def share(self) -> Iterator[Finding]:
        """The SDK's own share of a call."""
        calls = min(10_000, self.largest)
        found = [self.inside("share", calls) for _ in range(self.rounds)]
        for way in found[0]:
            value = median(each[way] for each in found)
            target = "at most 25 µs"
            yield Finding(f"the SDK's own share of {way}", value, "µs", target, value <= 25)

    def memory(self) -> Iterator[Finding]:
        """Memory of kept and of streamed records."""
        count = min(100_000, self.largest)
        each = median(self.inside("keeping", count)["bytes"] for _ in range(self.rounds)) / 1000
        yield Finding("memory for each record kept", each, "kB", "at most 1.15", each <= 1.15)
        grown = self.inside("flat", self.largest)["grown_mb"]
        what = f"growth over a stream of {self.largest:,} records"
        yield Finding(what, grown, "MB", "at most 2", grown <= 2)

    def size(self) -> Iterator[Finding]:
        """The cost of a record, by the size of the run."""
        for look, whose in (
            ("one_credential", "one credential"),
            ("own_credentials", "a credential for each"),
        ):
            first = 0.0
            for count in sizes(self.largest):
                self.say(f"{count:,} records, {whose}")
                rounds = self.rounds if count < 1_000_000 else 1
                cost = median(self.inside(look, count)["us"] for _ in range(rounds))
                first = first or cost
                ratio = cost / first
                yield Finding(f"a record of {count:,}, {whose}", cost, "µs")
                if count > 1_000:
                    what = f"{count:,} beside 1,000, {whose}"
                    yield Finding(what, ratio, "x", "within 5 %", ratio <= 1.05)

    def waiting(self) -> Iterator[Finding]:
        """The share of the possible rate that a contender reaches with a slow server.

        The possible rate is that of ``limit``, which does almost no work of its own. The nominal
        rate is out of reach, as the server needs a little longer than its delay.
        """
        possible = self.concurrency / DELAY
        limit = 0.0
        for place, contender in enumerate(CONTENDERS):
            if contender.uvloop or len(contender.verbs) == 1:
                continue
            with fallback("--delay", str(DELAY)) as origin:
                command = ["benchmarks.one", str(place), "--origin", origin]
                command += ["--requests", str(self.concurrency * 100)]
                rates = [self.run(*command)["per_second"] for _ in range(self.rounds)]
            part = median(rates) / possible * 100
            limit = limit or part
            yield Finding(f"of what a server of 50 ms allows, {contender.label}", part, "%")
            if contender.name.startswith("RingMe"):
                beside = part / limit * 100
                what = f"the same beside the limit, {contender.label}"
                yield Finding(what, beside, "%", "at least 97", beside >= 97)

    def imports(self) -> Iterator[Finding]:
        """The cost of importing."""
        for statement in OURS:
            # Compiled first, as pip compiles what it installs.
            self.importing(statement)
            pairs = [
                (self.importing(statement), self.importing(THEIRS))
                for _ in range(2 * self.rounds + 1)
            ]
            ratio = median(more / less for more, less in pairs)
            what = f"`{statement}` beside `{THEIRS}`"
            yield Finding(what, ratio, "x", "at most 1.15", ratio <= 1.15)

    def steps(self) -> Iterator[Finding]:
        """The cost of single steps, beside ``json.loads`` of the record."""
        from benchmarks.micro import STEPS  # noqa: PLC0415 - the SDK, which the others do not need

        found = self.run("benchmarks.micro")
        for step in STEPS:
            ratio = found[step.name]
            target = f"below {step.at_most:g}"
            yield Finding(step.name, ratio, "x json.loads", target, ratio < step.at_most)

    def inside(self, look: str, count: int) -> dict[str, float]:
        """Run ``benchmarks.inside`` in its own process."""
        return self.run("benchmarks.inside", look, "--count", str(count))

    @staticmethod
    def run(module: str, *arguments: str) -> dict[str, float]:
        """Run a module of the benchmark, and parse its output."""
        command = [sys.executable, "-m", module, *arguments]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found: dict[str, float] = json.loads(done.stdout)
        return found

    @staticmethod
    def importing(statement: str) -> float:
        """Measure the CPU time of an import in a fresh process."""
        program = (
            f"import time\nb = time.process_time()\n{statement}\nprint(time.process_time() - b)"
        )
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        command = [sys.executable, "-c", program]
        done = subprocess.run(
            command, env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
        return float(done.stdout)


SECTIONS: dict[str, Callable[[Looks], Iterator[Finding]]] = {
    "share": Looks.share,
    "memory": Looks.memory,
    "size": Looks.size,
    "waiting": Looks.waiting,
    "imports": Looks.imports,
    "steps": Looks.steps,
}


def sizes(largest: int) -> list[int]:
    """Return 1,000, 10,000 and so on up to the largest."""
    found = [1_000]
    while found[-1] * 10 <= largest:
        found.append(found[-1] * 10)
    return found
