"""Show a value as a table: in a terminal with rich, in a notebook as HTML."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Row", "html_table", "rich_table", "worded"]

Row = tuple[str, str]


def worded(value: object) -> str:
    """Write a value for readers, without terminal control characters."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "".join(char if char.isprintable() else "\ufffd" for char in str(value))


def rich_table(title: str, rows: Iterable[Row]) -> Table:
    """Make a rich table; only rich calls this, so rich is installed.

    Args:
        title: The title above the table.
        rows: Names and values.
    """
    # rich is an optional dependency: importing it at the top would require it.
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(title=Text(title), title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        # A plain string would be read as markup.
        table.add_row(Text(name), Text(value))
    return table


def html_table(title: str, rows: Iterable[Row]) -> str:
    """Make an HTML table; all values are escaped.

    Args:
        title: The caption of the table.
        rows: Names and values.
    """
    lines = "".join(
        f'<tr><th scope="row" style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f"<table><caption>{escape(title)}</caption><tbody>{lines}</tbody></table>"
