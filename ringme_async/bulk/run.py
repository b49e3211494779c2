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


def _itself(element: object) -> object:
    return element


def _one_for_all(_credential: object) -> None:
    return None


class BulkRun(Generic[V]):
    """Many jobs at once: bounded, fair, with exactly one outcome for each element of the input.

    It is used once, in one of two ways. Awaited, it gives a ``BulkReport`` with all outcomes in
    input order. Entered with ``async with``, it is iterated and gives each outcome as it comes;
    ``progress`` and ``report`` can be looked at all the while. However the block is left, what is
    in flight is cancelled and awaited, and the error that gets out is the block's own. A job or an
    input that goes on for some seconds after that is left, with a ``RuntimeWarning``.

    Elements are pulled only when there is a free slot and nothing in hand that could start. At any
    time there are no more than ``concurrency`` jobs in flight, twice as many in flight or finished
    and not read, and ``max_waiting`` that were pulled and are parked or waiting (one that is parked
    after it was started keeps its place until something in hand ends).

    An element that is malformed is a ``Failed``. An input that raises ends the run: what is in
    flight is done, what was pulled beyond that ends as ``NotAttempted``, and its error gets out.
    Any other error than a ``RingMeError`` in a job is a bug: everything is cancelled, and it gets
    out as it is.

    Args:
        items: The input: an iterable, an async iterable, or a mapping, which stands for its pairs.
        make_job: Gives the job for an element, or raises a ``RingMeError`` if it is malformed.
        name_of: Gives the ``who`` of an element's outcome: its ``Who``, or whatever it is if it is
            malformed. Default the element itself.
        concurrency: How many jobs may be in flight, or ``"auto"``: as many as do well, by latency
            and failures. Default 64.
        max_concurrency: How many jobs ``"auto"`` may have in flight; of no use with a number. Default
            256.
        per_tenant: How many jobs of one tenant key; 1 runs them one at a time, in input order.
            Default an eighth of ``concurrency``.
        max_waiting: How many elements may be held that were pulled and cannot start yet. Default
            10,000.
        ordered: Give outcomes in input order. One that is parked then holds up those after it.
        deadline: Seconds for the run, from its start. What is in flight then is cancelled and ends
            as ``Failed``; the rest of the input is still pulled to its end, so it must have one, and
            ends as ``NotAttempted``. An async input that takes over a second for an element is left
            at that point, and the report is not ``complete``. Default none.
        on_quota: ``"park"`` jobs until their ``not_before``, or let them run and ``"fail"``.
        on_outage: ``"wait"`` for a host that is down, with what has failed because of that, or let it
            ``"fail"``. Default ``"fail"``.
        host_of: Gives the host that a quota key belongs to, so that no host takes all the slots;
            default one host for all.
        accompany: Called at the start with what calls the run off, for whatever its jobs cannot do
            without; gives what takes that back. A run that was called off pulls nothing more, and
            what has not begun ends as ``NotAttempted``. A job that ends in a ``RingMeClosed`` calls
            it off, too. Default nobody.
        probe_of: Gives a job that changes nothing, for the tenant of a job that was done. It is run
            to find out whether a host is down, and has no outcome. Default none: only tenants that
            have not been tried are asked.

    Raises:
        InvalidRequest: An argument is out of bounds, or the input is a text or no iterable.
    """

    # One that is refused is no run that was forgotten.
    _state: Literal["refused", "new", "entered", "used"] = "refused"

    def __init__(
        self,
        items: Iterable[T] | AsyncIterable[T] | Mapping[Any, Any],
        make_job: Callable[[T], Job[V]],
        *,
        name_of: Callable[[T], object] = _itself,
        concurrency: Concurrency = 64,
        max_concurrency: int | None = None,
        per_tenant: int | None = None,
        max_waiting: int = 10_000,
        ordered: bool = False,
        deadline: float | None = None,
        on_quota: Literal["park", "fail"] = "park",
        on_outage: Literal["wait", "fail"] = "fail",
        host_of: Callable[[Any], Hashable] = _one_for_all,
        on_close: OnClose | None = None,
        probe_of: ProbeOf | None = None,
    ) -> None:
        limit, limiter = _limit(concurrency, max_concurrency)
        one_of("on_quota", on_quota, _ON_QUOTA)
        one_of("on_outage", on_outage, _ON_OUTAGE)
        self._run_state = RunState(
            # What is malformed is its own name, be it of whatever type.
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
        """How far it is at this moment."""
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
        # The block's own error goes on; this one is told where asyncio tells what has no place.
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
        # As a coroutine does; it is a default, as at the end of the process names may be gone.
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
    """Look how far a run is at this moment."""
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
