"""A run whose jobs cannot run any more, as their client was closed."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from attrs import define, field

from ringme_async.bulk import BulkReport, BulkRun, Done, NotAttempted, NotBefore
from ringme_async.errors import InvalidRequest, RingMeClosed
from tests.bulk.scripted_job import World, counting, names_of, now, scripted

pytestmark = pytest.mark.jumping


@define
class Source:
    """What jobs need; it can be closed."""

    runs: list[Callable[[str], None]] = field(factory=list)

    def on_close(self, end: Callable[[str], None]) -> Callable[[], None]:
        self.runs.append(end)
        return lambda: self.runs.remove(end)

    def close(self) -> None:
        for end in self.runs:
            end("the source was closed")


async def called_off(source: Source, run: BulkRun[Any], after: float) -> BulkReport[Any]:
    async def read() -> BulkReport[Any]:
        return await run

    reading = asyncio.ensure_future(read())
    await asyncio.sleep(after)
    source.close()
    return await reading


class TestARunThatIsCalledOff:
    async def test_ends_with_its_jobs_in_flight(self, world: World) -> None:
        source = Source()
        pulled: list[int] = []
        run = BulkRun(
            counting(pulled, range(1000)),
            scripted(world, lambda _: [10.0]),
            concurrency=2,
            on_close=source.on_close,
        )

        report = await called_off(source, run, after=5)

        assert now() == 10.0
        assert [type(outcome) for outcome in report] == [Done, Done]
        assert len(pulled) == 2
        assert not report.complete
        assert not report.ok

    async def test_does_not_attempt_parked_jobs_and_ends_at_once(self, world: World) -> None:
        source = Source()
        world.parked_until["dealer"] = 1800.0
        pulled: list[int] = []
        make = scripted(world, quota_key="dealer")
        run = BulkRun(counting(pulled, range(1000)), make, max_waiting=10, on_close=source.on_close)

        report = await called_off(source, run, after=5)

        assert now() == 5.0
        assert len(pulled) == 10
        assert [outcome.who for outcome in report] == list(range(10))
        assert {type(outcome) for outcome in report} == {NotAttempted}
        assert {outcome.reason for outcome in report} == {"the source was closed"}  # type: ignore[union-attr]

    async def test_waits_for_no_async_input(self, world: World) -> None:
        async def elements() -> AsyncIterator[int]:
            yield 1
            await asyncio.sleep(1000)
            yield 2

        source = Source()
        run = BulkRun(elements(), scripted(world), on_close=source.on_close)

        report = await called_off(source, run, after=5)

        assert now() == 5.0
        assert [outcome.who for outcome in report] == [1]
        assert not report.complete

    async def test_wakes_an_async_input_that_waits_for_a_slot(self, world: World) -> None:
        async def elements() -> AsyncIterator[int]:
            for number in range(100):
                yield number

        source = Source()
        make = scripted(world, lambda _: [10.0])
        run = BulkRun(elements(), make, concurrency=2, on_close=source.on_close)

        report = await called_off(source, run, after=5)

        assert now() == 10.0
        assert len(report) < 10

    async def test_has_missed_nothing_if_its_input_had_ended(self, world: World) -> None:
        source = Source()
        run = BulkRun([1], scripted(world), concurrency=2, on_close=source.on_close)

        report = await called_off(source, run, after=0.5)

        assert report.ok

    async def test_stops_listening_once_it_is_over(self, world: World) -> None:
        source = Source()

        await BulkRun([1], scripted(world), on_close=source.on_close)

        assert source.runs == []

    async def test_gives_its_outcomes_in_order_if_it_is_ordered(self, world: World) -> None:
        source = Source()
        make = scripted(world, lambda n: [NotBefore(1000.0)] if n % 3 == 0 else [10.0])
        run = BulkRun(
            range(500),
            make,
            concurrency=4,
            max_waiting=20,
            ordered=True,
            on_close=source.on_close,
        )

        async def read() -> list[Any]:
            return await names_of(run)

        reading = asyncio.ensure_future(read())
        await asyncio.sleep(5)
        source.close()
        order = await reading

        assert now() < 20.0
        assert order == list(range(len(order)))
        assert 4 <= len(order) < 50


async def test_a_job_that_finds_the_client_closed_calls_the_run_off(world: World) -> None:
    pulled: list[int] = []
    make = scripted(world, lambda n: [RingMeClosed("closed before the call") if n == 3 else 1.0])

    report = await BulkRun(counting(pulled, range(1000)), make, concurrency=1)

    assert report.counts == {"done": 3, "not_attempted": 0, "RingMeClosed": 1}
    assert len(pulled) == 4
    assert not report.complete


class TestARunThatIsForgotten:
    async def test_gives_a_warning_that_leads_to_it(self, world: World) -> None:
        reported = r"^a bulk run was neither awaited nor entered$"
        with pytest.warns(RuntimeWarning, match=reported) as caught:
            BulkRun([1], scripted(world))

        assert isinstance(caught[0].source, BulkRun)

    async def test_gives_it_where_it_was_forgotten(self, world: World) -> None:
        with pytest.warns(RuntimeWarning) as caught:
            BulkRun([1], scripted(world))

        assert caught[0].filename == __file__

    async def test_gives_none_if_it_was_refused_or_used(self, world: World) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with pytest.raises(InvalidRequest):
                BulkRun([1], scripted(world), concurrency=0)
            with pytest.raises(TypeError):
                BulkRun()  # type: ignore[call-arg]
            await BulkRun([1], scripted(world))
            async with BulkRun([1], scripted(world)):
                pass
            gc.collect()

        assert caught == []
