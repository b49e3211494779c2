"""A client as a table: in a terminal with rich, in a notebook as HTML."""

from __future__ import annotations

import io
import subprocess
import sys
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

from rich.console import Console

from ringme_async import Client, GeoList

CLIENT = Client(
    12,
    name="ringme_test",
    type="J",
    prefix="0001",
    create_date=datetime(2020, 3, 16, 9, 29, 57),
    geo_list=GeoList("RU BY"),
    presence=False,
    record_stereo=True,
    extra={"call_interactive_timeout": 5},
)


def printed(client: Client, width: int = 60) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(client)
    return out.getvalue()


class Cells(HTMLParser):
    """The cells of a table, and every tag that is there."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_rich_shows_the_values_of_the_server_as_a_table() -> None:
    text = printed(CLIENT)

    words = [" ".join(line.split()).strip("│ ") for line in text.splitlines()]
    assert words[0] == "Client 12"
    assert "name │ ringme_test" in words
    assert "type │ J" in words
    assert "prefix │ 0001" in words
    assert "create_date │ 2020-03-16 09:29:57" in words
    assert "geo_list │ RU BY" in words
    assert "presence │ no" in words
    assert "record_stereo │ yes" in words
    assert "call_interactive_timeout │ 5" in words
    assert "timezone" not in text


def test_rich_shows_no_value_as_markup_or_control_character() -> None:
    text = printed(Client(1, name="[red]x[/red] [/]", email="a\x1b[31mb\nc", extra={"[b]\x07": 1}))

    assert "[red]x[/red] [/]" in text
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "a\ufffd[31mb\ufffdc" in text


def test_a_long_value_is_folded_and_not_cut() -> None:
    text = printed(Client(1, jur_address="x" * 100), width=40)

    assert text.count("x") == 100


def test_a_notebook_shows_the_same_as_html() -> None:
    cells = Cells(CLIENT._repr_html_())

    assert cells.tags == {"table", "caption", "tbody", "tr", "th", "td"}
    assert cells.texts[:5] == ["Client 12", "id", "12", "name", "ringme_test"]
    assert cells.texts[-2:] == ["call_interactive_timeout", "5"]


def test_html_shows_no_value_as_a_tag() -> None:
    evil = '<script>alert("1")</script>'
    shown = Client(1, name=evil, extra={evil: [evil]})._repr_html_()

    assert "script" not in Cells(shown).tags
    assert "<script" not in shown
    assert evil in Cells(shown).texts


def test_rich_is_not_loaded_by_a_notebook_or_a_repr() -> None:
    program = (
        "import sys; from ringme_async import Client; c = Client(1, name='x');"
        " repr(c); c._repr_html_(); print('rich' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    ).stdout

    assert said.strip() == "False"
