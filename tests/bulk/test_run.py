"""A run from outside: its input, its outcomes, and how it ends."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ringme_async.bulk import BulkReport, BulkRun, Done, Failed, NotAttempted, NotBefore
from ringme_async.errors import DeadlineExceeded, InvalidRequest, ResponseLost, RingMeError
from tests.bulk.scripted_job import ScriptedJob, World, counting, itself, names_of, now, scripted

pytestmark = pytest.mark.jumping


class TestTheInput:
    async def test_may_be_a_list_a_generator_or_a_mapping(self, world: World) -> None:
        from_list = await BulkRun([1, 2, 3], scripted(world))
        from_generator = await BulkRun((n for n in [1, 2, 3]), scripted(world))
        from_mapping = await BulkRun(
            {1: "x", 2: "y"}, scripted(world), name_of=lambda pair: pair[0]
        )

        assert from_list.values() == [1, 2, 3]
        assert from_generator.values() == [1, 2, 3]
        assert [outcome.who for outcome in from_mapping] == [1, 2]
        assert from_mapping.values() == [(1, "x"), (2, "y")]

    async def test_may_be_async(self, world: World) -> None:
        async def elements() -> AsyncIterator[int]:
            for number in range(5):
                await asyncio.sleep(10)
                yield number

        report = await BulkRun(elements(), scripted(world))

        assert report.values() == [0, 1, 2, 3, 4]
        assert now() == 51.0

    async def test_may_be_an_async_iterable_that_cannot_be_closed(self, world: World) -> None:
        class Elements:
            def __init__(self) -> None:
                self.left = 3

            def __aiter__(self) -> Elements:
                return self

            async def __anext__(self) -> int:
                if not self.left:
                    raise StopAsyncIteration
                self.left -= 1
                return self.left

        assert (await BulkRun(Elements(), scripted(world))).values() == [2, 1, 0]

    async def test_may_be_empty(self, world: World) -> None:
        report = await BulkRun([], scripted(world))

        assert len(report) == 0
        assert report.ok

    async def test_gives_duplicates_an_outcome_each(self, world: World) -> None:
        report = await BulkRun([7, 7, 7], scripted(world))

        assert [(outcome.who, outcome.index) for outcome in report] == [(7, 0), (7, 1), (7, 2)]

    @pytest.mark.parametrize("items", ["12", b"12", 12, None], ids=repr)
    async def test_that_is_one_text_or_no_iterable_is_refused(self, items: Any) -> None:
        with pytest.raises(InvalidRequest, match="the input of a run is an iterable"):
            BulkRun(items, scripted(World()))

    async def test_with_a_malformed_element_fails_that_element_alone(self, world: World) -> None:
        def make(number: int) -> ScriptedJob:
            if number == 2:
                raise InvalidRequest("2 is none")
            return scripted(world)(number)

        report = await BulkRun([1, 2, 3], make)

        assert [type(outcome) for outcome in report] == [Done, Failed, Done]
        assert report[1].attempts == 0

    async def test_that_raises_ends_the_run_when_the_jobs_in_flight_are_done(
        self, world: World
    ) -> None:
        def elements() -> Iterator[int]:
            yield from range(2)
            raise LookupError("the file broke off")

        seen: list[Any] = []
        with pytest.raises(LookupError, match="broke off"):
            async with BulkRun(elements(), scripted(world)) as run:
                async for outcome in run:
                    seen.append(outcome.who)  # noqa: PERF401 - the input's error ends the loop

        assert seen == [0, 1]

    async def test_that_raises_leaves_waiting_elements_as_not_attempted(self, world: World) -> None:
        def elements() -> Iterator[int]:
            yield from range(3)
            raise LookupError("the file broke off")

        seen: list[Any] = []
        make = scripted(world, lambda _: [1.0], quota_key="one", tenant_key="one")
        with pytest.raises(LookupError):
            async with BulkRun(elements(), make) as run:
                async for outcome in run:
                    seen.append(outcome)  # noqa: PERF401 - the input's error ends the loop

        reason = "the input of the run raised an error"
        assert sorted(seen, key=lambda outcome: outcome.index) == [
            Done(0, 0, 1, 0),
            NotAttempted(1, 1, 0, reason),
            NotAttempted(2, 2, 0, reason),
        ]

    async def test_that_is_async_and_raises_ends_the_run_too(self, world: World) -> None:
        async def elements() -> AsyncIterator[int]:
            yield 1
            raise LookupError("the stream broke off")

        with pytest.raises(LookupError, match="broke off"):
            await BulkRun(elements(), scripted(world))

    @pytest.mark.parametrize("stop", [StopIteration, StopAsyncIteration])
    async def test_that_raises_an_end_of_iteration_of_its_own_is_no_end(
        self, world: World, stop: type[Exception]
    ) -> None:
        async def run_of_it() -> None:
            def make(_: int) -> ScriptedJob:
                return ScriptedJob(world, 1, [stop()])

            await BulkRun([1], make)

        with pytest.raises(RuntimeError, match=f"raised {stop.__name__}$") as caught:
            await run_of_it()
        assert isinstance(caught.value.__cause__, stop)

    async def test_is_closed_when_the_run_is_left(self, world: World) -> None:
        closed: list[str] = []

        def elements() -> Iterator[int]:
            try:
                yield from range(1000)
            finally:
                closed.append("generator")

        async def elements_to_come() -> AsyncIterator[int]:
            try:
                for number in range(1000):
                    yield number
            finally:
                closed.append("async generator")

        for items in (elements(), elements_to_come()):
            async with BulkRun(items, scripted(world), concurrency=2) as run:
                async for _ in run:
                    break

        assert closed == ["generator", "async generator"]

    async def test_whose_closing_fails_raises_that_error(self, world: World) -> None:
        def elements() -> Iterator[int]:
            try:
                yield from range(1000)
            finally:
                raise OSError("cannot be closed")

        with pytest.raises(OSError, match="cannot be closed"):
            async with BulkRun(elements(), scripted(world), concurrency=2) as run:
                async for _ in run:
                    break

    @pytest.mark.parametrize("left_early", [True, False])
    async def test_that_is_async_and_whose_closing_fails_raises_that_error(
        self, world: World, left_early: bool
    ) -> None:
        class Elements:
            def __init__(self) -> None:
                self.left = 3

            def __aiter__(self) -> Elements:
                return self

            async def __anext__(self) -> int:
                if not self.left:
                    raise StopAsyncIteration
                self.left -= 1
                await asyncio.sleep(10)
                return self.left

            async def aclose(self) -> None:
                raise OSError("cannot be closed")

        with pytest.raises(OSError, match="cannot be closed"):
            async with BulkRun(Elements(), scripted(world)) as run:
                async for _ in run:
                    if left_early:
                        break

    async def test_is_pulled_no_further_than_needed(self, world: World) -> None:
        pulled: list[int] = []
        async with BulkRun(
            counting(pulled, range(1000)), scripted(world), concurrency=4, host_of=itself
        ) as run:
            await anext(run)
            assert len(pulled) <= 12

    async def test_that_is_slow_holds_up_no_outcome(self, world: World) -> None:
        async def elements() -> AsyncIterator[int]:
            yield 1
            await asyncio.sleep(100)
            yield 2

        async with BulkRun(elements(), scripted(world)) as run:
            await anext(run)
            assert now() == 1.0

    async def test_that_is_async_and_long_yields_to_other_tasks(self, world: World) -> None:
        async def elements() -> AsyncIterator[int]:
            for number in range(2000):
                yield number

        world.parked_until["dealer"] = 100.0
        turns = 0
        async with BulkRun(elements(), scripted(world, quota_key="dealer")) as run:
            while run.progress.pulled < 2000:
                turns += 1
                await asyncio.sleep(0)

        assert 7 <= turns <= 12


class TestARun:
    async def test_that_is_awaited_reports_in_input_order(self, world: World) -> None:
        report = await BulkRun([3, 1, 2], scripted(world, lambda seconds: [float(seconds)]))

        assert isinstance(report, BulkReport)
        assert [outcome.who for outcome in report] == [3, 1, 2]
        assert report[0:2] == (report[0], report[1])

    async def test_that_is_iterated_gives_outcomes_as_they_come(self, world: World) -> None:
        make = scripted(world, lambda seconds: [float(seconds)])
        run = BulkRun([3, 1, 2], make, host_of=itself)

        assert await names_of(run) == [1, 2, 3]

    async def test_that_is_ordered_gives_outcomes_in_input_order(self, world: World) -> None:
        make = scripted(world, lambda seconds: [float(seconds)])
        run = BulkRun([9, 1, 8, 2, 7, 3], make, ordered=True, concurrency=2)

        assert await names_of(run) == [9, 1, 8, 2, 7, 3]

    async def test_that_is_ordered_and_async_gives_outcomes_in_input_order_too(
        self, world: World
    ) -> None:
        async def elements() -> AsyncIterator[int]:
            for seconds in [9, 1, 8, 2, 7, 3]:
                yield seconds

        make = scripted(world, lambda seconds: [float(seconds)])

        assert await names_of(BulkRun(elements(), make, ordered=True, concurrency=2)) == [
            9,
            1,
            8,
            2,
            7,
            3,
        ]

    async def test_that_is_ordered_waits_for_a_parked_element_with_a_bounded_buffer(
        self, world: World
    ) -> None:
        def make(number: int) -> ScriptedJob:
            steps: list[Any] = [NotBefore(100.0), 1.0] if number == 0 else [0.1]
            return ScriptedJob(world, number, steps, quota_key=number, tenant_key=number)

        pulled: list[int] = []
        run = BulkRun(
            counting(pulled, range(1000)), make, ordered=True, concurrency=4, host_of=itself
        )
        async with run:
            first = await anext(run)
            assert first.index == 0
            assert len(pulled) <= 12
            rest = [outcome.index async for outcome in run]

        assert rest == list(range(1, 1000))

    async def test_can_be_used_once(self, world: World) -> None:
        run = BulkRun([1], scripted(world))
        await run

        with pytest.raises(RuntimeError, match=r"^a run is used once; make another one for"):
            await run

    async def test_is_iterated_only_inside_its_block(self, world: World) -> None:
        run = BulkRun([1], scripted(world))

        with pytest.raises(RuntimeError, match=r"^iterate over a run inside of `async with"):
            async for _ in run:
                pass
        assert (await run).ok

    async def test_gives_nothing_after_its_block(self, world: World) -> None:
        async with BulkRun([1], scripted(world)) as run:
            pass

        with pytest.raises(RuntimeError, match=r"^the run is over; it gives outcomes only"):
            await anext(run)

    async def test_that_could_not_begin_is_over(self, world: World) -> None:
        def on_close(_: Callable[[str], None]) -> Callable[[], None]:
            raise LookupError("no such companion")

        run = BulkRun([1], scripted(world), on_close=on_close)
        with pytest.raises(LookupError):
            await run

        with pytest.raises(RuntimeError, match=r"^the run is over"):
            await anext(run)
        with pytest.raises(RuntimeError, match=r"^a run is used once"):
            await run

    async def test_has_one_reader_at_a_time(self, world: World) -> None:
        async with BulkRun([1], scripted(world)) as run:
            first = asyncio.ensure_future(anext(run))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match=r"^this run is being read by another task$"):
                await anext(run)
            await first

    async def test_ends_each_time_it_is_iterated_beyond_its_end(self, world: World) -> None:
        async with BulkRun([1], scripted(world)) as run:
            assert [outcome.who async for outcome in run] == [1]
            assert [outcome.who async for outcome in run] == []

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("concurrency", 0),
            ("concurrency", True),
            ("concurrency", 1.5),
            ("per_tenant", 0),
            ("max_waiting", -1),
            ("deadline", 0),
            ("deadline", float("nan")),
            ("deadline", "5"),
            ("deadline", True),
            ("deadline", float("inf")),
            ("on_quota", "raise"),
            ("on_quota", []),
            ("on_outage", "park"),
            ("on_outage", {}),
            ("concurrency", []),
            ("concurrency", "car"),
        ],
    )
    async def test_refuses_an_argument_out_of_bounds(self, option: str, value: Any) -> None:
        options: dict[str, Any] = {option: value}

        with pytest.raises(InvalidRequest, match=option):
            BulkRun([1], scripted(World()), **options)

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"concurrency": 0}, "concurrency must be a whole number from 1 up, not 0"),
            ({"concurrency": "car"}, "concurrency is a whole number or \"auto\", not 'car'"),
            ({"max_concurrency": 9}, 'max_concurrency goes with concurrency="auto" only'),
            (
                {"concurrency": "auto", "max_concurrency": 0},
                "max_concurrency must be a whole number from 1 up, not 0",
            ),
            ({"per_tenant": 0}, "per_tenant must be a whole number from 1 up, not 0"),
            ({"max_waiting": 0}, "max_waiting must be a whole number from 1 up, not 0"),
            ({"deadline": "5"}, "deadline must be a number of seconds above 0, not '5'"),
            ({"on_quota": "wait"}, 'on_quota must be "park" or "fail", not \'wait\''),
            ({"on_outage": "park"}, 'on_outage must be "wait" or "fail", not \'park\''),
        ],
        ids=repr,
    )
    async def test_says_of_an_argument_what_it_must_be(
        self, options: dict[str, Any], expected: str
    ) -> None:
        with pytest.raises(InvalidRequest) as caught:
            BulkRun([1], scripted(World()), **options)

        assert str(caught.value) == expected

    @pytest.mark.parametrize(
        "options",
        [{"concurrency": 1}, {"concurrency": "auto", "max_concurrency": 1}, {"max_waiting": 1}],
        ids=repr,
    )
    async def test_accepts_one_for_every_number(
        self, world: World, options: dict[str, Any]
    ) -> None:
        report = await BulkRun(range(9), scripted(world), per_tenant=1, **options)

        assert len(report.values()) == 9

    async def test_has_64_in_flight_and_holds_10_000_by_default(self, world: World) -> None:
        world.parked_until["dealer"] = 100.0
        async with BulkRun(range(10_100), scripted(world, quota_key="dealer")) as run:
            await asyncio.sleep(1)

            assert run.progress.concurrency == 64
            assert run.progress.pulled == 10_000


class TestTheEnd:
    async def test_by_an_error_in_the_block_cancels_its_jobs_and_raises_that_error(
        self, world: World
    ) -> None:
        with pytest.raises(KeyError, match="mine"):
            async with BulkRun(range(100), scripted(world), concurrency=4) as run:
                async for _ in run:
                    raise KeyError("mine")

        assert world.running == 0
        assert world.cancelled > 0
        assert len(asyncio.all_tasks()) == 1

    async def test_by_an_error_in_the_block_alone_reports_no_other_to_the_loop(
        self, world: World
    ) -> None:
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(context)
        )

        with pytest.raises(KeyError, match="mine"):
            async with BulkRun(range(100), scripted(world)) as run:
                async for _ in run:
                    raise KeyError("mine")
        with pytest.raises(ZeroDivisionError):
            await BulkRun([1], scripted(world, lambda _: [ZeroDivisionError("bug")]))

        assert reported == []

    async def test_by_leaving_early_cancels_the_jobs_in_flight(self, world: World) -> None:
        async with BulkRun(range(100), scripted(world), concurrency=4) as run:
            async for _ in run:
                break

        assert world.running == 0
        assert len(asyncio.all_tasks()) == 1

    async def test_by_cancelling_the_consumer_cancels_the_jobs_in_flight(
        self, world: World
    ) -> None:
        consumer = asyncio.ensure_future(names_of(BulkRun(range(100), scripted(world))))
        await asyncio.sleep(0.5)

        consumer.cancel()

        with pytest.raises(asyncio.CancelledError):
            await consumer
        assert world.running == 0
        assert len(asyncio.all_tasks()) == 1

    async def test_by_cancelling_twice_leaves_nothing_behind_either(self, world: World) -> None:
        class Stubborn(ScriptedJob):
            async def run(self) -> Any:
                try:
                    await asyncio.sleep(100)
                finally:
                    await asyncio.sleep(10)

        consumer = asyncio.ensure_future(
            names_of(BulkRun([1], lambda n: Stubborn(world, n, [1.0])))
        )
        await asyncio.sleep(1)
        consumer.cancel()
        await asyncio.sleep(1)
        consumer.cancel()

        with pytest.raises(asyncio.CancelledError):
            await consumer
        assert len(asyncio.all_tasks()) == 1

    async def test_by_a_bug_in_a_job_raises_the_bug_as_it_is(self, world: World) -> None:
        make = scripted(world, lambda n: [ZeroDivisionError("bug")] if n == 3 else [10.0])

        with pytest.raises(ZeroDivisionError, match="bug"):
            await BulkRun(range(100), make)

        assert world.running == 0

    async def test_by_a_bug_that_was_not_read_yet_raises_it_from_the_block(
        self, world: World
    ) -> None:
        make = scripted(world, lambda n: [ZeroDivisionError("bug")] if n == 3 else [10.0])

        with pytest.raises(ZeroDivisionError, match="bug"):
            async with BulkRun(range(10), make, host_of=itself):
                await asyncio.sleep(1)

    async def test_by_two_errors_raises_the_blocks_own_and_reports_the_other_to_the_loop(
        self, world: World
    ) -> None:
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(context)
        )
        make = scripted(world, lambda _: [ZeroDivisionError("bug")])

        with pytest.raises(KeyError):
            async with BulkRun(range(10), make):
                await asyncio.sleep(1)
                raise KeyError("mine")

        (context,) = reported
        assert context["message"] == "a bulk run that was left early broke as well"
        assert isinstance(context["exception"], ZeroDivisionError)

    async def test_by_a_cancellation_of_a_jobs_own_is_not_swallowed(self, world: World) -> None:
        make = scripted(world, lambda _: [asyncio.CancelledError()])

        with pytest.raises(asyncio.CancelledError):
            await BulkRun([1], make)

    async def test_starts_no_job_after_one_that_ignores_its_cancellation(
        self, world: World
    ) -> None:
        class Deaf(ScriptedJob):
            async def run(self) -> Any:
                world.started.append((now(), self.name))
                try:
                    await asyncio.sleep(100)
                except asyncio.CancelledError:
                    await asyncio.sleep(1)
                    return self.name

        async with BulkRun(range(100), lambda n: Deaf(world, n, []), concurrency=1):
            await asyncio.sleep(1)

        assert [name for _, name in world.started] == [0]

    async def test_by_a_bug_starts_no_job_while_outcomes_are_read_after_it(
        self, world: World
    ) -> None:
        class Broken(ScriptedJob):
            async def run(self) -> Any:
                await asyncio.sleep(50)
                raise ZeroDivisionError("bug")

        def make(number: int) -> ScriptedJob:
            return scripted(world)(number) if number else Broken(world, number, [])

        seen: list[int] = []
        with pytest.raises(ZeroDivisionError, match="bug"):
            async with BulkRun(range(100), make, concurrency=2) as run:
                await asyncio.sleep(100)
                async for outcome in run:
                    seen.append(outcome.index)  # noqa: PERF401 - the bug ends the loop

        assert seen == [1, 2, 3]
        assert len(world.started) == 3

    def test_by_ctrl_c_leaves_nothing_behind_and_says_nothing(self) -> None:
        program = Path(__file__).with_name("interrupted.py")
        process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-W", "error", str(program)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == "running\n"
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=120)

        assert "KeyboardInterrupt" in stderr
        assert "never" not in stderr
        assert "Warning" not in stderr


class TestADeadline:
    async def test_cancels_the_jobs_in_flight_and_does_not_attempt_the_rest(
        self, world: World
    ) -> None:
        make = scripted(world, lambda _: [10.0])

        report = await BulkRun(range(10), make, concurrency=2, deadline=5)

        assert now() == 5.0
        kinds = [type(outcome) for outcome in report]
        assert kinds.count(Failed) == 2
        assert kinds.count(NotAttempted) == 8
        assert report.complete
        assert not report.ok
        assert isinstance(report.failures[0].error, DeadlineExceeded)

    async def test_does_not_attempt_parked_jobs(self, world: World) -> None:
        make = scripted(world, lambda _: [NotBefore(1.0), NotBefore(1000.0)])

        report = await BulkRun([1], make, deadline=5)

        (outcome,) = report
        assert outcome == NotAttempted(1, 0, 2, "the run's deadline passed", retries=1)
        assert now() == 5.0

    async def test_fails_a_parked_job_that_may_have_been_applied(self, world: World) -> None:
        make = scripted(world, lambda _: [NotBefore(1.0), NotBefore(1000.0)], maybe_applied=True)

        (outcome,) = await BulkRun([1], make, deadline=5)

        assert isinstance(outcome, Failed)
        assert outcome.error.maybe_applied
        assert (outcome.who, outcome.index, outcome.attempts, outcome.retries) == (1, 0, 2, 1)

    async def test_parks_no_more_jobs(self, world: World) -> None:
        class Late(ScriptedJob):
            async def run(self) -> Any:
                self.attempts += 1
                try:
                    await asyncio.sleep(100)
                except asyncio.CancelledError:
                    await asyncio.sleep(1)
                    return NotBefore(1000.0)

        (outcome,) = await BulkRun([1], lambda n: Late(world, n, [1.0]), deadline=5)

        assert outcome == NotAttempted(1, 0, 1, "the run's deadline passed")

    async def test_keeps_the_value_of_a_job_that_ends_all_the_same(self, world: World) -> None:
        class Quick(ScriptedJob):
            async def run(self) -> Any:
                try:
                    await asyncio.sleep(100)
                except asyncio.CancelledError:
                    return "just in time"

        report = await BulkRun([1], lambda n: Quick(world, n, [1.0]), deadline=5)

        assert report.values() == ["just in time"]

    async def test_still_names_every_element_of_the_input(self, world: World) -> None:
        pulled: list[int] = []
        make = scripted(world, lambda _: [10.0])

        report = await BulkRun(counting(pulled, range(1000)), make, concurrency=2, deadline=5)

        assert len(report) == 1000

    async def test_leaves_an_async_input_that_stalls(self, world: World) -> None:
        async def elements() -> AsyncIterator[int]:
            yield 1
            await asyncio.sleep(1000)
            yield 2

        report = await BulkRun(elements(), scripted(world), deadline=5)

        assert now() == 6.0
        assert len(report) == 1
        assert not report.complete
        with pytest.raises(ExceptionGroup, match="not read to its end"):
            report.raise_for_errors()

    async def test_names_the_elements_that_an_async_input_still_gives_in_time(
        self, world: World
    ) -> None:
        async def elements() -> AsyncIterator[int]:
            for number in range(20):
                await asyncio.sleep(0.5)
                yield number

        report = await BulkRun(elements(), scripted(world), deadline=5)

        assert len(report) == 20
        assert report.complete

    async def test_reports_unstarted_elements_no_faster_than_they_are_read(
        self, world: World
    ) -> None:
        make = scripted(world, lambda _: [NotBefore(1000.0)], quota_key="dealer")

        async with BulkRun(range(100), make, concurrency=4, deadline=5) as run:
            await asyncio.sleep(10)
            assert run.progress.unread == 8
            assert run.progress.held_by == "consumer"
            left = [outcome async for outcome in run]

        assert [outcome.index for outcome in left] == list(range(100))
        assert all(isinstance(outcome, NotAttempted) for outcome in left)

    async def test_does_not_hide_that_an_async_input_broke(self, world: World) -> None:
        async def elements() -> AsyncIterator[int]:
            yield 1
            raise LookupError("the stream broke off")

        with pytest.raises(LookupError, match="broke off"):
            await BulkRun(elements(), scripted(world), deadline=5)

    async def test_that_is_kept_changes_nothing(self, world: World) -> None:
        report = await BulkRun(range(3), scripted(world), deadline=100, host_of=itself)

        assert report.ok
        assert now() == 1.0

    async def test_of_the_consumer_and_one_of_the_run_do_not_disturb_each_other(
        self, world: World
    ) -> None:
        make = scripted(world, lambda _: [10.0])
        run = BulkRun(range(3), make, deadline=5)

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await names_of(run)

        assert len(asyncio.all_tasks()) == 1


def test_an_outcome_says_whether_it_went_well() -> None:
    assert Done(1, 0, 1, "value").ok
    assert not Failed(1, 0, 1, ResponseLost("cut off")).ok
    assert not NotAttempted(1, 0).ok


async def test_a_report_raises_its_errors_together(world: World) -> None:
    make = scripted(world, lambda n: [ResponseLost("cut off")] if n < 2 else [1.0])
    report = await BulkRun(range(4), make)

    with pytest.raises(ExceptionGroup) as caught:
        report.raise_for_errors()

    assert len(caught.value.exceptions) == 2
    assert all(isinstance(error, RingMeError) for error in caught.value.exceptions)


async def test_a_report_without_errors_raises_nothing(world: World) -> None:
    (await BulkRun(range(4), scripted(world))).raise_for_errors()


async def test_a_report_says_in_one_line_how_it_went(world: World) -> None:
    def steps(number: int) -> list[Any]:
        return {0: [ResponseLost("cut off")], 1: [NotBefore(9.0), 1.0]}.get(number, [1.0])

    def make(number: int) -> ScriptedJob:
        return ScriptedJob(world, number, steps(number), quota_key=number, tenant_key=number)

    report = await BulkRun(range(4), make)

    assert report.summary() == "3 of 4 done, 1 failed (ResponseLost 1), 1 retry"
    assert report.counts == {"done": 3, "ResponseLost": 1, "not_attempted": 0}


async def test_a_report_is_shown_in_short(world: World) -> None:
    report = await BulkRun(range(2_000), scripted(world, lambda _: [ResponseLost("cut off")]))

    assert repr(report) == "<BulkReport: 0 of 2000 done, 2000 failed (ResponseLost 2000)>"


async def test_a_report_names_elements_that_were_not_attempted(world: World) -> None:
    report = await BulkRun(range(4), scripted(world, lambda _: [9.0]), concurrency=1, deadline=5)

    assert report.summary() == "0 of 4 done, 1 failed (DeadlineExceeded 1), 3 not attempted"
    with pytest.raises(ExceptionGroup) as caught:
        report.raise_for_errors()
    assert "3 were not attempted" in str(caught.value.exceptions[-1])


async def test_a_streamed_run_keeps_the_counts_and_the_first_thousand_failures(
    world: World,
) -> None:
    make = scripted(world, lambda _: [ResponseLost("cut off")])
    async with BulkRun(range(1500), make) as run:
        async for _ in run:
            pass

    assert run.report.failed == 1500
    assert len(run.report.failures) == 1000


async def test_an_awaited_run_keeps_its_report(world: World) -> None:
    run = BulkRun(range(3), scripted(world))

    report = await run

    assert run.report is report


async def test_an_error_in_an_outcome_holds_no_frames(world: World) -> None:
    (outcome,) = await BulkRun([1], scripted(world, lambda _: [ResponseLost("cut off")]))

    assert isinstance(outcome, Failed)
    assert outcome.error.__traceback__ is None
    assert (outcome.ok, outcome.who) == (False, 1)
