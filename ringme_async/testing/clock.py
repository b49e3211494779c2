"""A clock that jumps: an event loop that goes to its next timer instead of waiting for it."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import math
import os
import selectors
import threading
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, TypeVarTuple, Unpack, cast

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

__all__ = ["JumpingLoop"]

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_CENTURY: Final = 100 * 365.25 * 86_400.0
_SHOWN: Final = 5
# Real seconds that a thread gets to answer to what cleans up.
_GRACE: Final = 5.0
_ASYNCIO: Final = os.path.dirname(asyncio.__file__)
_HINT: Final = (
    "a thread or a socket does not jump, so the clock would run away from it;"
    " use the in-memory transport, or a test without the jumping clock"
)


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop for tests, whose hours take milliseconds.

    Whenever nothing is left to do, its clock jumps to the next timer. All that reckons by the
    loop's clock is meant by that: ``asyncio.sleep``, ``asyncio.timeout``, ``loop.call_later``, the
    deadlines and quota hours of a ``RingMe``, the tokens and limits of a ``FakeRingMe``. The clock
    starts at 0. Equal programs run equally: sets of tasks and futures, too, keep their order.

    It is a loop factory: ``asyncio.Runner(loop_factory=JumpingLoop)``. With the pytest plugin, the
    fixture ``ringme_clock`` chooses it.

    Only what is in memory can jump. Threads, sockets and processes raise a ``RuntimeError`` that
    says so, and so does a program in which everybody waits and no timer is left.
    """

    def __init__(self) -> None:
        self._jumping = _Clock(self)
        self._numbers = itertools.count()
        self._thread: int | None = None
        super().__init__(self._jumping)
        # The one that is there now wakes the loop up for signals.
        self._jumping.is_shut = True

    def time(self) -> float:
        """Give the seconds since the loop was made, the jumped ones included."""
        return self._jumping.now

    def let_pass(self, seconds: float) -> None:
        """Let time pass at once, as a call does that blocks the loop.

        Args:
            seconds: How long; 0 or more.
        """
        if not seconds >= 0:
            raise ValueError(f"seconds must be 0 or more, not {seconds!r}")
        self._jumping.now += seconds

    # asyncio adds this to the time before it looks which timers are due. Its own value is lost in
    # the rounding after 97 days, and then no timer is due ever again; with this one it is those
    # whose time has come, at any distance.
    @property
    def _clock_resolution(self) -> float:
        return math.ulp(self._jumping.now)

    @_clock_resolution.setter
    def _clock_resolution(self, seconds: float) -> None:
        """Take what asyncio measures, and use it for nothing."""

    def run_forever(self) -> None:
        """Run until ``stop`` is called.

        Raises:
            RuntimeError: Everybody waits and no timer is left; or a thread has called in.
        """
        self._thread = threading.get_ident()
        try:
            super().run_forever()
        finally:
            self._thread = None

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future that takes the same place in a set at every run."""
        return _Future(next(self._numbers), loop=self)

    def create_task(
        self, coro: Generator[Any, None, _T] | Coroutine[Any, Any, _T], **kwargs: Any
    ) -> asyncio.Task[_T]:
        """Make a task that takes the same place in a set at every run."""
        if self.get_task_factory() is not None:
            return super().create_task(coro, **kwargs)
        return _Task(next(self._numbers), coro, loop=self, **kwargs)

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Run a callback soon; the first one that comes from another thread ends the run."""
        strange = self._thread not in (None, threading.get_ident())
        if strange and not self._jumping.has_failed:
            name = threading.current_thread().name
            self._jumping.intruder = f"the thread {name!r} has called into a jumping clock: {_HINT}"
        return super().call_soon_threadsafe(callback, *args, context=context)

    def run_in_executor(
        self,
        executor: Executor | None,
        func: Callable[[Unpack[_Ts]], _T],
        *args: *_Ts,
    ) -> asyncio.Future[_T]:
        """Refuse: a thread does not jump."""
        _refuse(f"run {getattr(func, '__qualname__', 'a function')} in a thread")

    async def create_connection(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: a socket does not jump."""
        _refuse("open a connection")

    async def create_server(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: a socket does not jump."""
        _refuse("open a server")

    async def create_unix_connection(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: a socket does not jump."""
        _refuse("open a connection")

    async def create_unix_server(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: a socket does not jump."""
        _refuse("open a server")

    async def create_datagram_endpoint(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: a socket does not jump."""
        _refuse("open a socket")

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: a process does not jump."""
        _refuse("start a process")

    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: a process does not jump."""
        _refuse("start a process")


# The hash of futures and tasks is their place in memory, so that sets of them, such as those of
# asyncio.wait and TaskGroup, are gone through in another order at every run.
class _Future(asyncio.Future[_T]):
    def __init__(self, number: int, *, loop: asyncio.AbstractEventLoop) -> None:
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class _Task(asyncio.Task[_T]):
    def __init__(
        self, number: int, coro: Generator[Any, None, _T] | Coroutine[Any, Any, _T], **kwargs: Any
    ) -> None:
        self._number = number
        super().__init__(coro, **kwargs)

    def __hash__(self) -> int:
        return self._number


class _Clock(selectors.DefaultSelector):
    """What the loop waits with, so that this is the place where it does not wait."""

    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self.now = 0.0
        self.is_shut = False
        self.intruder: str | None = None
        self.has_failed = False
        self._loop = loop

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        if self.is_shut:
            _refuse("wait for a socket")
        return super().register(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if self.intruder is not None:
            told, self.intruder = self.intruder, None
            self._fail(told)
        if not ready and timeout is None:
            ready = self._last_wait()
        if ready:
            return ready
        if timeout is None:
            self._fail(f"everybody waits and no timer is left{_waiting(self._loop)}")
        self.now += max(timeout, 0.0)
        if self.now > _CENTURY:
            self._fail(
                "the clock has jumped over a hundred years, as nobody but timers without end"
                f" has anything to do{_waiting(self._loop)}"
            )
        return ready

    def _last_wait(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for threads, but only while what has failed already cleans up after itself."""
        threads = self.has_failed and threading.active_count() > 1
        return super().select(_GRACE) if threads else []

    def _fail(self, told: str) -> NoReturn:
        self.has_failed = True
        raise RuntimeError(told)


def _refuse(wish: str) -> NoReturn:
    raise RuntimeError(f"this test runs on a jumping clock and cannot {wish}: {_HINT}")


def _waiting(loop: JumpingLoop) -> str:
    """Say who waits where, and whether there are threads that somebody may wait for."""
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    told = [f"{task.get_name()} in {_place(task.get_coro())}" for task in tasks[:_SHOWN]]
    if len(tasks) > _SHOWN:
        told.append(f"{len(tasks) - _SHOWN} more tasks")
    line = f": {', '.join(told)}" if told else ""
    if threading.active_count() > 1:
        line += f" (there are other threads; if one is waited for, mind that {_HINT})"
    return line


def _place(coro: object) -> str:
    """Find the innermost coroutine that waits and is not asyncio's own, and its line."""
    place = getattr(coro, "__qualname__", "something")
    inner: object = coro
    while inspect.iscoroutine(inner):
        code, frame = inner.cr_code, inner.cr_frame
        if frame is not None and not code.co_filename.startswith(_ASYNCIO):
            place = f"{inner.__qualname__}, line {frame.f_lineno}"
        inner = cast("object", inner.cr_await)
    return place
