"""The reference names everything that is public, and says of it what the code says."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from datetime import datetime
from types import NoneType
from typing import Any, get_args, get_type_hints

import attrs
import pytest

import ringme_async
import ringme_async.mirror
import ringme_async.testing
import ringme_async.transports.httptools
from ringme_async import Client, Event, Request, Response, RingMeError, errors, observers
from ringme_async.cli.app import app
from ringme_async.cli.codes import ExitCode
from ringme_async.observers import otel
from ringme_async.resources.clients.model import FIELDS
from ringme_async.resources.clients.update import WRITABLE
from ringme_async.testing import faults
from ringme_async.testing.fake.client_schema import FIELDS as ON_THE_WIRE
from tests.docs.stage import DOCS

REFERENCE = DOCS / "reference"


def rows_of(page: str, title: str) -> Iterator[list[str]]:
    """Read the table whose first column has this title: its rows, cell by cell."""
    lines = iter((REFERENCE / page).read_text("utf-8").splitlines())
    for line in lines:
        if line.startswith(f"| {title} |"):
            break
    next(lines)
    for line in lines:
        if not line.startswith("|"):
            return
        yield [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def described() -> set[str]:
    """Name what the pages describe with a directive, by its whole name."""
    names: set[str] = set()
    for page in REFERENCE.glob("*.md"):
        module = ""
        for line in page.read_text("utf-8").splitlines():
            found = re.match(r"\.\. ([\w:]+):: ([\w.]+)", line)
            if found is None:
                continue
            directive, name = found.groups()
            if directive == "currentmodule":
                module = f"{name}."
            elif directive == "automodule":
                names.add(name)
            else:
                names.add(name if name.startswith("ringme_async.") else module + name)
    return names


DOORS = [ringme_async, ringme_async.mirror, observers, otel, ringme_async.testing, faults]


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_every_public_name_is_described(door: Any) -> None:
    assert {f"{door.__name__}.{name}" for name in door.__all__} - described() == set()


def fields_told_of(kind: type) -> set[str]:
    """Name the fields that a class says the meaning of, in its docstring or in a table."""
    texts = [inspect.getdoc(one) or "" for one in kind.__mro__ if one is not object]
    listed = re.findall(r"^ +(\w+): ", "\n".join(texts), re.MULTILINE)
    if kind in {Request, Response}:
        title = f"field of a `{kind.__name__}`"
        listed += [row[0].strip("`") for row in rows_of("transports.md", title)]
    return set(listed)


PUBLIC_CLASSES = [
    kind
    for door in DOORS
    for kind in (getattr(door, name) for name in door.__all__)
    # The fields of events are in the table of events.
    if inspect.isclass(kind) and attrs.has(kind) and kind not in get_args(Event)
]


@pytest.mark.parametrize("kind", PUBLIC_CLASSES, ids=lambda kind: kind.__qualname__)
def test_every_public_field_of_a_class_has_its_meaning(kind: type) -> None:
    public = {field.name for field in attrs.fields(kind) if not field.name.startswith("_")}
    assert public - fields_told_of(kind) == set()


def test_nothing_is_described_that_does_not_exist() -> None:
    def exists(name: str) -> bool:
        parts = name.split(".")
        found: object = ringme_async
        for part in parts[1:]:
            found = getattr(found, part, None)
        return found is not None

    assert [name for name in described() if not exists(name)] == []


def in_words(hint: object) -> str:
    """Write a type as the table does, without None."""
    kinds = [kind for kind in get_args(hint) or (hint,) if kind is not NoneType]
    return " | ".join(kind.__name__ for kind in kinds)


FIELD_ROWS = {row[0].strip("`"): row[1:] for row in rows_of("client.md", "field")}


def test_the_table_has_the_fields_of_a_client_in_their_order() -> None:
    assert tuple(FIELD_ROWS) == FIELDS


@pytest.mark.parametrize("field", FIELDS)
def test_the_table_says_of_a_field_what_the_code_says(field: str) -> None:
    wire, here, changed, meaning = FIELD_ROWS[field]
    hints = get_type_hints(Client, localns={"datetime": datetime})
    assert here.strip("`") == in_words(hints[field])
    assert changed == ("yes" if field in WRITABLE else "")
    assert all(kind in wire for kind in ON_THE_WIRE[field].types)
    assert meaning


def test_the_tables_of_events_have_every_event_with_its_fields() -> None:
    told = {row[0].strip("`"): row[1] for row in rows_of("events.md", "event")}
    assert told == {
        kind.__name__: ", ".join(f"`{field.name}`" for field in attrs.fields(kind))
        for kind in get_args(Event)
    }


def test_the_table_of_the_fields_of_events_says_what_the_code_says() -> None:
    told = {row[0].strip("`"): row[1].strip("`") for row in rows_of("events.md", "field")}
    hints = {
        name: in_words(hint)
        for kind in get_args(Event)
        for name, hint in get_type_hints(kind).items()
    }
    assert told == hints


ERRORS = [
    kind
    for kind in vars(errors).values()
    if inspect.isclass(kind) and issubclass(kind, RingMeError)
]
ERROR_ROWS = {row[0].strip("`"): row[1:] for row in rows_of("errors.md", "error")}


def test_the_table_has_every_error() -> None:
    assert list(ERROR_ROWS) == [kind.__name__ for kind in ERRORS]


@pytest.mark.parametrize("error", [kind.__name__ for kind in ERRORS])
def test_every_error_has_a_cause_and_a_cure(error: str) -> None:
    cause, cure = ERROR_ROWS[error]
    assert cause
    assert cure


def test_the_tree_of_errors_is_that_of_the_code() -> None:
    def drawn(kind: type[RingMeError], depth: int = 0) -> Iterator[str]:
        yield "  " * depth + kind.__name__
        for child in ERRORS:
            if kind in child.__bases__:
                yield from drawn(child, depth + 1)

    page = (REFERENCE / "errors.md").read_text("utf-8")
    tree = re.search(r"```text\n(RingMeError\n.*?)```", page, re.DOTALL)
    assert tree is not None
    shown = [re.sub(r"\s*\(.*", "", line) for line in tree[1].splitlines()]
    assert shown == list(drawn(RingMeError))


def test_the_page_on_the_command_line_has_every_command() -> None:
    shown = " ".join(row[0] for row in rows_of("cli.md", "command"))
    commands = {name for name in app if not name.startswith("-")}
    assert {name for name in commands if f"`ringme {name}" not in shown} == set()


@pytest.mark.parametrize("command", [name for name in app if not name.startswith("-")])
def test_the_page_on_the_command_line_has_every_option_of_a_command(command: str) -> None:
    told = {
        option
        for names, commands, _ in rows_of("cli.md", "option")
        if command in commands.split(", ")
        or commands == "all"
        or (commands == "all but demo and fake" and command not in {"demo", "fake"})
        for option in re.findall(r"--[\w-]+", names)
    }
    options = {
        name
        for argument in app[command].assemble_argument_collection()
        for name in argument.names
        if name.startswith("--")
    }
    if command == "set":
        fields = {f"--{field.replace('_', '-')}" for field in WRITABLE}
        assert told & fields
        assert fields <= options
        options -= fields - told
    assert told == options


def test_the_page_on_the_command_line_has_every_exit_code() -> None:
    assert [int(row[0]) for row in rows_of("cli.md", "code")] == [int(code) for code in ExitCode]
