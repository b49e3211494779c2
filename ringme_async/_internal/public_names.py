"""What every public module does with its names before users see them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping

from ringme_async._internal.half_made import shown_half_made

__all__ = ["publish"]


def publish(door: str, names: Iterable[str], values: Mapping[str, object]) -> None:
    """Make public classes and functions name the module that users import them from.

    Tracebacks, pickles and documentation show that module. A class also gets a ``repr`` that works
    while its constructor still runs.

    Args:
        door: The public module.
        names: Its public names. A name without a value is loaded later.
        values: What the names stand for.
    """
    package = door.partition(".")[0]
    for name in names:
        value = values.get(name)
        if inspect.isclass(value):
            shown_half_made(value)
        elif not inspect.isfunction(value):
            continue
        if value.__module__.partition(".")[0] != package:
            continue
        if inspect.isclass(value):
            _evaluate_annotations(value)
        value.__module__ = door


def _evaluate_annotations(kind: type) -> None:
    """Turn annotations into types, while the module still tells where to look their names up."""
    annotations = vars(kind).get("__annotations__")
    if not annotations:
        return
    names = dict(vars(sys.modules[kind.__module__]))
    for field, text in annotations.items():
        if isinstance(text, str):
            try:
                annotations[field] = eval(text, names)  # noqa: S307 - our own annotation
            except NameError:
                # This name is imported for type checkers alone.
                continue
