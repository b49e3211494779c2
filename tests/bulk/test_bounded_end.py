"""A run ends within seconds, whatever its input or its jobs do when they are cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import warnings
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import pytest
from attrs import define, field

from ringme_async import BearerToken, Request, Response, RingMe
from ringme_async.bulk import BulkReport, BulkRun, Done, Failed, engine
from ringme_async.bulk import worker_pool as pool
from tests.bulk.scripted_job import ScriptedJob, World, now, scripted

pytestmark = pytest.mark.jumping

# Twice what a run waits for a task that hangs, and for one that is cancelled twice.
BOUND = 12.0
STEPS = 40


@define
class Trouble:
    """Ignores cancellation, until the test ends it."""

    over: asyncio.Event = field(factory=asyncio.Event)
    calls: int = 0

    async def ignore_cancellation(self) -> None:
        self.calls += 1
        while not self.over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.over.wait()

    async def hang(self) -> None:
        self.calls += 1
        await self.over.wait()


@pytest.fixture
async def trouble() -> AsyncIterator[Trouble]:
    made = Trouble()
    yield made
    made.over.set()
    await asyncio.sleep(1)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def nothing() -> None:
    pass


@define
class Input:
    """Gives numbers. Then ``at_its_end`` runs, and ``on_close`` when it is closed: both may hang."""

    numbers: Iterator[int]
    at_its_end: Callable[[], Any] = nothing
    on_close: Callable[[], Any] = nothing
    closed: bool = False

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        for number in self.numbers:
            return number
        await self.at_its_end()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        await self.on_close()
        self.closed = True


def inputs(trouble: Trouble) -> dict[str, Callable[[Iterable[int]], Input]]:
    deaf, hangs = trouble.ignore_cancellation, trouble.hang
    return {
        "an __anext__ that hangs": lambda n: Input(iter(n), at_its_end=hangs),
        "an __anext__ that ignores cancellation": lambda n: Input(iter(n), at_its_end=deaf),
        "an aclose that hangs": lambda n: Input(iter(n), on_close=hangs),
        "an aclose that ignores cancellation": lambda n: Input(iter(n), on_close=deaf),
        "both": lambda n: Input(iter(n), at_its_end=hangs, on_close=hangs),
    }


KINDS = tuple(inputs(Trouble()))


@contextlib.contextmanager
def taking_warnings() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        yield caught
    assert {message.category for message in caught} <= {RuntimeWarning}


@pytest.mark.parametrize("kind", KINDS)
class TestAnInputThatHangs:
    async def test_does_not_hold_up_an_outer_timeout(
        self, world: World, trouble: Trouble, kind: str
    ) -> None:
        source = inputs(trouble)[kind](range(3))
        with taking_warnings() as caught, pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                async with BulkRun(source, scripted(world)) as run:
                    async for _ in run:
                        pass
                    await asyncio.sleep(100)

        assert now() < 10 + BOUND
        assert source.closed is not bool(caught)

    async def test_does_not_hold_up_a_consumer_that_leaves(
        self, world: World, trouble: Trouble, kind: str
    ) -> None:
        source = inputs(trouble)[kind](range(3))
        with taking_warnings() as caught:
            async with BulkRun(source, scripted(world)) as run:
                await anext(run)

        assert now() < 1 + BOUND
        # One that hangs in its close already is cancelled in it.
        assert source.closed or caught or kind == "an aclose that hangs"

    async def test_does_not_hold_up_a_run_that_is_awaited_with_a_deadline(
        self, world: World, trouble: Trouble, kind: str
    ) -> None:
        source = inputs(trouble)[kind](range(3))
        with taking_warnings():
            report = await BulkRun(source, scripted(world), deadline=10)

        assert now() < 10 + 2 * BOUND
        assert [type(outcome) for outcome in report] == [Done] * 3
        assert report.complete is kind.startswith("an aclose")

    async def test_does_not_hold_up_a_run_that_is_called_off(
        self, world: World, trouble: Trouble, kind: str
    ) -> None:
        ends: list[Callable[[str], None]] = []

        def on_close(end: Callable[[str], None]) -> Callable[[], None]:
            ends.append(end)
            return ends.clear

        async def read() -> BulkReport[Any]:
            return await BulkRun(source, scripted(world), on_close=on_close)

        source = inputs(trouble)[kind](range(3))
        with taking_warnings():
            reading = asyncio.ensure_future(read())
            await asyncio.sleep(0.5)
            ends[0]("the source was closed")
            report = await reading

        assert now() < 0.5 + 2 * BOUND
        assert len(report) == 3


@pytest.mark.parametrize("kind", ["an aclose that hangs", "an aclose that ignores cancellation"])
async def test_a_hanging_close_after_the_last_element_does_not_hold_up_the_report(
    world: World, trouble: Trouble, kind: str
) -> None:
    source = inputs(trouble)[kind](range(3))
    with taking_warnings() as caught:
        report = await BulkRun(source, scripted(world))

    assert now() < 1 + 2 * BOUND
    assert report.ok
    assert "input (1)" in str(caught[0].message)


async def test_a_slow_close_is_awaited_without_a_warning(world: World) -> None:
    async def slow() -> None:
        await asyncio.sleep(4)

    source = Input(iter(range(3)), on_close=slow)
    report = await BulkRun(source, scripted(world))

    assert report.ok
    assert source.closed


async def test_an_input_that_goes_on_slowly_after_the_deadline_is_pulled_to_its_end(
    world: World,
) -> None:
    async def numbers() -> AsyncIterator[int]:
        for number in range(50):
            yield number
            await asyncio.sleep(0.9)

    report = await BulkRun(numbers(), scripted(world), deadline=10)

    assert len(report) == 50
    assert report.complete


async def test_an_input_waits_for_a_reader_after_the_deadline_as_long_as_it_has_to(
    world: World,
) -> None:
    async def numbers() -> AsyncIterator[int]:
        for number in range(50):
            yield number

    async with BulkRun(numbers(), scripted(world), concurrency=2, deadline=3) as run:
        await asyncio.sleep(100)
        outcomes = [outcome async for outcome in run]

    assert len(outcomes) == 50
    assert run.report.complete


class TestAJobThatIgnoresCancellation:
    async def test_has_its_outcome_soon_after_the_deadline(
        self, world: World, trouble: Trouble
    ) -> None:
        with taking_warnings() as caught:
            report = await BulkRun(range(5), deaf_jobs(world, trouble), concurrency=4, deadline=10)

        assert now() < 10 + 2 * BOUND
        assert [type(outcome) for outcome in report] == [Done, Failed, Done, Failed, Done]
        assert "job (2)" in str(caught[0].message)

    async def test_that_ends_after_all_has_one_outcome(
        self, world: World, trouble: Trouble
    ) -> None:
        async with BulkRun(range(2), deaf_jobs(world, trouble), deadline=10) as run:
            with taking_warnings():
                outcomes = [await anext(run), await anext(run)]
            trouble.over.set()
            await asyncio.sleep(1)
            outcomes += [outcome async for outcome in run]

        assert sorted(outcome.index for outcome in outcomes) == [0, 1]
        assert run.progress.in_flight == 0

    async def test_does_not_hold_up_an_outer_timeout(self, world: World, trouble: Trouble) -> None:
        with taking_warnings() as caught, pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await BulkRun(range(5), deaf_jobs(world, trouble))

        assert now() < 10 + BOUND
        assert "ringme job (2)" in str(caught[0].message)

    async def test_does_not_hold_up_the_close_of_a_ringme(self, trouble: Trouble) -> None:
        class Deaf:
            async def send(self, _request: Request) -> Response:
                await trouble.ignore_cancellation()
                raise AssertionError

            async def aclose(self) -> None:
                pass

        ringme = RingMe("https://pbx.example.com", auth=BearerToken("t0ken"), transport=Deaf())
        calling = asyncio.ensure_future(ringme.clients.get(12))
        await asyncio.sleep(1)
        with taking_warnings() as caught:
            await ringme.aclose()

        assert now() < 1 + BOUND
        assert "hang: 1" in str(caught[0].message)
        trouble.over.set()
        with pytest.raises(AssertionError):
            await calling


def deaf_jobs(world: World, trouble: Trouble) -> Callable[[int], ScriptedJob]:
    """Make jobs of which every second one ignores cancellation."""

    class Deaf(ScriptedJob):
        async def run(self) -> Any:
            await trouble.ignore_cancellation()

    def make(number: int) -> ScriptedJob:
        kind = Deaf if number % 2 else ScriptedJob
        return kind(world, number, [1.0], quota_key=number, tenant_key=number)

    return make


async def cancel_at(step: int, again: int | None, source: Input, world: World) -> bool:
    """Cancel a run after some steps of the loop, and perhaps once more.

    Returns:
        Whether the cancellation got out, or came too late.
    """

    async def read() -> None:
        async with BulkRun(source, scripted(world, lambda _: [0.0]), concurrency=2) as run:
            async for _ in run:
                pass

    task = asyncio.ensure_future(read())
    for _ in range(step):
        await asyncio.sleep(0)
    too_late = not task.cancel()
    if again is not None:
        for _ in range(again):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait([task])
    return task.cancelled() or too_late


async def fuzz(kind: str, again: int | None, world: World) -> None:
    """Cancel at every step, up to the one at which the run hangs or has ended."""
    for step in range(STEPS):
        trouble = Trouble()
        assert await cancel_at(step, again, inputs(trouble)[kind](range(5)), world)
        trouble.over.set()
        # Nothing is left that does not end now.
        while left := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(left)


@pytest.mark.parametrize("again", [None, 0, 3])
@pytest.mark.parametrize("kind", KINDS)
async def test_every_cancellation_gets_out_at_any_step(
    world: World, kind: str, again: int | None
) -> None:
    began = now()
    with taking_warnings():
        await fuzz(kind, again, world)
    assert now() - began < STEPS * BOUND


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_cancellation_gets_out_on_real_loops(
    monkeypatch: pytest.MonkeyPatch, kind: str, loop: str
) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not installed")
    factory = getattr(importlib.import_module(loop), "new_event_loop")  # noqa: B009
    for module, name in ((pool, "GRACE"), (pool, "_LAST_GRACE"), (engine, "GRACE")):
        monkeypatch.setattr(module, name, 0.001)
    with taking_warnings(), asyncio.Runner(loop_factory=factory) as runner:
        runner.run(fuzz(kind, 1, World()))
