"""Lines are written whole or not at all, and can be read however the writer ended."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ringme_async.mirror import OutputError
from ringme_async.mirror.jsonl_file import Entry, JSONLFile

ENTRIES: list[Entry] = [
    {"n": 1},
    {"n": "\u0437\u0432\u0443\u043a\U0001f4de"},
    {"n": [1, {"a": None}]},
]


def written(path: Path, entries: list[Entry] = ENTRIES) -> bytes:
    file = JSONLFile(str(path))
    for entry in entries:
        file.append(entry)
    file.sync()
    file.close()
    return path.read_bytes()


async def read(path: Path) -> list[Entry]:
    found: list[Entry] = []
    await JSONLFile(str(path)).read(lambda _number, entry, _line: found.append(entry))
    return found


async def test_written_entries_are_read_back(tmp_path: Path) -> None:
    whole = written(tmp_path / "lines")
    assert whole.count(b"\n") == 3
    assert await read(tmp_path / "lines") == ENTRIES
    assert (tmp_path / "lines").read_bytes() == whole


async def test_a_half_written_last_line_is_cut_off_wherever_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    whole = written(path)
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        lines = whole[:length].count(b"\n")
        assert await read(path) == ENTRIES[:lines]
        assert path.read_bytes() == b"".join(whole.splitlines(keepends=True)[:lines])


async def test_the_next_line_replaces_a_half_written_one(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    whole = written(path)
    path.write_bytes(whole[:-3])
    file = JSONLFile(str(path))
    file.open()
    await file.read(lambda *_: None)
    file.append(ENTRIES[-1])
    file.close()
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "malformed",
    [b"{", b"", b'{"n": "\xd0"}', b"[1]", b"\0\0\0", b'{"n": 1}{"n": 2}', b"[" * 100_000],
    ids=["half", "empty", "half a letter", "no object", "zeros", "two", "deep"],
)
async def test_a_malformed_line_in_the_middle_is_reported_with_its_number(
    tmp_path: Path, malformed: bytes
) -> None:
    path = tmp_path / "lines"
    content = b'{"n": 1}\n' + malformed + b'\n{"n": 2}\n{"n": '
    path.write_bytes(content)
    with pytest.raises(OutputError, match=r"lines, line 2: this is no line of such a run"):
        await read(path)
    assert path.read_bytes() == content


async def test_half_of_a_surrogate_pair_is_read_back(tmp_path: Path) -> None:
    entry: Entry = {"n": "\ud83d \u044f"}
    written(tmp_path / "lines", [entry])
    assert await read(tmp_path / "lines") == [entry]


async def test_a_missing_file_is_empty_and_reading_does_not_create_it(tmp_path: Path) -> None:
    file = JSONLFile(str(tmp_path / "lines"))
    assert file.is_empty
    assert await read(tmp_path / "lines") == []
    file.sync()
    file.remove()
    file.close()
    assert os.listdir(tmp_path) == []


async def test_reading_a_long_file_yields_to_the_event_loop(tmp_path: Path) -> None:
    written(tmp_path / "lines", [{"n": number} for number in range(1_200)])
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    assert len(await read(tmp_path / "lines")) == 1_200
    task.cancel()
    assert turns == 2


def test_a_line_is_written_whole_over_short_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:3])))
    assert written(tmp_path / "lines", [{"n": 1}, {"n": 2}]) == b'{"n": 1}\n{"n": 2}\n'


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines"
    whole = written(path)
    file = JSONLFile(str(path))
    monkeypatch.setattr(os, "write", full_after(3))
    with pytest.raises(OutputError, match="lines: No space left on device"):
        file.append({"n": 4})
    file.close()
    assert path.read_bytes() == whole


def full_after(count: int) -> Callable[[int, memoryview], int]:
    write = os.write
    left = [count]

    def write_some(fd: int, data: memoryview) -> int:
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, bytes(data[: left.pop()]))

    return write_some


def test_replacing_lines_is_atomic(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    whole = written(path)
    file = JSONLFile(str(path))
    file.open()
    file.replace(whole.splitlines(keepends=True)[1:])
    file.append({"n": 4})
    file.close()
    assert path.read_bytes() == whole.split(b"\n", 1)[1] + b'{"n": 4}\n'
    file.replace([])
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("action", [JSONLFile.open, lambda file: file.append({})])
def test_an_unwritable_file_is_reported_with_its_path(
    tmp_path: Path, action: Callable[[JSONLFile], object]
) -> None:
    with pytest.raises(OutputError, match=r"gone.lines: No such file or directory"):
        action(JSONLFile(str(tmp_path / "gone" / "lines")))


def test_a_path_that_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="pipe is no ordinary file"):
        _ = JSONLFile(str(tmp_path / "pipe")).is_empty
