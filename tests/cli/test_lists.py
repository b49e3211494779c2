"""Common to all lists: their form, columns and source."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringme_async import JSON, ClientUpdate
from ringme_async.cli.changes_file import Changes, read_changes
from ringme_async.cli.codes import ExitCode
from ringme_async.cli.errors import CouldNotStart, WrongUsage
from ringme_async.cli.inputs import read_input
from tests.cli.conftest import Here
from tests.cli.shell import Shell

Read = Callable[[str], Changes]
WORDS = st.text('abc \u044f",;[]{}:\\', min_size=1, max_size=8).map(str.strip).filter(bool)
CHANGES = st.dictionaries(
    st.integers(1, 99), st.tuples(st.integers(0, 9), WORDS), min_size=1, max_size=5
)
CHANGE = '{"client_id": 1, "hold_music": 5}'


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(content: str) -> Changes:
        path = tmp_path / "changes"
        path.write_text(content, encoding="utf-8")
        return read_changes(str(path), "utf-8", None, has_auth=True)

    return read


def refusal(read: Read, content: str) -> list[str]:
    with pytest.raises(CouldNotStart) as caught:
        read(content)
    return [one.rpartition("/")[2] for one in caught.value.sentences]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(wishes=CHANGES, indent=st.none() | st.integers(0, 4))
def test_csv_and_every_form_of_json_say_the_same(
    wishes: dict[int, tuple[int, str]], indent: int | None, read: Read
) -> None:
    objects: list[dict[str, JSON]] = [
        {"client_id": who, "hold_music": music, "extra.note": f"n{note}"}
        for who, (music, note) in wishes.items()
    ]
    table = io.StringIO()
    writer = csv.DictWriter(table, objects[0])
    writer.writeheader()
    writer.writerows(objects)
    expected = [
        (str(who), ClientUpdate(hold_music=music, extra={"note": f"n{note}"}))
        for who, (music, note) in wishes.items()
    ]
    for content in (
        table.getvalue(),
        "\n".join(map(json.dumps, objects)),
        json.dumps(objects, indent=indent, ensure_ascii=False),
        " \n" + ",".join(map(json.dumps, objects)).join("[]") + "\n\n",
    ):
        assert list(read(content)) == expected


def test_one_object_over_several_lines_is_a_list_of_one(read: Read) -> None:
    (change,) = read(json.dumps(json.loads(CHANGE), indent=2))
    assert change == ("1", ClientUpdate(hold_music=5))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "changes: there is no change in it"),
        ("[1]", "changes, line 1: this is no JSON object"),
        (f"[\n{CHANGE},\n[2]]", "changes, line 3: this is no JSON object"),
        (f"[{CHANGE},\n", "changes, line 2: the JSON array is malformed from here on: Expecting v"),
        (f"[\n{CHANGE}\n\n", "changes, line 4: the JSON array is malformed from here on: a comma"),
        (f"[{CHANGE}\n{CHANGE}]", "changes, line 2: the JSON array is malformed from here on: a"),
        (f"[{CHANGE}]\n{CHANGE}", "changes, line 2: there is more after the JSON array"),
        ('[\n{"a": 1,\n "b" 2}]', "changes, line 3: the JSON array is malformed from here on: E"),
        ('[\n{"a": 1, "a": 2}]', "changes, line 2: the JSON array is malformed from here on: a f"),
        ("[" * 100_000, "changes, line 1: the JSON array is malformed from here on: this is no"),
        (f'[{CHANGE},\n{{"timezon": "x"}}]', "changes, line 2: unknown fields: 'timezon' (did you"),
        ('{"client_id": 1, "": 5}', "changes, line 1: field 2 has no name"),
        ('{"client_id": 1, "extra.": 5}', "changes, line 1: field 'extra.': it does not name a"),
    ],
)
def test_an_error_in_json_is_reported_with_its_line(content: str, message: str, read: Read) -> None:
    assert refusal(read, content)[0].startswith(message)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("client_id,extra.", "column 'extra.': it does not name a field"),
        ("client_id,EXTRA. ", "column 'extra.': it does not name a field"),
        ("client_id,extra..x", "column 'extra..x': the name of a field has letters"),
        ("client_id,extra.x.y", "column 'extra.x.y': the name of a field has letters"),
        ("client_id,extra. x", "column 'extra. x': the name of a field has letters"),
        ("client_id,extra.a b", "column 'extra.a b': the name of a field has letters"),
        ("client_id,,timezone", "column 2 has no name"),
        ("client_id,timezone,TimeZone", "a column is named twice: 'timezone'"),
        ("client_id,extra.x,Extra.x", "a column is named twice: 'extra.x'"),
        ("client_id,time zone", "unknown columns: 'time zone' (did you mean 'timezone'?)"),
        ("client_id,name", "unknown columns: 'name' (this field can be read, and not changed)"),
        ("client_id,\ufefftimezone", "unknown columns: '\\ufefftimezone' (did you mean 'timezone'"),
    ],
)
def test_a_column_that_names_no_field_is_refused(header: str, message: str, read: Read) -> None:
    (sentence,) = refusal(read, f"{header}\n1,5,6\n")
    assert sentence.startswith(f"changes: {message}")


def test_the_name_of_another_field_keeps_its_case(read: Read) -> None:
    (change,) = read("Client_ID,Extra.Colour,extra.colour\n1,red,5\n")
    assert change == ("1", ClientUpdate(extra={"Colour": "red", "colour": 5}))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("=5",), "--extra takes NAME=VALUE"),
        (("a b=5",), "--extra 'a b': the name of a field has letters"),
        (("a.b=5",), "--extra 'a.b': the name of a field has letters"),
        (("a=5", "a=6"), "--extra 'a': it is given twice"),
        (("name=5",), "name cannot be changed"),
    ],
)
async def test_the_option_extra_checks_field_names_too(
    extra: tuple[str, ...], message: str, here: Here
) -> None:
    options = [part for one in extra for part in ("--extra", one)]
    ended = await here("set", "12", *options)
    assert ended.code == ExitCode.WRONG_USAGE
    assert ended.err.startswith(f"ringme: {message}")


@pytest.mark.parametrize("stdin", ["-", "/dev/stdin"])
async def test_a_list_may_come_from_standard_input(stdin: str, shell: Shell) -> None:
    tenants = '[{"name": "acme", "client_id": 12}]'
    ended = await shell.fed(tenants, "get", "acme", "--tenants", stdin, "--json")
    assert (ended.code, ended.err, ended.json["id"]) == (ExitCode.ALL_WELL, "", 12)
    ended = await shell.fed(tenants, "refresh", "--tenants", stdin, "--into", "clients.jsonl")
    assert (ended.code, ended.err) == (ExitCode.ALL_WELL, "")
    ended = await shell.fed("client_id,hold_music\n12,5\n", "plan", stdin, "--json")
    assert (ended.code, len(ended.json["changes"])) == (ExitCode.ALL_WELL, 1)


async def test_secrets_of_standard_input_have_no_mode_to_warn_of(shell: Shell) -> None:
    shell.fake.add_application("app", "own-s3cret", tenant=12)
    ended = await shell.fed(
        "name,app_id,secret\nacme,app,own-s3cret\n", "get", "acme", "--tenants", "-"
    )
    assert (ended.code, ended.err) == (ExitCode.ALL_WELL, "")


async def test_standard_input_is_named_in_messages(shell: Shell) -> None:
    ended = await shell.fed("name,client_id\nacme,\n,12\n", "get", "acme", "--tenants", "-")
    assert ended.code == ExitCode.COULD_NOT_START
    assert ended.err.startswith("ringme: standard input, line 2: it has neither a client_id nor")
    ended = await shell.fed("name,client_id\n", "get", "acme", "--tenants", "-")
    assert ended.err == "ringme: standard input: there is no tenant in it\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "-", "--tenants", "/dev/stdin"], "standard input can be only one of the inputs"),
        (["plan", "c.csv", "--out", "-"], "--out -: name a file, or print the plan with --json"),
        (["refresh", "--tenants", "t.csv", "--into", "-"], "--into -: name a file, such as"),
        (["refresh", "--tenants", "t.csv", "--into", "/dev/stdout"], "--into /dev/stdout: name"),
        (["apply", "-"], "PLAN -: name the file of the plan, which --resume reads again"),
        (["apply", "p.json", "--journal", "-"], "--journal -: name a file, which --resume"),
        (["get", "12", "--tokens", "-"], "--tokens -: tokens are kept in a file: name one"),
        (["get", "12", "--ca", "-"], "--ca -: name a file of certificates"),
        (["get", "acme", "--tenants", ""], "the name of a list is empty: name a file, or -"),
    ],
)
async def test_a_stream_in_place_of_a_file_is_refused(
    arguments: list[str], message: str, here: Here, shell: Shell
) -> None:
    shell.write("t.csv", "client_id\n12\n")
    shell.write("c.csv", "client_id,hold_music\n12,5\n")
    ended = await here(*arguments)
    assert (ended.code, ended.out) == (ExitCode.WRONG_USAGE, "")
    assert ended.err.startswith(f"ringme: {message}")
    assert not (shell.folder / "-").exists()


def test_a_closed_standard_input_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CouldNotStart, match="standard input is closed: name a file"):
        read_input("-")


def test_a_list_without_a_name_is_wrong_usage() -> None:
    with pytest.raises(WrongUsage, match="the name of a list is empty"):
        read_input("")
