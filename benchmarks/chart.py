"""The chart: a bar for each contender's CPU time, relative to plain aiohttp."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from benchmarks.race import Line, Spread

# Narrow, with labels above the bars, so that a phone can show readable letters.
_LEFT, _BAR, _HEIGHT, _WIDTH, _TOP = 24, 330, 36, 440, 54
_LONGEST = 2.0
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.page{fill:#fff}.num{fill:#57606a}"
    ".verb{font-weight:600}.ours{fill:#1a7f64}.other{fill:#9aa4af}"
    ".plain{stroke:#1f2328;stroke-dasharray:3 3}.span{stroke:#1f2328;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#131416}.num{fill:#9198a1}"
    ".ours{fill:#2ea88a}.other{fill:#6e7681}.plain,.span{stroke:#e6edf3}}"
)


def chart(lines: list[Line], upstream: str) -> str:
    """Draw the chart of a race."""
    shown = [line for line in lines if line.cpu_ratio]
    drawn = list(_rows(shown))
    height = _TOP + _HEIGHT * len(drawn) + 8
    plain = _LEFT + _BAR / _LONGEST
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        "<title>CPU time of a request, beside plain aiohttp</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="page" width="{_WIDTH}" height="{height}"/>',
        f'<text x="12" y="20">Client CPU for a request, × plain aiohttp ({escape(upstream)});</text>',
        '<text x="12" y="38">less is better; line: least to most of the rounds</text>',
        f'<line class="plain" x1="{plain}" x2="{plain}" y1="{_TOP}" y2="{height - 4}"/>',
        *(part.replace("@y", f"{_TOP + _HEIGHT * place}") for place, part in enumerate(drawn)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _rows(lines: list[Line]) -> Iterator[str]:
    for verb in dict.fromkeys(line.verb for line in lines):
        yield f'<g transform="translate(0 @y)"><text class="verb" x="12" y="28">{verb}</text></g>'
        for line in lines:
            if line.verb == verb:
                yield _bar(line)


def _bar(line: Line) -> str:
    spread = Spread.of(line.cpu_ratio)
    unit = _BAR / _LONGEST
    length, least, most = (
        min(value, _LONGEST) * unit for value in (spread.median, spread.least, spread.most)
    )
    kind = "ours" if line.label.startswith("RingMe") else "other"
    beyond = " →" if spread.median > _LONGEST else ""
    return (
        '<g transform="translate(0 @y)">'
        f'<text x="{_LEFT}" y="13">{escape(line.label)}</text>'
        f'<rect class="{kind}" x="{_LEFT}" y="18" width="{length:.1f}" height="12" rx="2"/>'
        f'<line class="span" x1="{_LEFT + least:.1f}" x2="{_LEFT + most:.1f}" y1="24" y2="24"/>'
        f'<text class="num" x="{_LEFT + max(length, most) + 8:.1f}" y="29">'
        f"{spread.median:.2f}{beyond}</text></g>"
    )
