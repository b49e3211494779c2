"""Properties of every run, whatever its jobs, its input and its consumer do."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

from attrs import define, field
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from ringme_async.bulk import BulkRun, Done, Failed, NotAttempted, NotBefore
from ringme_async.errors import (
    AccessDenied,
    DeadlineExceeded,
    InvalidRequest,
    ResponseLost,
    RingMeError,
    ServerError,
)
from tests.bulk.scripted_job import now
from tests.jumping_loop import JumpingLoop

ERRORS = (ResponseLost, AccessDenied, ServerError)


@define
class Element:
    """What one job does: each of its runs takes a time and ends in a way."""

    key: str
    tenant: str
    malformed: bool
    runs: list[tuple[float, str]]


@define
class Case:
    elements: list[Element]
    concurrency: int
    per_tenant: int
    max_waiting: int
    ordered: bool
    deadline: float | None
    waits_out_outages: bool
    outage: tuple[float, float] | None
    is_async: bool
    between_elements: float
    breaks_at: int | None
    reader_pauses: float
    leaves_after: int | None
    cancelled_at: float | None
    limits: list[tuple[float, int]]


def cases() -> st.SearchStrategy[Case]:
    seconds = st.sampled_from([0.0, 0.0, 0.1, 1.0, 3.0, 40.0])
    ways = st.sampled_from(["done", "done", "done", "fail", "park", "park long"])
    elements = st.builds(
        Element,
        key=st.sampled_from("abc"),
        tenant=st.sampled_from("uvwxyz"),
        malformed=st.sampled_from([False] * 7 + [True]),
        runs=st.lists(st.tuples(seconds, ways), min_size=1, max_size=3),
    )
    return st.builds(
        Case,
        elements=st.lists(elements, max_size=40) | st.lists(elements, min_size=30, max_size=50),
        concurrency=st.integers(1, 9),
        per_tenant=st.integers(1, 4),
        max_waiting=st.integers(1, 12),
        ordered=st.booleans(),
        deadline=st.none() | st.sampled_from([0.05, 1.0, 5.0, 60.0]),
        waits_out_outages=st.booleans(),
        outage=st.none()
        | st.tuples(st.sampled_from([0.0, 0.5, 3.0]), st.sampled_from([2.0, 50.0, 4_000.0])),
        is_async=st.booleans(),
        between_elements=st.sampled_from([0.0, 0.0, 0.3, 5.0]),
        breaks_at=st.none() | st.none() | st.integers(0, 40),
        reader_pauses=st.sampled_from([0.0, 0.0, 0.2, 4.0]),
        leaves_after=st.none() | st.none() | st.integers(0, 20),
        cancelled_at=st.none() | st.none() | st.sampled_from([0.0, 0.1, 1.0, 7.0]),
        limits=st.lists(
            st.tuples(st.sampled_from([0.0, 0.5, 2.0, 20.0]), st.integers(1, 9)), max_size=3
        ),
    )


@define(eq=False)
class Trial:
    """A run of a case, which looks at every bound whenever something starts."""

    case: Case
    pulled: int = 0
    read: list[Any] = field(factory=list)
    running: Counter[tuple[str, str]] = field(factory=Counter)
    started: dict[tuple[str, str], list[int]] = field(factory=dict)
    closed: bool = False
    run: BulkRun[int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        case = self.case
        self.run = BulkRun(
            self.elements_to_come() if case.is_async else self.elements(),
            self.make_job,
            concurrency=case.concurrency,
            per_tenant=case.per_tenant,
            max_waiting=case.max_waiting,
            ordered=case.ordered,
            deadline=case.deadline,
            on_outage="wait" if case.waits_out_outages else "fail",
            host_of=lambda key: key == "c",
        )

    @property
    def most_slots(self) -> int:
        return max([self.case.concurrency, *(limit for _, limit in self.case.limits)])

    def elements(self) -> Iterator[int]:
        try:
            for index in range(len(self.case.elements)):
                if index == self.case.breaks_at:
                    raise LookupError("the input broke")
                self.pulled += 1
                self.check_bounds()
                yield index
        finally:
            self.closed = True

    async def elements_to_come(self) -> AsyncIterator[int]:
        try:
            if self.case.between_elements:
                await asyncio.sleep(self.case.between_elements)
            for index in self.elements():
                yield index
                if self.case.between_elements:
                    await asyncio.sleep(self.case.between_elements)
        finally:
            self.closed = True

    def make_job(self, index: int) -> Job:
        if self.case.elements[index].malformed:
            raise InvalidRequest("malformed")
        return Job(self, index, self.case.elements[index])

    def check_bounds(self) -> None:
        in_flight = sum(self.running.values())
        assert in_flight <= self.most_slots
        assert max(self.running.values(), default=0) <= self.case.per_tenant
        look = self.run.progress
        assert look.in_flight + look.unread <= 2 * self.most_slots
        held = self.pulled - len(self.read)
        assert held <= self.case.max_waiting + 2 * self.most_slots + self.most_slots
        assert look.parked + look.waiting <= self.case.max_waiting + self.most_slots

    async def follow(self) -> None:
        for seconds, limit in self.case.limits:
            asyncio.get_running_loop().call_later(
                seconds, self.run._run_state.queue.limit.change, limit
            )
        async with self.run as run:
            async for outcome in run:
                self.read.append(outcome)
                look = run.progress
                assert look.pulled == (
                    look.finished + look.parked + look.waiting + look.in_flight
                ), look
                if len(self.read) == self.case.leaves_after:
                    break
                if self.case.reader_pauses:
                    await asyncio.sleep(self.case.reader_pauses)


@define(eq=False)
class Job:
    trial: Trial
    index: int
    element: Element
    attempts: int = 0
    waiting_for_login: bool = False
    sent_at: float | None = None

    @property
    def quota_key(self) -> str:
        return self.element.key

    @property
    def tenant_key(self) -> tuple[str, str]:
        return (self.element.key, self.element.tenant)

    @property
    def retries(self) -> int:
        return max(0, self.attempts - 1)

    def not_before(self) -> float | None:
        return None

    async def run(self) -> int | NotBefore:
        trial, runs = self.trial, self.element.runs
        seconds, way = runs[min(self.attempts, len(runs) - 1)]
        trial.started.setdefault(self.tenant_key, []).append(self.index)
        self.attempts += 1
        trial.running[self.tenant_key] += 1
        trial.check_bounds()
        try:
            if seconds:
                await asyncio.sleep(seconds)
        finally:
            trial.running[self.tenant_key] -= 1
        outage = trial.case.outage
        if outage is not None and outage[0] <= now() < sum(outage):
            raise ResponseLost("down", attempts=self.attempts)
        if way == "fail":
            raise ERRORS[self.index % len(ERRORS)]("failed", attempts=self.attempts)
        if way.startswith("park") and self.attempts < 3:
            return NotBefore(now() + (500.0 if way == "park long" else 0.7))
        return self.index

    def abandon(self, reason: str) -> RingMeError:
        return DeadlineExceeded("cut short", maybe_applied=self.index % 2 == 0)


async def try_out(trial: Trial) -> BaseException | None:
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    consumer = asyncio.ensure_future(trial.follow())
    if trial.case.cancelled_at is not None:
        asyncio.get_running_loop().call_later(trial.case.cancelled_at, consumer.cancel)
    await asyncio.wait([consumer])
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert reported == []
    assert trial.running.total() == 0
    return asyncio.CancelledError() if consumer.cancelled() else consumer.exception()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_every_element_has_its_one_outcome_and_every_bound_holds(case: Case) -> None:
    trial = Trial(case)
    with asyncio.Runner(debug=False, loop_factory=JumpingLoop) as runner:
        error = runner.run(try_out(trial))

    indexes = [outcome.index for outcome in trial.read]
    assert len(set(indexes)) == len(indexes)
    if case.ordered:
        assert indexes == list(range(len(indexes)))
    for outcome in trial.read:
        check_outcome(case, outcome)
    if case.per_tenant == 1:
        for order in trial.started.values():
            assert order == sorted(order)
    assert trial.closed or trial.pulled == 0

    left_early = case.leaves_after is not None and len(indexes) == case.leaves_after > 0
    was_cancelled = isinstance(error, asyncio.CancelledError)
    assert not was_cancelled or case.cancelled_at is not None
    broke = isinstance(error, LookupError)
    event(f"early={left_early} cancelled={was_cancelled} broke={broke}")
    if not left_early and not was_cancelled:
        assert sorted(indexes) == list(range(trial.pulled))
        if not broke:
            assert error is None
            assert trial.pulled == len(case.elements) or not trial.run.report.complete
            assert trial.run.report.complete or (case.is_async and case.deadline is not None)
    assert error is None or broke or was_cancelled


def check_outcome(case: Case, outcome: Any) -> None:
    element = case.elements[outcome.index]
    match outcome:
        case Done(value=value):
            assert value == outcome.index
            assert not element.malformed
        case NotAttempted(attempts=attempts, reason=reason):
            given_up = case.waits_out_outages and case.outage is not None
            assert case.deadline is not None or case.breaks_at is not None or given_up
            assert given_up or not reason.startswith("its host does not answer")
            assert attempts == 0 or outcome.index % 2
        case Failed(error=error):
            assert error.__traceback__ is None
            assert element.malformed == isinstance(error, InvalidRequest)
            assert not isinstance(error, DeadlineExceeded) or case.deadline or case.breaks_at
