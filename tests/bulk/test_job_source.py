"""The input of a run: how it is pulled, and how it is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from ringme_async.bulk import Failed, NotAttempted
from ringme_async.bulk.groups import QueuedJob
from ringme_async.bulk.job_source import JobSource, forget_traceback
from ringme_async.errors import InvalidRequest, RingMeError
from tests.bulk.scripted_job import ScriptedJob, World, now

pytestmark = pytest.mark.jumping


def make_job(element: int) -> ScriptedJob:
    if element == 13:
        raise InvalidRequest("13 is none")
    return ScriptedJob(World(), element, [1.0])


def source_of(items: Any) -> JobSource[Any, Any]:
    source = JobSource(items, make_job, lambda element: f"number {element}")
    source.open()
    return source


async def every(source: JobSource[Any, Any]) -> list[Any]:
    """Pull or fetch to the end, which has to come by the tenth element."""
    taken: list[Any] = []
    for _ in range(10):
        taken.append(await source.fetch() if source.is_async else source.pull())
        if taken[-1] is None:
            break
    return taken


def numbers(error: Exception | None = None) -> Iterator[int]:
    yield from (12, 13, 14)
    if error is not None:
        raise error


async def numbers_to_come(
    error: Exception | None = None, seconds: float = 0.0
) -> AsyncIterator[int]:
    for number in (12, 13, 14):
        await asyncio.sleep(seconds)
        yield number
    if error is not None:
        raise error


SOURCES = pytest.mark.parametrize("source", [numbers, numbers_to_come])


@SOURCES
async def test_each_element_gets_its_index_and_a_job_or_is_malformed(
    source: Callable[..., Any],
) -> None:
    source = source_of(source())

    first, second, third, end = await every(source)

    assert isinstance(first, QueuedJob)
    assert isinstance(first.job, ScriptedJob)
    assert (first.index, first.who, first.job.name) == (0, "number 12", 12)
    assert isinstance(second, Failed)
    assert (second.index, second.who, second.attempts) == (1, "number 13", 0)
    assert str(second.error) == "13 is none"
    assert second.error.__traceback__ is None
    assert (third.index, third.who) == (2, "number 14")
    assert end is None
    assert (source.pulled, source.ended, source.cut_short) == (3, True, False)
    assert source.error is None


@SOURCES
async def test_no_job_is_made_after_the_run_was_given_up(source: Callable[..., Any]) -> None:
    source = source_of(source())
    source.why_not = "it is late"

    *left, end = await every(source)

    assert left == [
        NotAttempted(f"number {number}", index, reason="it is late")
        for index, number in enumerate((12, 13, 14))
    ]
    assert end is None


@SOURCES
@pytest.mark.parametrize("error", [LookupError("broke off"), TimeoutError()], ids=repr)
async def test_an_error_of_the_input_ends_it_and_is_kept(
    source: Callable[..., Any], error: Exception
) -> None:
    source = source_of(source(error))

    taken = await every(source)

    assert taken[3:] == [None]
    assert source.error is error
    assert (source.ended, source.cut_short) == (True, False)


class TestAnElementThatTakesLong:
    async def test_is_waited_for(self) -> None:
        source = source_of(numbers_to_come(seconds=1000.0))

        assert await source.fetch() is not None
        assert now() == 1000.0

    async def test_is_left_after_a_second_once_the_run_was_given_up(self) -> None:
        source = source_of(numbers_to_come(seconds=1000.0))
        source.why_not = "it is late"

        assert await source.fetch() is None
        assert now() == 1.0
        assert (source.ended, source.cut_short, source.error) == (True, True, None)

    async def test_is_waited_for_within_that_second(self) -> None:
        source = source_of(numbers_to_come(seconds=0.9))
        source.why_not = "it is late"

        assert len(await every(source)) == 4
        assert not source.cut_short

    async def test_has_a_second_from_when_it_is_hurried(self) -> None:
        source = source_of(numbers_to_come(seconds=1000.0))
        fetching = asyncio.ensure_future(source.fetch())
        await asyncio.sleep(5)

        source.hurry()

        assert await fetching is None
        assert now() == 6.0
        assert source.cut_short

    async def test_is_left_at_once_if_the_input_is_left(self) -> None:
        source = source_of(numbers_to_come(seconds=1000.0))
        fetching = asyncio.ensure_future(source.fetch())
        await asyncio.sleep(5)

        source.leave()

        assert (source.ended, source.cut_short) == (True, True)
        assert await fetching is None
        assert now() == 5.0

    async def test_is_not_hurried_after_it_has_come(self) -> None:
        source = source_of(numbers_to_come(seconds=5.0))
        await source.fetch()

        source.hurry()

        assert await source.fetch() is not None
        assert now() == 10.0


async def test_an_input_that_has_ended_is_not_cut_short_by_leaving_it() -> None:
    source = source_of([])
    assert source.pull() is None

    source.leave()

    assert not source.cut_short


class TestClosing:
    async def test_closes_a_generator_and_gives_what_it_raised(self) -> None:
        def broken() -> Iterator[int]:
            try:
                yield 12
            finally:
                raise LookupError("cannot be closed")

        source = source_of(broken())
        source.pull()

        assert isinstance(source.close(), LookupError)
        assert source_of(numbers()).close() is None

    async def test_does_not_close_an_iterator_that_may_be_the_users_own(self) -> None:
        class File:
            closed = False

            def __iter__(self) -> File:
                return self

            def __next__(self) -> int:
                return 12

            def close(self) -> None:
                self.closed = True

        file = File()
        source = source_of(file)
        source.pull()

        assert source.close() is None
        assert not file.closed

    async def test_closes_an_async_generator(self) -> None:
        left: list[str] = []

        async def elements() -> AsyncIterator[int]:
            try:
                yield 12
            finally:
                left.append("closed")

        source = source_of(elements())
        await source.fetch()

        await source.aclose()

        assert left == ["closed"]


@pytest.mark.parametrize(
    ("items", "total"), [([1, 2], 2), ({1: 2}, 1), (numbers(), None)], ids=["list", "dict", "rest"]
)
async def test_an_input_that_has_a_length_has_a_total(items: Any, total: int | None) -> None:
    assert source_of(items).total == total


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (
            "12",
            "the input of a run is an iterable of elements, not a single str; put it into a list",
        ),
        (12, "the input of a run is an iterable, an async iterable or a mapping, not int"),
    ],
)
async def test_an_object_that_is_no_input_is_refused_with_what_would_be_one(
    items: Any, expected: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        source_of(items)

    assert str(caught.value) == expected


def raised(error: Exception, *, because_of: Exception | None = None) -> Exception:
    try:
        raise error from because_of
    except type(error) as caught:
        return caught


async def test_an_error_and_its_causes_lose_their_frames() -> None:
    first, second = raised(LookupError()), raised(ValueError())
    second.__context__ = first
    last = raised(RingMeError("at last"), because_of=second)

    assert forget_traceback(last) is last  # type: ignore[arg-type]

    assert [error.__traceback__ for error in (first, second, last)] == [None] * 3


async def test_errors_that_cause_one_another_in_a_circle_lose_their_frames_too() -> None:
    first, second = raised(LookupError()), raised(RingMeError("at last"))
    first.__context__, second.__context__ = second, first

    forget_traceback(second)  # type: ignore[arg-type]

    assert first.__traceback__ is second.__traceback__ is None
