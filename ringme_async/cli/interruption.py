"""Ends work in an event loop on the first signal, and ignores later ones."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine
from types import FrameType
from typing import Any, TypeVar

from ringme_async.cli.signals import handle_signals, ignore

__all__ = ["Interrupted", "run"]

T = TypeVar("T")


class Interrupted(KeyboardInterrupt):
    """A signal has ended a run, after its outputs were closed.

    Args:
        by: The number of the signal.
    """

    def __init__(self, by: int) -> None:
        super().__init__(by)
        self.by = by


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run work to its end, as ``asyncio.run`` does.

    Only the first signal counts. Service managers send SIGHUP right after SIGTERM, and wrappers
    repeat Ctrl-C. A second signal that interrupted the closing of outputs would lose written lines.

    Raises:
        Interrupted: A signal has ended the work.
    """
    if threading.current_thread() is not threading.main_thread():
        # Signals go to the main thread.
        return asyncio.run(work)
    by: list[int] = []
    task: asyncio.Task[T] | None = None

    async def cancellable() -> T:
        nonlocal task
        task = asyncio.current_task()
        if by:
            raise asyncio.CancelledError
        return await work

    with asyncio.Runner() as runner:
        loop = runner.get_loop()

        def on_signal(number: int, _frame: FrameType | None) -> None:
            by.append(number)
            handle_signals(ignore)
            if task is not None:
                loop.call_soon_threadsafe(task.cancel)

        before = handle_signals(on_signal)
        try:
            return runner.run(cancellable())
        except asyncio.CancelledError:
            if not by:
                raise
            raise Interrupted(by[0])  # noqa: B904 - its context has the notes of the outputs
        finally:
            work.close()
            if not by:
                for number, handler in before.items():
                    signal.signal(number, handler)
