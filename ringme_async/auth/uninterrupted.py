"""Run work to its end, even when the caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

__all__ = ["run_uninterrupted"]

LONGEST_AFTER_CANCEL = 60.0
"""Seconds after a cancellation at which the work is cancelled, too."""


def _ignore(_task: asyncio.Task[None]) -> None:
    pass


async def run_uninterrupted(
    work: Coroutine[object, object, None],
    *,
    name: str,
    on_cancel: Callable[[asyncio.Task[None]], None] = _ignore,
) -> None:
    """Run work in a task of its own, and wait for its end even when the caller is cancelled.

    ``asyncio.shield`` would return at once and leave the work without an owner. At the end of the
    program ``asyncio.run`` cancels every registered task, a shielded one included. So this task is
    not registered; only its caller is.

    Args:
        work: The coroutine to run.
        name: The task's name.
        on_cancel: Called with the task at each cancellation; may cancel it, now or later. Default
            nothing. After a minute the task is cancelled in any case.

    Raises:
        CancelledError: The caller was cancelled; the work has ended.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work, name=name)
    # asyncio's documentation names this function for custom tasks ("Extending").
    asyncio._unregister_task(task)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    cancellation: asyncio.CancelledError | None = None
    limit: asyncio.TimerHandle | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancellation = error
            limit = limit or loop.call_later(LONGEST_AFTER_CANCEL, task.cancel)
            on_cancel(task)
    if limit is not None:
        limit.cancel()
    failure = None if task.cancelled() else task.exception()
    if cancellation is None:
        # asyncio has already raised KeyboardInterrupt and SystemExit in the loop.
        return None if isinstance(failure, KeyboardInterrupt | SystemExit) else task.result()
    try:
        raise cancellation
    finally:
        # Otherwise the exception and this frame form a reference cycle.
        del cancellation
