"""A value as a table: in a terminal by rich, in a notebook as HTML."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Row", "html_table", "rich_table", "worded"]

Row = tuple[str, str]


def worded(value: object) -> str:
    """Write a value as a reader would, without what a terminal takes for a command."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "".join(char if char.isprintable() else "\ufffd" for char in str(value))


def rich_table(title: str, rows: Iterable[Row]) -> Table:
    """Make rich's table; called by rich alone, so that rich is there.

    Args:
        title: What stands above it.
        rows: Names and values.
    """
    # rich is an extra, and not loaded for those who do not use it.
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(title=Text(title), title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        # Text, and not a string: what others wrote is no markup.
        table.add_row(Text(name), Text(value))
    return table


def html_table(title: str, rows: Iterable[Row]) -> str:
    """Write HTML, in which nothing that others wrote is a tag.

    Args:
        title: What stands above it.
        rows: Names and values.
    """
    lines = "".join(
        f'<tr><th scope="row" style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f"<table><caption>{escape(title)}</caption><tbody>{lines}</tbody></table>"
