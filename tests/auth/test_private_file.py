"""Locks between processes: one holder, freed when it dies, removed when it is released."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ringme_async.auth import private_file
from ringme_async.auth.private_file import FileLock, disown_all
from ringme_async.errors import InvalidRequest

ROOT = Path(__file__).parents[2]

HOLDER = """
import os, sys, time
from ringme_async.auth.private_file import FileLock
lock = FileLock(sys.argv[1])
assert lock.acquire()
if not os.fork():
    print(os.getpid(), flush=True)
time.sleep(600)
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "lock")


def test_a_lock_has_one_holder_at_a_time(path: str) -> None:
    first, second = FileLock(path), FileLock(path)
    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    first.release()
    assert not first.acquire()
    second.release()


def test_a_lock_file_is_private_and_removed_on_release(path: str) -> None:
    lock = FileLock(path)
    lock.acquire()
    assert os.stat(path).st_mode & 0o777 == 0o600
    lock.release()
    assert not os.path.exists(path)


def test_a_link_in_place_of_the_lock_file_is_refused(path: str) -> None:
    os.symlink("elsewhere", path)
    with pytest.raises(InvalidRequest, match="symbolic link"):
        FileLock(path).acquire()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_lock_file_that_its_last_holder_removed_is_not_the_lock(
    path: str, replaced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = FileLock(path)
    last.acquire()
    grabbed: list[int] = []

    def late(fd: int) -> bool:
        if not grabbed:
            last.release()
            if replaced:
                Path(path).touch(0o600)
        grabbed.append(fd)
        return True

    monkeypatch.setattr(private_file, "grab", late)
    lock = FileLock(path)
    assert lock.acquire()
    assert len(grabbed) == 2
    assert os.path.exists(path)
    lock.release()


def test_a_lock_that_cannot_be_released_is_freed_by_closing_its_file(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_fd: int) -> None:
        raise OSError(37, "No locks available")

    lock = FileLock(path)
    lock.acquire()
    with monkeypatch.context() as patch:
        patch.setattr(private_file, "let_go", broken)
        lock.release()
    assert FileLock(path).acquire()
    disown_all()


def test_a_child_process_closes_the_locks_of_its_parent(path: str) -> None:
    lock = FileLock(path)
    lock.acquire()
    disown_all()
    other = FileLock(path)
    assert other.acquire()
    lock.disown()
    lock.release()
    assert not lock.acquire()
    other.release()


def test_a_lock_is_free_once_its_holder_is_killed_although_a_child_lives_on(path: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            lock = FileLock(path)
            assert not lock.acquire()
            holder.kill()
            holder.wait()
            os.kill(child, 0)
            assert lock.acquire()
            lock.release()
        finally:
            os.kill(child, signal.SIGKILL)
