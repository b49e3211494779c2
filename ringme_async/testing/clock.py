"""A clock that jumps: an event loop that moves its time to the next timer without waiting."""

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
# Real seconds that the clean-up after a failure waits for a thread.
_GRACE: Final = 5.0
_ASYNCIO: Final = os.path.dirname(asyncio.__file__)
_HINT: Final = (
    "a thread or a socket does not jump, so the clock would run away from it;"
    " use the in-memory transport, or a test without the jumping clock"
)


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop for tests, whose hours take milliseconds.

    When all tasks wait, its clock jumps to the next timer. Everything on the loop's clock jumps:
    ``asyncio.sleep``, ``asyncio.timeout``, ``loop.call_later``, deadlines and quota windows of a
    ``RingMe``, tokens and limits of a ``FakeRingMe``. The clock starts at 0. Two runs of one
    program are equal: sets of tasks and futures keep their order.

    Use it as a loop factory: ``asyncio.Runner(loop_factory=JumpingLoop)``. In the pytest plugin the
    fixture ``ringme_clock`` chooses it.

    Only code in memory can jump. Threads, sockets and processes raise a ``RuntimeError`` with the
    reason. A program in which all tasks wait and no timer is left raises one too.
    """

    def __init__(self) -> None:
        self._jumping = _Clock(self)
        self._numbers = itertools.count()
        self._thread: int | None = None
        super().__init__(self._jumping)
        # The socket registered so far wakes the loop up for signals.
        self._jumping.is_shut = True

    def time(self) -> float:
        """Return the seconds since the loop was made, jumps included."""
        return self._jumping.now

    def let_pass(self, seconds: float) -> None:
        """Let time pass at once, like a call that blocks the loop.

        Args:
            seconds: How long; 0 or more.
        """
        if not seconds >= 0:
            raise ValueError(f"seconds must be 0 or more, not {seconds!r}")
        self._jumping.now += seconds

    # asyncio adds this to the time to find the timers that are due. Its own value is lost in
    # rounding after 97 days, and then no timer would ever be due again.
    @property
    def _clock_resolution(self) -> float:
        return math.ulp(self._jumping.now)

    @_clock_resolution.setter
    def _clock_resolution(self, seconds: float) -> None:
        """Ignore the value that asyncio measures."""

    def run_forever(self) -> None:
        """Run until ``stop`` is called.

        Raises:
            RuntimeError: All tasks wait and no timer is left, or another thread called in.
        """
        self._thread = threading.get_ident()
        try:
            super().run_forever()
        finally:
            self._thread = None

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future with the same place in a set at every run."""
        return _Future(next(self._numbers), loop=self)

    def create_task(
        self, coro: Generator[Any, None, _T] | Coroutine[Any, Any, _T], **kwargs: Any
    ) -> asyncio.Task[_T]:
        """Make a task with the same place in a set at every run."""
        if self.get_task_factory() is not None:
            return super().create_task(coro, **kwargs)
        return _Task(next(self._numbers), coro, loop=self, **kwargs)

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Run a callback soon; the first one from another thread ends the run."""
        is_foreign = self._thread not in (None, threading.get_ident())
        if is_foreign and not self._jumping.has_failed:
            name = threading.current_thread().name
            self._jumping.foreign_call = (
                f"the thread {name!r} has called into a jumping clock: {_HINT}"
            )
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


# asyncio hashes futures and tasks by address. The sets in asyncio.wait and TaskGroup would have
# another order at every run.
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
    """The selector of the loop, which moves the time instead of waiting."""

    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self.now = 0.0
        self.is_shut = False
        self.foreign_call: str | None = None
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
        if self.foreign_call is not None:
            message, self.foreign_call = self.foreign_call, None
            self._fail(message)
        if not ready and timeout is None:
            ready = self._last_wait()
        if ready:
            return ready
        if timeout is None:
            self._fail(f"everybody waits and no timer is left{_describe_tasks(self._loop)}")
        self.now += max(timeout, 0.0)
        if self.now > _CENTURY:
            self._fail(
                "the clock has jumped over a hundred years, as nobody but timers without end"
                f" has anything to do{_describe_tasks(self._loop)}"
            )
        return ready

    def _last_wait(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for threads, only while a program that has failed cleans up."""
        threads = self.has_failed and threading.active_count() > 1
        return super().select(_GRACE) if threads else []

    def _fail(self, message: str) -> NoReturn:
        self.has_failed = True
        raise RuntimeError(message)


def _refuse(action: str) -> NoReturn:
    raise RuntimeError(f"this test runs on a jumping clock and cannot {action}: {_HINT}")


def _describe_tasks(loop: JumpingLoop) -> str:
    """Describe which tasks wait where, and whether other threads run."""
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    waiting = [f"{task.get_name()} in {_place(task.get_coro())}" for task in tasks[:_SHOWN]]
    if len(tasks) > _SHOWN:
        waiting.append(f"{len(tasks) - _SHOWN} more tasks")
    line = f": {', '.join(waiting)}" if waiting else ""
    if threading.active_count() > 1:
        line += f" (there are other threads; if one is waited for, mind that {_HINT})"
    return line


def _place(coro: object) -> str:
    """Find the innermost waiting coroutine outside asyncio, and its line."""
    place = getattr(coro, "__qualname__", "something")
    inner: object = coro
    while inspect.iscoroutine(inner):
        code, frame = inner.cr_code, inner.cr_frame
        if frame is not None and not code.co_filename.startswith(_ASYNCIO):
            place = f"{inner.__qualname__}, line {frame.f_lineno}"
        inner = cast("object", inner.cr_await)
    return place
