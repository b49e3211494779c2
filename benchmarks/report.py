"""The table on the terminal, and the JSON."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.race import Line, Spread


def table(lines: list[Line]) -> Iterator[str]:
    """Write the table of a race, as Markdown."""
    for verb in dict.fromkeys(line.verb for line in lines):
        yield f"| {verb} | CPU, × plain | requests a second, × plain | CPU | a second |"
        yield "| --- | --- | --- | --- | --- |"
        for line in lines:
            if line.verb == verb:
                yield row(line)
        yield ""


def row(line: Line) -> str:
    """Write one line."""
    if line.missing:
        return f"| {line.label} | left out: {line.missing} | | | |"
    cpu, rate = Spread.of(line.cpu_us), Spread.of(line.per_second)
    return (
        f"| {line.label} | {span(line.cpu_ratio)} | {span(line.rate_ratio)} "
        f"| {cpu.median:.0f} µs | {rate.median:,.0f} |"
    )


def span(ratios: list[float]) -> str:
    """Write a median, with the lowest and highest value."""
    spread = Spread.of(ratios)
    if len(ratios) == 1:
        return f"{spread.median:.2f}"
    return f"{spread.median:.2f} ({spread.least:.2f}–{spread.most:.2f})"


def as_json(lines: list[Line]) -> list[dict[str, object]]:
    """Return all measurements."""
    return [
        {
            "contender": line.label,
            "verb": line.verb,
            "cpu_us": line.cpu_us,
            "per_second": line.per_second,
            "cpu_ratio": line.cpu_ratio,
            "rate_ratio": line.rate_ratio,
            "missing": line.missing,
        }
        for line in lines
    ]
