"""Response headers in the form of the HTTP library, converted only when all are read."""

from __future__ import annotations

from collections.abc import ItemsView, Sequence
from typing import Protocol, TypeVar, overload

from ringme_async.transports import Headers

__all__ = ["LazyHeaders"]

T = TypeVar("T")


class Fields(Protocol):
    """Header fields of an HTTP library: names in any letter case, some several times."""

    def getall(self, key: str, default: None) -> Sequence[str] | None:
        """Give all values of a field."""
        ...

    def items(self) -> ItemsView[str, str]:
        """Give all fields, in their order."""
        ...

    def copy(self) -> MutableFields:
        """Give a copy that can change."""
        ...

    def __contains__(self, key: object, /) -> bool: ...


class MutableFields(Fields, Protocol):
    """Header fields that can change."""

    def popall(self, key: str, default: None) -> Sequence[str] | None:
        """Remove all values of a field."""
        ...


class LazyHeaders(Headers):
    """The headers of a response. They are converted when more than single fields are read."""

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
        """Give the last value of a field, or the default if the field is missing."""
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
