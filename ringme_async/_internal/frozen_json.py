"""Immutable JSON: hashable, picklable, and compared as strictly as JSON compares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from math import isfinite
from types import MappingProxyType
from typing import TypeAlias, cast

from ringme_async._internal.half_made import shown_half_made
from ringme_async._internal.text import shown
from ringme_async.errors import InvalidRequest, one_line

JSON: TypeAlias = "None | bool | int | float | str | list[JSON] | dict[str, JSON]"
"""The values that a decoder returns and an encoder accepts."""

JSONLike: TypeAlias = (
    "None | bool | int | float | str | Sequence[JSONLike] | Mapping[str, JSONLike]"
)
"""JSON in any containers, ``FrozenJSON`` included."""

FrozenValue: TypeAlias = "None | bool | int | float | str | tuple[FrozenValue, ...] | FrozenJSON"
"""The values in a ``FrozenJSON``: arrays are tuples, objects are ``FrozenJSON``."""

DEEPEST = 64
"""The deepest nesting of objects and arrays.

It is deep enough for any record. Hashing, comparing, copying and pickling stay below the
interpreter's recursion limit.
"""

_NOTHING: Mapping[str, JSONLike] = MappingProxyType({})
_SCALARS = frozenset({type(None), bool, int, str})
_STRINGS: tuple[type, ...] = (str, bytes, bytearray, memoryview)


@shown_half_made
class FrozenJSON(Mapping[str, FrozenValue]):
    """An immutable JSON object, at every level.

    It equals any mapping of the same JSON, in any order. ``1``, ``1.0`` and ``true`` are three
    different values, as in JSON. ``|`` returns a new object with some fields replaced or added.

    Args:
        fields: The fields; nested arrays and objects are frozen too. Default none.

    Raises:
        InvalidRequest: A value is no JSON (``nan``, a key that is no string, another type), or the
            nesting is deeper than 64 levels.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, JSONLike] = _NOTHING) -> None:
        self._fields = self._frozen_fields(fields)

    def to_json(self) -> dict[str, JSON]:
        """Return a new copy made of plain dicts and lists."""
        return {name: _thaw(value) for name, value in self._fields.items()}

    def __getitem__(self, name: str) -> FrozenValue:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __or__(self, changes: Mapping[str, JSONLike]) -> FrozenJSON:
        return FrozenJSON({**self._fields, **changes})

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Mapping):
            return same_json(self, cast("object", other))
        return NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._fields.items()))

    def __repr__(self) -> str:
        return f"FrozenJSON({self.to_json()!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return FrozenJSON, (self.to_json(),)

    @classmethod
    def _frozen_fields(
        cls, fields: object, levels: int = DEEPEST, inside: str | None = None
    ) -> Mapping[str, FrozenValue]:
        """Freeze an object; ``inside`` names its outermost field, for errors."""
        if not isinstance(fields, Mapping):
            raise InvalidRequest(f"a JSON object must be a mapping, not {shown(fields)}")
        frozen: dict[str, FrozenValue] = {}
        for name, value in cast("Mapping[object, object]", fields).items():
            if type(name) is not str:
                raise InvalidRequest(f"the name of a field must be a string, not {shown(name)}")
            frozen[name] = cls._frozen(value, levels - 1, name if inside is None else inside)
        return frozen

    @classmethod
    def _frozen(cls, value: object, levels: int, inside: str) -> FrozenValue:
        if type(value) in _SCALARS or (type(value) is float and isfinite(value)):
            return cast("FrozenValue", value)
        if not _is_container(value):
            raise InvalidRequest(f"{one_line(inside, 60)} is no JSON value: {shown(value)}")
        if levels == 0:
            raise InvalidRequest(f"{one_line(inside, 60)} is nested deeper than {DEEPEST} levels")
        if isinstance(value, Mapping):
            nested = FrozenJSON()
            nested._fields = cls._frozen_fields(cast("object", value), levels, inside)
            return nested
        items = cast("Sequence[object]", value)
        return tuple([cls._frozen(item, levels - 1, inside) for item in items])


class RecordExtra(FrozenJSON):
    """The differences between a decoded record and the model.

    The mapping holds the fields without an attribute. ``absent`` names the modelled fields that the
    record lacked; equality ignores it.
    """

    __slots__ = ("absent",)

    def __init__(self, fields: Mapping[str, JSONLike], absent: frozenset[str]) -> None:
        super().__init__(fields)
        self.absent: frozenset[str] = _shared(absent)

    def __or__(self, changes: Mapping[str, JSONLike]) -> RecordExtra:
        return RecordExtra({**self._fields, **changes}, self.absent)

    def __reduce__(self) -> tuple[object, ...]:
        return RecordExtra, (self.to_json(), self.absent)


def _is_container(value: object) -> bool:
    return isinstance(value, Mapping | Sequence) and not isinstance(value, _STRINGS)


@lru_cache(maxsize=64)
def _shared(names: frozenset[str]) -> frozenset[str]:
    # Records of one server lack the same fields: one shared set saves memory.
    return names


def same_json(one: object, other: object) -> bool:
    """Return whether two values are the same JSON; 1, 1.0 and true all differ."""
    if isinstance(one, Mapping):
        return isinstance(other, Mapping) and _same_objects(
            cast("Mapping[object, object]", one), cast("Mapping[object, object]", other)
        )
    if isinstance(one, list | tuple):
        return isinstance(other, list | tuple) and _same_arrays(
            cast("Sequence[object]", one), cast("Sequence[object]", other)
        )
    return type(one) is type(other) and one == other


def _same_objects(one: Mapping[object, object], other: Mapping[object, object]) -> bool:
    return len(one) == len(other) and all(
        name in other and same_json(value, other[name]) for name, value in one.items()
    )


def _same_arrays(one: Sequence[object], other: Sequence[object]) -> bool:
    return len(one) == len(other) and all(map(same_json, one, other))


def _thaw(value: FrozenValue) -> JSON:
    if isinstance(value, FrozenJSON):
        return value.to_json()
    if isinstance(value, tuple):
        return [_thaw(item) for item in value]
    return value
