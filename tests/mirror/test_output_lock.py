"""Two runs on one output exclude each other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ringme_async.mirror import OutputError, OutputInUse
from ringme_async.mirror import output_lock as lock
from ringme_async.mirror.output_lock import locked


def test_a_locked_output_is_refused_by_name(tmp_path: Path) -> None:
    output = str(tmp_path / "clients.jsonl")
    with (
        locked(output),
        pytest.raises(OutputInUse, match=r"clients\.jsonl is being written by another run"),
        locked(output),
    ):
        pass


def test_a_block_releases_its_lock_and_leaves_no_file(tmp_path: Path) -> None:
    output = str(tmp_path / "clients.jsonl")
    for _ in range(2):
        with locked(output):
            assert os.listdir(tmp_path) == ["clients.jsonl.lock"]
        assert os.listdir(tmp_path) == []


def test_the_lock_file_of_a_killed_run_does_no_harm(tmp_path: Path) -> None:
    output = tmp_path / "clients.jsonl"
    (tmp_path / "clients.jsonl.lock").touch()
    with locked(str(output)):
        pass
    assert os.listdir(tmp_path) == []


def test_all_names_of_one_file_share_one_lock(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "clients.jsonl")
    with (
        locked(str(tmp_path / "clients.jsonl")),
        pytest.raises(OutputInUse),
        locked(str(tmp_path / "link")),
    ):
        pass


def test_a_lock_on_a_removed_file_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "clients.jsonl"
    path = tmp_path / "clients.jsonl.lock"
    grab = lock.grab
    interventions = [path.unlink, lambda: (path.unlink(), path.touch())]

    def grab_late(fd: int) -> bool:
        if interventions:
            interventions.pop()()
        return grab(fd)

    monkeypatch.setattr(lock, "grab", grab_late)
    with locked(str(output)), pytest.raises(OutputInUse), locked(str(output)):
        pass
    assert not interventions


def test_a_lock_that_cannot_be_created_is_reported_with_its_path(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"clients\.jsonl: there is no folder .*gone"),
        locked(str(tmp_path / "gone" / "clients.jsonl")),
    ):
        pass
