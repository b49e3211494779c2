"""The page on the architecture names every room that there is, and none that there is not."""

from __future__ import annotations

import re

from tests.docs.stage import DOCS
from tests.test_architecture import BESIDE, DEPTH

PAGE = (DOCS / "architecture.md").read_text("utf-8")


def test_the_table_of_rooms_has_every_room_once() -> None:
    table = PAGE.partition("## The rooms")[2].partition("Beside them")[0]
    first_cells = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    rooms = [room.rstrip("/") for cell in first_cells for room in re.findall(r"`(.+?)`", cell)]
    # `environment` stands in the row of the room that it serves.
    assert "`environment` reads" in table
    assert sorted([*rooms, "environment"]) == sorted([*DEPTH, "__init__"])


def test_what_stands_beside_the_core_is_named() -> None:
    beside = PAGE.partition("Beside them")[2].partition("**Arrows")[0]
    assert {room for room in BESIDE if f"`{room}/`" not in beside} == {"__main__"}
