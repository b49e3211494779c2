"""Messages for file errors: which file, what went wrong, and what to do."""

from __future__ import annotations

import errno
import os
import re

import pytest

from ringme_async._internal.text import describe_file_error, describe_os_error
from ringme_async.cli.codes import ExitCode
from tests.cli.conftest import Here
from tests.cli.shell import Shell

FOLDER = {"folder": "Is a directory; name a file in it"}
NOT_THERE = {"gone/file": "No such file or directory", "file/file": "Not a directory; a part of"}
PLACES = FOLDER | NOT_THERE
INPUTS = {
    "tenants": ["get", "acme", "--tenants", "{}"],
    "changes": ["plan", "{}"],
    "plan": ["apply", "{}"],
    "ca": ["get", "12", "--ca", "{}"],
}
OUTPUTS = {
    "into": ["refresh", "--tenants", "t.csv", "--into", "{}"],
    "database": ["refresh", "--tenants", "t.csv", "--into", "sqlite:///{}"],
    "out": ["plan", "c.csv", "--out", "{}"],
    "journal": ["apply", "p.json", "--journal", "{}"],
    "tokens": ["get", "12", "--tokens", "{}"],
}
RAW = re.compile(r"Errno|\.lock|\.new\b|Traceback")


def lay_out(shell: Shell) -> None:
    (shell.folder / "folder").mkdir()
    shell.write("file", "")
    shell.write("t.csv", "client_id\n12\n")
    shell.write("c.csv", "client_id,hold_music\n12,5\n")
    shell.write("p.json", '{"ringme-plan": 2, "as_wished": 0, "changes": []}')


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("command", INPUTS.values(), ids=INPUTS.keys())
async def test_an_input_that_cannot_be_read_is_named(
    command: list[str], place: str, here: Here, shell: Shell
) -> None:
    lay_out(shell)
    ended = await here(*(part.format(place) for part in command))
    assert (ended.code, shell.fake.requests.total) == (ExitCode.COULD_NOT_START, 0)
    assert f"{place}: {PLACES[place]}" in ended.err
    assert RAW.search(ended.err) is None


@pytest.mark.parametrize("place", [*PLACES, "x" * 300])
@pytest.mark.parametrize("command", OUTPUTS.values(), ids=OUTPUTS.keys())
async def test_an_output_that_cannot_be_written_is_named(
    command: list[str], place: str, here: Here, shell: Shell
) -> None:
    lay_out(shell)
    ended = await here(*(part.format(place) for part in command))
    assert ended.code != ExitCode.ALL_WELL
    # A missing folder is named instead of the file.
    assert place in ended.err or (os.path.dirname(place) or place) in ended.err
    assert RAW.search(ended.err) is None
    assert len(ended.err.splitlines()) == 1


async def test_a_folder_without_permission_is_named_beside_the_output(
    here: Here, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(shell)
    real = os.open

    def refuse(path: str, flags: int, mode: int = 0o777) -> int:
        if str(path).endswith(".lock"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    ended = await here("refresh", "--tenants", "t.csv", "--into", "clients.jsonl")
    message = f"clients.jsonl: a run needs a lock file beside it; {shell.folder}: Permission denied"
    assert (ended.code, ended.err) == (
        ExitCode.COULD_NOT_START,
        f"ringme: {message}; check who may use it\n",
    )


async def test_a_database_that_may_not_be_written_is_named(
    here: Here, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(shell)
    real = os.access

    def refuse(path: str, mode: int) -> bool:
        return path != "file" and real(path, mode)

    monkeypatch.setattr(os, "access", refuse)
    ended = await here("refresh", "--tenants", "t.csv", "--into", "sqlite:///file")
    assert (ended.code, ended.err) == (
        ExitCode.COULD_NOT_START,
        "ringme: file: Permission denied; check who may use it\n",
    )


def test_every_system_error_has_a_message_without_its_number() -> None:
    for number in errno.errorcode:
        error = OSError(number, f"[Errno {number}] odd", "some/path")
        message = describe_file_error("path", error)
        assert message.startswith(f"path: {os.strerror(number)}")
    assert (
        describe_os_error(OSError(-2, "Name or service not known")) == "Name or service not known"
    )
    assert describe_os_error(OSError("odd")) == "odd"
