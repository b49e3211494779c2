"""What a file is by its first bytes, so that no run overwrites somebody else's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringme_async._internal.file_kind import FileKind, file_kind, foreign_file

LINES = {
    '{"run": "r", "tenant": "12", "client": {}}\n': FileKind.RECORDS,
    '{"run": "r", "tenant": "12", "sent": {}}\n': FileKind.JOURNAL,
    '{"run": "r", "tenant": "12", "sent": {}, "answered": {}}\n': FileKind.WRITES,
    '{"run": "r", "tenant": "12", "error": "ServerError"}\n': FileKind.FAILURES,
    '{"run": "r", "tenant": "12", "error": "ServerError", "plan": "p"}\n': FileKind.APPLY_FAILURES,
    '{"run": "r", "tenant": "12", "mood": {}}\n': FileKind.OTHER_LINES,
    '{"tenant": "12"}\n': FileKind.OTHER_LINES,
    "client_id,timezone\n": FileKind.FOREIGN,
    "[1, 2]\n": FileKind.FOREIGN,
    '{"run": "': FileKind.HALF_A_LINE,
    "": FileKind.EMPTY,
}


@pytest.mark.parametrize("text", LINES, ids=lambda text: text[:40])
def test_the_first_line_tells_what_a_file_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file"
    path.write_text(text, "utf-8")

    assert file_kind(path) is LINES[text]


@pytest.mark.parametrize("text", LINES, ids=lambda text: text[:40])
def test_an_output_takes_only_files_of_its_own_kind_and_empty_ones(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "file"
    path.write_text(text, "utf-8")
    kind = LINES[text]

    assert foreign_file(path, kind) is None
    said = foreign_file(path)
    assert (said is None) is (kind is FileKind.EMPTY)
    assert said is None or kind.value in said


def test_a_file_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert file_kind(tmp_path / "none") is FileKind.EMPTY
