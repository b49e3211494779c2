"""The arrows between the rooms of the package, as ``docs/architecture.md`` draws them."""

from __future__ import annotations

import ast
import graphlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import ringme_async

PACKAGE = Path(ringme_async.__file__).parent
FRONT_DOOR = "ringme_async"

# From the top down: a room imports from the layers below its own. Rooms that share a layer do not
# know each other.
LAYERS = (
    {"_public"},
    {"ringme"},
    {"resources"},
    {"bulk", "calls", "environment"},
    {"tenant"},
    {"auth"},
    {"policies", "events"},
    {"transports"},
    {"_internal"},
    {"errors", "version"},
)
DEPTH = {room: depth for depth, layer in enumerate(LAYERS) for room in layer}
BESIDE = {"__main__", "cli", "mirror", "observers", "testing"}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def named_in(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports name the whole way"
        assert node.module is not None
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield inner if inner in MODULES else node.module


TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in MODULES.items()}
# An arrow is an arrow, at the top of a module, in a function or for type checkers alone.
IMPORTS = {
    name: {found for node in ast.walk(tree) for found in named_in(node)}
    for name, tree in TREES.items()
}


def room_of(module: str) -> str:
    """Name the room that a module of the package is in; the front door's is the empty name."""
    return module.partition(".")[2].partition(".")[0]


def rooms_known_to(module: str) -> set[str]:
    known = {room_of(name) for name in IMPORTS[module] if name.split(".")[0] == FRONT_DOOR}
    return known - {room_of(module)}


CORE = sorted(name for name in MODULES if room_of(name) not in BESIDE)


def test_every_room_has_its_place_in_the_layers() -> None:
    assert {room_of(name) for name in CORE} - {""} <= DEPTH.keys()


@pytest.mark.parametrize("module", [name for name in CORE if name != FRONT_DOOR])
def test_a_room_imports_only_from_the_layers_below_it(module: str) -> None:
    depth = DEPTH[room_of(module)]
    assert {room for room in rooms_known_to(module) if DEPTH.get(room, -1) <= depth} == set()


def test_nothing_in_the_core_imports_what_stands_beside_it() -> None:
    assert {
        name: rooms_known_to(name) & BESIDE for name in CORE if rooms_known_to(name) & BESIDE
    } == {}


def test_no_module_imports_itself_through_others() -> None:
    arrows = {name: IMPORTS[name] & set(MODULES) - {name} for name in MODULES}
    assert set(graphlib.TopologicalSorter(arrows).static_order()) == set(MODULES)


def test_bulk_knows_neither_http_nor_clients() -> None:
    known = {room for name in CORE if room_of(name) == "bulk" for room in rooms_known_to(name)}
    assert known <= {"tenant", "_internal", "errors"}


def test_dispatch_does_not_know_bulk() -> None:
    assert "bulk" not in rooms_known_to("ringme_async.calls.dispatcher")


@pytest.mark.parametrize("library", ["aiohttp", "yarl", "multidict"])
def test_one_file_of_the_core_imports_the_http_library(library: str) -> None:
    importing = {
        name for name in CORE if any(found.split(".")[0] == library for found in IMPORTS[name])
    }
    assert importing <= {"ringme_async.transports.aiohttp"}


def test_the_command_line_comes_in_by_the_front_door() -> None:
    known = {room for name in MODULES if room_of(name) == "cli" for room in rooms_known_to(name)}
    assert known <= {"", "testing", "mirror", "version", "environment"}


def test_running_the_package_is_running_the_command() -> None:
    assert rooms_known_to("ringme_async.__main__") == {"cli"}


def test_observers_come_in_by_the_front_door_alone() -> None:
    known = {
        room for name in MODULES if room_of(name) == "observers" for room in rooms_known_to(name)
    }
    assert known == {""}


def test_only_the_command_line_prints() -> None:
    def writes(tree: ast.AST) -> bool:
        return any(
            (isinstance(node, ast.Name) and node.id == "print")
            or (isinstance(node, ast.Attribute) and node.attr in {"stdout", "stderr"})
            for node in ast.walk(tree)
        )

    assert [name for name, tree in TREES.items() if room_of(name) != "cli" and writes(tree)] == []


def loaded_by(program: str) -> set[str]:
    """Name the modules that a process has imported at the end of a program."""
    program = f"import sys\n{program}\nprint(*sys.modules, sep='\\n')"
    said = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
    ).stdout
    return set(said.split())


def test_the_front_door_opens_when_somebody_asks_for_a_name() -> None:
    closed = loaded_by("import ringme_async")
    opened = loaded_by("import ringme_async\nringme_async.RingMe")
    assert {"aiohttp", "attr", "asyncio", "msgspec", "ringme_async.ringme"}.isdisjoint(closed)
    assert "ringme_async.ringme" in opened


OVER_MEMORY = """
import ringme_async
async def answer(request): ...
ringme_async.RingMe("https://pbx.example.com", transport=ringme_async.InMemoryTransport(answer))
"""


def test_the_http_library_is_not_loaded_for_another_transport() -> None:
    assert "aiohttp" not in loaded_by(OVER_MEMORY)


@pytest.mark.parametrize("use", ["AiohttpTransport", "RingMe('https://pbx.example.com')"])
def test_the_http_library_is_loaded_with_its_transport_and_no_sooner(use: str) -> None:
    door = "import ringme_async\nringme_async.RingMe"
    assert "aiohttp" not in loaded_by(door)
    assert "aiohttp" in loaded_by(f"{door}\nringme_async.{use}")


def test_a_name_that_was_put_in_the_place_of_a_public_one_stays_there() -> None:
    program = "import ringme_async as r\nr.RingMe = 1\nr.AiohttpTransport\nassert r.RingMe == 1"
    assert "aiohttp" in loaded_by(program)


def test_what_is_asked_of_the_front_door_without_being_public_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'ringme_async' has no attribute 'nothing'"):
        _ = ringme_async.nothing
    assert not hasattr(ringme_async, "__wrapped__")
    assert set(ringme_async.__all__) <= set(dir(ringme_async))
    assert {"_missing", "annotations", "import_module"}.isdisjoint(dir(ringme_async))
    found: dict[str, object] = {}
    exec("from ringme_async import *", found)
    assert {name for name in found if name != "__builtins__"} == set(ringme_async.__all__)


def test_a_name_that_does_not_stand_behind_the_front_door_is_not_there_either() -> None:
    front = import_module("ringme_async._public")
    with pytest.raises(AttributeError, match=r"'ringme_async\._public' has no attribute 'nothing'"):
        _ = front.nothing


def test_importing_the_package_imports_no_extra_and_nothing_beside_the_core() -> None:
    loaded = loaded_by("from ringme_async import RingMe")
    unwanted = {"rich", "cyclopts", "sqlalchemy", "pytest", "httptools", "opentelemetry"}
    unwanted |= {f"ringme_async.{room}" for room in BESIDE}
    assert "ringme_async.ringme" in loaded
    assert unwanted.isdisjoint(loaded)


def constants_then_classes(name: str) -> tuple[bool, bool, str]:
    return not name.isupper(), name[0].islower(), name


DOORS = (
    "ringme_async",
    "ringme_async.mirror",
    "ringme_async.observers",
    "ringme_async.observers.otel",
    "ringme_async.testing",
)


@pytest.mark.parametrize("door", DOORS)
def test_public_names_are_sorted_and_there(door: str) -> None:
    module = import_module(door)
    assert module.__all__ == sorted(set(module.__all__), key=constants_then_classes)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def without_docstring(door: str) -> Iterator[str]:
    module = import_module(door)
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            if not inspect.getdoc(value):
                yield name
            members = vars(value).items() if inspect.isclass(value) else ()
            for member, definition in members:
                public = not member.startswith("_")
                described = isinstance(definition, property) or inspect.isroutine(definition)
                if public and described and not inspect.getdoc(getattr(value, member)):
                    yield f"{name}.{member}"


@pytest.mark.parametrize("door", DOORS)
def test_everything_public_says_what_it_is(door: str) -> None:
    assert list(without_docstring(door)) == []
