"""A run: awaited for its report, or entered and iterated."""

from __future__ import annotations

import asyncio
import math
import warnings
from collections.abc import (
    AsyncIterable,
    Callable,
    Coroutine,
    Generator,
    Hashable,
    Iterable,
    Mapping,
)
from types import TracebackType
from typing import Any, Final, Generic, Literal, Self, TypeVar, cast

from ringme_async._internal.text import shown
from ringme_async._internal.validation import is_number, one_of, whole_number
from ringme_async.bulk.adaptive_limit import FIRST_LEVEL, AIMDLimiter, CapacityLimit
from ringme_async.bulk.engine import Engine, OnClose
from ringme_async.bulk.fair_queue import FairQueue
from ringme_async.bulk.job import Job
from ringme_async.bulk.job_source import JobSource
from ringme_async.bulk.outcome import Outcome
from ringme_async.bulk.probing import ProbeOf
from ringme_async.bulk.progress import Progress, estimate
from ringme_async.bulk.report import BulkReport, BulkSummary
from ringme_async.bulk.result_queue import ResultQueue
from ringme_async.bulk.run_state import RunState
from ringme_async.errors import InvalidRequest
from ringme_async.tenant import Who

__all__ = ["BulkRun", "Concurrency", "progress_of"]

T = TypeVar("T")
Concurrency = int | Literal["auto"]
V = TypeVar("V")

_MOST_SLOTS: Final = 256
_ON_QUOTA: Final = ("park", "fail")
_ON_OUTAGE: Final = ("wait", "fail")


def _identity(element: object) -> object:
    return element


def _single_host(_key: object) -> None:
    return None


class BulkRun(Generic[V]):
    """Many jobs at once: bounded, fair, and with exactly one outcome for each element of the input.

    A run is used once, in one of two ways. Awaited, it returns a ``BulkReport`` with all outcomes
    in input order. Entered with ``async with`` and iterated, it gives each outcome as it comes, and
    ``progress`` and ``report`` are current at any time. When the block ends, the run cancels its
    jobs and waits for them; an error of the block gets out unchanged. A job or an input that
    ignores its cancellation for some seconds is left, with a ``RuntimeWarning``.

    The run pulls an element only if a slot is free and no held element can start. It holds at most
    ``concurrency`` jobs in flight, twice as many in flight or finished and unread, and
    ``max_waiting`` that are parked or waiting. (A job that is parked after its start keeps its
    place until another element ends.)

    A malformed element is a ``Failed``. If the input raises, the run finishes the jobs in flight,
    ends the elements that wait as ``NotAttempted``, and raises that error. If a job raises anything
    but a ``RingMeError``, that is a bug: the run cancels everything and raises it.

    Args:
        items: The input: an iterable, an async iterable, or a mapping, which stands for its pairs.
        make_job: Makes the job for an element, or raises a ``RingMeError`` if it is malformed.
        name_of: Returns the ``who`` of an element's outcome: its ``Who``, or anything at all if the
            element is malformed. Default the element itself.
        concurrency: How many jobs may be in flight. ``"auto"`` adapts the number to latency and
            failures. Default 64.
        max_concurrency: How many jobs ``"auto"`` may have in flight; only with ``"auto"``. Default
            256.
        per_tenant: How many jobs of one tenant key; 1 runs them one at a time, in input order.
            Default an eighth of ``concurrency``.
        max_waiting: How many elements may be pulled that cannot start yet. Default 10,000.
        ordered: Give outcomes in input order. A parked element then delays all after it.
        deadline: Seconds for the run, from its start. Then the jobs in flight are cancelled and end
            as ``Failed``. The rest of the input is still pulled, so it must have an end, and
            becomes ``NotAttempted``. An async input that takes over a second for an element is left
            at that point, and the report is not ``complete``. Default none.
        on_quota: ``"park"`` jobs until their ``not_before``, or let them run and ``"fail"``.
        on_outage: ``"wait"`` for a host that is down, and retry the jobs that failed because of
            that, or let them ``"fail"``. Default ``"fail"``.
        host_of: Returns the host of a quota key, so that no host takes all the slots. Default one
            host for all.
        on_close: Registers a function with what the jobs depend on, and returns a function that
            unregisters it. Called with a reason, the function makes the run pull nothing more and
            end waiting elements as ``NotAttempted``. A ``RingMeClosed`` of a job does the same.
            Default none.
        probe_of: Makes a job that changes nothing, for the tenant of a finished job. It shows
            whether a host is down, and has no outcome. Default none: only untried tenants are
            probed.

    Raises:
        InvalidRequest: An argument is out of bounds, or the input is a text or no iterable.
    """

    # "refused" first: if the constructor raises, no warning says that the run was forgotten.
    _state: Literal["refused", "new", "entered", "used"] = "refused"

    def __init__(
        self,
        items: Iterable[T] | AsyncIterable[T] | Mapping[Any, Any],
        make_job: Callable[[T], Job[V]],
        *,
        name_of: Callable[[T], object] = _identity,
        concurrency: Concurrency = 64,
        max_concurrency: int | None = None,
        per_tenant: int | None = None,
        max_waiting: int = 10_000,
        ordered: bool = False,
        deadline: float | None = None,
        on_quota: Literal["park", "fail"] = "park",
        on_outage: Literal["wait", "fail"] = "fail",
        host_of: Callable[[Any], Hashable] = _single_host,
        on_close: OnClose | None = None,
        probe_of: ProbeOf | None = None,
    ) -> None:
        limit, limiter = _limit(concurrency, max_concurrency)
        one_of("on_quota", on_quota, _ON_QUOTA)
        one_of("on_outage", on_outage, _ON_OUTAGE)
        self._run_state = RunState(
            # A malformed element is its own ``who``, of whatever type it is.
            JobSource(items, make_job, cast("Callable[[T], Who]", name_of)),
            FairQueue(
                limit,
                None if per_tenant is None else whole_number("per_tenant", per_tenant, least=1),
                host_of,
                on_quota == "park",
            ),
            ResultQueue[V](bool(ordered)),
            whole_number("max_waiting", max_waiting, least=1),
            on_outage == "wait",
            probe_of,
        )
        self._engine = Engine(
            self._run_state, None if deadline is None else _seconds(deadline), limiter, on_close
        )
        self._state = "new"
        self._report: BulkReport[V] | None = None

    @property
    def progress(self) -> Progress:
        """The progress of the run at this moment."""
        return progress_of(self._run_state, self._engine.now())

    @property
    def report(self) -> BulkSummary:
        """The counts so far and the first 1,000 failures; after ``await run``, its report."""
        if self._report is not None:
            return self._report
        return self._run_state.counts.summary(complete=self._run_state.is_complete)

    def __await__(self) -> Generator[Any, None, BulkReport[V]]:
        return self._collect().__await__()

    async def _collect(self) -> BulkReport[V]:
        async with self:
            outcomes: list[Outcome[V]] = []
            while batch := await self._engine.next_batch():
                outcomes += batch
            self._report = self._run_state.counts.report(
                outcomes, complete=self._run_state.is_complete
            )
        return self._report

    async def __aenter__(self) -> Self:
        if self._state != "new":
            raise RuntimeError("a run is used once; make another one for another go")
        self._state = "used"
        self._engine.start()
        self._state = "entered"
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._state = "used"
        error = await self._engine.stop()
        if error is None or error is exc:
            return
        if exc is None:
            raise error
        # The block's own error gets out; asyncio's exception handler gets this one.
        asyncio.get_running_loop().call_exception_handler(
            {"message": "a bulk run that was left early broke as well", "exception": error}
        )

    def __aiter__(self) -> Self:
        self._check_entered()
        return self

    def __anext__(self) -> Coroutine[Any, Any, Outcome[V]]:
        if self._state != "entered":
            self._check_entered()
        return self._engine.next()

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        # As a coroutine does. A default argument, as globals may be gone when the interpreter
        # exits.
        if self._state == "new":
            warn("a bulk run was neither awaited nor entered", RuntimeWarning, 2, self)

    def _check_entered(self) -> None:
        if self._state == "new":
            raise RuntimeError("iterate over a run inside of `async with run:`, or await it")
        if self._state == "used":
            raise RuntimeError("the run is over; it gives outcomes only inside of its `async with`")


def _limit(concurrency: object, most: object) -> tuple[CapacityLimit, AIMDLimiter | None]:
    if concurrency == "auto":
        most = whole_number("max_concurrency", _MOST_SLOTS if most is None else most, least=1)
        limit = CapacityLimit(min(FIRST_LEVEL, most))
        return limit, AIMDLimiter(limit, most)
    if isinstance(concurrency, str):
        raise InvalidRequest(f'concurrency is a whole number or "auto", not {shown(concurrency)}')
    if most is not None:
        raise InvalidRequest('max_concurrency goes with concurrency="auto" only')
    return CapacityLimit(whole_number("concurrency", concurrency, least=1)), None


def _seconds(deadline: object) -> float:
    if not is_number(deadline) or not 0 < deadline < math.inf:
        raise InvalidRequest(f"deadline must be a number of seconds above 0, not {shown(deadline)}")
    return float(deadline)


def progress_of(run_state: RunState[Any], now: float) -> Progress:
    """Return the progress of a run at this moment."""
    counts, queue, source, running = (
        run_state.counts,
        run_state.queue,
        run_state.source,
        run_state.running,
    )
    per_second = run_state.throughput.per_second(now, counts.finished)
    parked_until = queue.parked_until
    until_wake = None if parked_until is None else max(0.0, parked_until - now)
    left = None if source.total is None else max(0, source.total - counts.finished)
    return Progress(
        total=source.total,
        pulled=source.pulled,
        done=counts.done,
        failed=counts.failed,
        not_attempted=counts.not_attempted,
        parked=queue.parked,
        parked_until=parked_until,
        waiting=run_state.held - queue.parked,
        waiting_for_quota=queue.waiting_for_quota,
        in_flight=run_state.in_flight,
        waiting_for_login=sum(queued.job.waiting_for_login for queued in running),
        retried=counts.retried
        + sum(queued.job.retries for queued in running if not queued.is_probe),
        hosts_down=run_state.suspects.hosts_down,
        input_blocked=run_state.is_blocked,
        unread=run_state.results.unread,
        concurrency=queue.limit.value,
        per_second=per_second,
        eta=estimate(left, per_second, until_wake, idle=not running),
    )
