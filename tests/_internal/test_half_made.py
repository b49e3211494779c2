"""Objects whose constructor has refused: their ``repr``, and what the interpreter calls itself."""

from __future__ import annotations

import asyncio
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Iterator
from enum import Enum
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ringme_async
from ringme_async import AiohttpTransport, Client, ClientUpdate, GeoList, InvalidRequest
from ringme_async._internal.frozen_json import FrozenJSON
from ringme_async.transports.httptools import HttptoolsTransport

DOORS = (
    "ringme_async",
    "ringme_async.mirror",
    "ringme_async.observers",
    "ringme_async.observers.otel",
    "ringme_async.testing",
    "ringme_async.testing.faults",
    "ringme_async.transports.httptools",
)


def public_classes() -> Iterator[type]:
    for door in DOORS:
        module = import_module(door)
        for name in module.__all__:
            value = getattr(module, name)
            # Members of an enumeration are made with it; a loop is half-made in asyncio alone.
            if inspect.isclass(value) and not issubclass(value, Enum | asyncio.AbstractEventLoop):
                yield value


def half_made(cls: type) -> object:
    return cls.__new__(cls)


@pytest.mark.parametrize(
    "cls", sorted(set(public_classes()), key=str), ids=lambda cls: cls.__name__
)
def test_every_public_class_has_a_repr_before_its_constructor_is_done(cls: type) -> None:
    assert cls.__name__ in repr(half_made(cls))


def test_no_destructor_of_the_package_needs_a_constructor_that_is_done() -> None:
    prefix = f"{ringme_async.__name__}."
    for found in pkgutil.walk_packages(ringme_async.__path__, prefix):
        if found.name.endswith("__main__"):
            continue
        for cls in vars(import_module(found.name)).values():
            if inspect.isclass(cls) and cls.__module__ == found.name and "__del__" in vars(cls):
                cls.__del__(half_made(cls))


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (Client, {"id": 12, "extra": 5}),
        (ClientUpdate, {"geo_list": "everywhere"}),
        (GeoList, {"wire": "everywhere"}),
        (FrozenJSON, {"fields": {"a": object()}}),
        (AiohttpTransport, {"limit": "many"}),
        (HttptoolsTransport, {"max_body": "many"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_refusal_can_be_shown_with_its_locals(cls: type, arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        cls(**arguments)
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "InvalidRequest" in "".join(shown.format())


@given(st.integers(0, 2**31))
def test_the_repr_of_a_whole_object_is_its_own(number: int) -> None:
    assert repr(Client(number)) == f"Client(id={number})"
    assert repr(GeoList("RU")) == "GeoList('RU')"


def test_a_class_that_is_loaded_late_is_shown_half_made_as_well() -> None:
    assert "aiohttp" in sys.modules
    assert repr(half_made(AiohttpTransport)) == "<AiohttpTransport, not fully made>"
