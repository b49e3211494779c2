"""The input of a run: any iterable, async iterable or mapping, pulled as jobs."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sized,
)
from enum import Enum, auto
from typing import Any, Final, Generic, TypeVar, cast

from attrs import define, field

from ringme_async.bulk.groups import QueuedJob
from ringme_async.bulk.job import Job
from ringme_async.bulk.outcome import Failed, NotAttempted
from ringme_async.errors import InvalidRequest, RingMeError
from ringme_async.tenant import Who

__all__ = ["JobSource"]

T = TypeVar("T")
V = TypeVar("V")


class _End(Enum):
    """The sentinel at the end of the input."""

    END = auto()


_END: Final = _End.END
# After the run's deadline, an async input that takes longer for an element is left.
_PATIENCE: Final = 1.0


@define(eq=False)
class JobSource(Generic[T, V]):
    """Pulls elements, one at a time, and makes their jobs.

    Args:
        items: The input. A mapping stands for its pairs.
        make_job: Makes an element's job, or raises a ``RingMeError`` if the element is malformed.
        name_of: Returns the ``who`` of an element's outcome.

    Attributes:
        is_async: Whether elements come by ``fetch``, not by ``pull``.
        total: How many elements there are; None if the input does not say.
        pulled: How many were pulled.
        why_not: Why it makes no more jobs; None while it does.
        ended: Whether no more elements will come.
        cut_short: Whether it was left before its end.
        error: The error that the input raised, if any.

    Raises:
        InvalidRequest: A run cannot iterate over the input.
    """

    items: Iterable[T] | AsyncIterable[T] | Mapping[Any, Any]
    make_job: Callable[[T], Job[V]]
    name_of: Callable[[T], Who]
    is_async: bool = field(init=False)
    total: int | None = field(init=False)
    _items: Iterable[T] | AsyncIterable[T] = field(init=False)
    pulled: int = field(default=0, init=False)
    why_not: str | None = field(default=None, init=False)
    ended: bool = field(default=False, init=False)
    cut_short: bool = field(default=False, init=False)
    error: Exception | None = field(default=None, init=False)
    _elements: Iterator[T] = field(factory=lambda: iter(()), init=False)
    _elements_to_come: AsyncIterator[T] = field(init=False)
    _fetching: asyncio.Timeout | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._items = checked(self.items)
        self.is_async = isinstance(self._items, AsyncIterable)
        self.total = len(self._items) if isinstance(self._items, Sized) else None

    def open(self) -> None:
        """Start to iterate."""
        if isinstance(self._items, AsyncIterable):
            self._elements_to_come = aiter(self._items)
        else:
            self._elements = iter(self._items)

    def pull(self) -> QueuedJob[V] | Failed | NotAttempted | None:
        """Pull an element; None at the end."""
        try:
            element: T | _End = next(self._elements, _END)
        except Exception as error:  # noqa: BLE001 - it gets out of the run as it is, at its end
            self.error = error
            element = _END
        return self._queued_job(element)

    async def fetch(self) -> QueuedJob[V] | Failed | NotAttempted | None:
        """Wait for an element; None at the end."""
        try:
            element: T | _End = await self._fetch_with_patience()
        except Exception as error:  # noqa: BLE001 - it gets out of the run as it is, at its end
            self.error = error
            element = _END
        return self._queued_job(element)

    def hurry(self) -> None:
        """Give the element that is being fetched at most one more second."""
        self._await_until(asyncio.get_running_loop().time() + _PATIENCE)

    def leave(self) -> None:
        """Pull nothing more, and stop waiting for the element that is being fetched."""
        if not self.ended:
            self.ended = self.cut_short = True
            self._await_until(asyncio.get_running_loop().time())

    def close(self) -> Exception | None:
        """Close a generator; other iterators may be the user's own, such as an open file.

        Returns:
            The error that it raised while closing.
        """
        elements: object = self._elements
        if isinstance(elements, Generator):
            try:
                cast("Generator[T]", elements).close()
            except Exception as broken:  # noqa: BLE001 - it gets out unless something worse does
                return broken
        return None

    async def aclose(self) -> None:
        """Close an async iterator that can be closed."""
        aclose = getattr(self._elements_to_come, "aclose", None)
        if aclose is not None:
            await aclose()

    def _await_until(self, when: float) -> None:
        # An input may be slow to react to its cancellation, and must not be cancelled twice.
        if self._fetching is not None and not self._fetching.expired():
            self._fetching.reschedule(when)

    async def _fetch_with_patience(self) -> T | _End:
        scope = asyncio.timeout(None if self.why_not is None else _PATIENCE)
        try:
            async with scope as self._fetching:
                return await anext(self._elements_to_come, _END)
        except Exception:
            if not scope.expired():
                raise
            self.cut_short = True
            return _END
        finally:
            self._fetching = None

    def _queued_job(self, element: T | _End) -> QueuedJob[V] | Failed | NotAttempted | None:
        if element is _END:
            self.ended = True
            return None
        index = self.pulled
        self.pulled += 1
        who = self.name_of(element)
        if self.why_not is not None:
            return NotAttempted(who, index, reason=self.why_not)
        try:
            job = self.make_job(element)
        except RingMeError as flaw:
            return Failed(who, index, 0, forget_traceback(flaw))
        return QueuedJob(index, who, job)


def checked(
    items: Iterable[T] | AsyncIterable[T] | Mapping[Any, Any],
) -> Iterable[T] | AsyncIterable[T]:
    """Return the iterable of the input's elements.

    Raises:
        InvalidRequest: The input is no iterable, or a single text.
    """
    if _is_one_text(items):
        raise InvalidRequest(
            "the input of a run is an iterable of elements, not a single "
            f"{type(items).__name__}; put it into a list"
        )
    if isinstance(items, Mapping):
        return cast("Iterable[T]", items.items())
    if _can_be_iterated_over(items):
        return items
    raise InvalidRequest(
        "the input of a run is an iterable, an async iterable or a mapping, "
        f"not {type(items).__name__}"
    )


def _is_one_text(items: object) -> bool:
    return isinstance(items, str | bytes | bytearray)


def _can_be_iterated_over(items: object) -> bool:
    return isinstance(items, Iterable | AsyncIterable)


def forget_traceback(error: RingMeError) -> RingMeError:
    """Drop the frames of an error and of its causes.

    They keep everything that the call had in its variables, and the run itself: a report with a
    hundred thousand failures would keep all of it alive.
    """
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error
