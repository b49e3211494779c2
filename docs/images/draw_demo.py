"""Run ``ringme demo`` and draw what it prints into demo.svg, beside this file."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 80
COMMAND = "ringme demo"

# Rich's own frame, without the font that it would fetch from the network.
FRAME = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
    font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
    font-size: {char_height}px;
    line-height: {line_height}px;
    font-variant-east-asian: full-width;
}}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main() -> None:
    """Run it and draw it."""
    told = {"FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "PYTHONIOENCODING": "utf-8"}
    program = "import sys; from ringme_async.cli import main; sys.exit(main())"
    shown = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", program, *COMMAND.split()[1:]],
        env={**os.environ, **told},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        text=True,
        encoding="utf-8",
    ).stdout
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text.from_ansi(f"$ {COMMAND}\n{shown.rstrip()}"))
    picture = console.export_svg(title=COMMAND, code_format=FRAME, unique_id="demo")
    lines = [line.rstrip() for line in picture.splitlines()]
    (Path(__file__).parent / "demo.svg").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
