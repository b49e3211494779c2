"""What users rely on: public names, signatures and exit codes, as ``promises.txt`` records them.

A change of this record breaks somebody's program: give it a line in the changelog. Write the record
anew with ``python -m tests.test_promises``.
"""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

RECORD = Path(__file__).with_name("promises.txt")
DOORS = (
    "ringme_async",
    "ringme_async.mirror",
    "ringme_async.observers",
    "ringme_async.observers.otel",
    "ringme_async.testing",
    "ringme_async.testing.faults",
    "ringme_async.transports.httptools",
)
# Users get these from calls, and never make them.
MADE_BY_THE_SDK = {"BulkRun", "TokenHost"}
OURS = re.compile(r"\bringme_async\.[a-z_0-9.]+\.(?=[A-Z])")
ADDRESS = re.compile(r"<(?:built-in )?(?:function|method) ([\w.]+)[^>]*>|<([\w.]+) object[^>]*>")


def signature_of(value: object) -> str:
    try:
        signature = str(inspect.signature(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ""
    signature = ADDRESS.sub(
        lambda found: f"<{(found[1] or found[2]).rpartition('.')[2]}>", signature
    )
    return OURS.sub("", signature.replace("'", ""))


def members_of(kind: type) -> Iterator[str]:
    """Name the public members that a class of this package has, its own and its parents'."""
    found: dict[str, object] = {}
    for owner in reversed(kind.__mro__):
        if owner.__module__.split(".")[0] == "ringme_async":
            found |= {name: value for name, value in vars(owner).items() if name[0] != "_"}
    for name, value in sorted(found.items()):
        if isinstance(value, property):
            yield f".{name}"
        elif isinstance(value, classmethod | staticmethod) or inspect.isroutine(value):
            bound = inspect.getattr_static(kind, name)
            form = "class " if isinstance(bound, classmethod) else ""
            wait = "async " if inspect.iscoroutinefunction(getattr(kind, name)) else ""
            yield f".{form}{wait}{name}{signature_of(getattr(kind, name))}"
        else:
            yield f".{name}"


def lines_of(door: str) -> Iterator[str]:
    module = import_module(door)
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value):
            parents = [
                parent.__name__ for parent in value.__mro__[1:] if parent.__name__ != "object"
            ]
            yield f"{door}.{name}({', '.join(parents)})"
            if issubclass(value, enum.Enum):
                yield from (f"{door}.{name}.{one.name} = {one.value!r}" for one in value)
            elif name not in MADE_BY_THE_SDK:
                yield f"{door}.{name}{signature_of(value)}"
            yield from (f"{door}.{name}{member}" for member in members_of(value))
        elif inspect.isroutine(value):
            yield f"{door}.{name}{signature_of(value)}"
        else:
            yield f"{door}.{name}"


def exit_codes() -> Iterator[str]:
    codes = import_module("ringme_async.cli.codes").ExitCode
    yield from (f"exit code {int(code)}: {code.name}" for code in codes)


def operations() -> Iterator[str]:
    clients = import_module("ringme_async.resources.clients.resource").Clients
    yield from (f"ringme_async.RingMe.clients{member}" for member in members_of(clients))


def promises() -> list[str]:
    return [*(line for door in DOORS for line in lines_of(door)), *operations(), *exit_codes()]


def test_every_public_name_signature_and_exit_code_is_as_recorded() -> None:
    assert promises() == RECORD.read_text("utf-8").splitlines()


@pytest.mark.parametrize("door", DOORS[:-1])
def test_public_classes_say_that_they_live_where_users_import_them(door: str) -> None:
    module = import_module(door)
    ours = [
        value
        for name in module.__all__
        if inspect.isclass(value := getattr(module, name)) or inspect.isroutine(value)
    ]
    assert {value.__name__: value.__module__ for value in ours} == {
        value.__name__: door for value in ours
    }


@pytest.mark.parametrize("door", DOORS[:-1])
def test_completion_offers_public_names_alone(door: str) -> None:
    module = import_module(door)
    offered = {name for name in dir(module) if not name.startswith("_")}
    assert offered == {name for name in module.__all__ if not name.startswith("_")}


if __name__ == "__main__":
    RECORD.write_text("".join(f"{line}\n" for line in promises()), "utf-8")
