"""The header fields of an answer, left as a library gives them until all are read."""

from __future__ import annotations

from collections.abc import ItemsView, Sequence
from typing import Protocol, TypeVar, overload

from ringme_async.transports import Headers

__all__ = ["LazyHeaders"]

T = TypeVar("T")


class Fields(Protocol):
    """Fields that are found in any letter case, some of them several times."""

    def getall(self, key: str, default: None) -> Sequence[str] | None:
        """Give all values of a field."""
        ...

    def items(self) -> ItemsView[str, str]:
        """Give all fields, in their order."""
        ...

    def copy(self) -> MutableFields:
        """Give fields that can be changed."""
        ...

    def __contains__(self, key: object, /) -> bool: ...


class MutableFields(Fields, Protocol):
    """Fields that can be changed."""

    def popall(self, key: str, default: None) -> Sequence[str] | None:
        """Take all values of a field out."""
        ...


class LazyHeaders(Headers):
    """The header fields of an answer; all are read once more than single ones are asked for."""

    __slots__ = ("_received",)

    def __init__(self, received: Fields) -> None:
        self._received = received

    def __getattr__(self, name: str) -> dict[str, str]:
        if name != "_fields":
            raise AttributeError(name)
        self._fields = {name.lower(): value for name, value in self._received.items()}
        return self._fields

    @overload
    def get(self, key: str, default: None = None, /) -> str | None: ...
    @overload
    def get(self, key: str, default: str, /) -> str: ...
    @overload
    def get(self, key: str, default: T, /) -> str | T: ...
    def get(self, key: str, default: object = None, /) -> object:
        """Give a field's value, the last if it came often, or the default if it did not come."""
        values = self._received.getall(key, None)
        return values[-1] if values else default

    def without(self, *names: str) -> LazyHeaders:
        """Give the other fields."""
        left = self._received.copy()
        for name in names:
            left.popall(name, None)
        return LazyHeaders(left)

    def __contains__(self, name: object) -> bool:
        return name in self._received

    def __reduce__(self) -> tuple[type[Headers], tuple[dict[str, str]]]:
        return Headers, (self._fields,)
