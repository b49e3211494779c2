"""Work that a cancellation does not cut off in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

__all__ = ["run_uninterrupted"]

LONGEST = 60.0
"""Seconds for which work goes on at most after a cancellation."""


def _stay(_task: asyncio.Task[None]) -> None:
    pass


async def run_uninterrupted(
    work: Coroutine[object, object, None],
    *,
    name: str,
    leave: Callable[[asyncio.Task[None]], None] = _stay,
) -> None:
    """Run work in a task of its own; when this is cancelled, end only with that task.

    ``asyncio.shield`` would end at once and leave the work to itself. Nor would it help at the
    end of the program, when ``asyncio.run`` cancels every task that it knows, the work's own
    included. So the loop does not know this one; it knows who waits for it.

    Args:
        work: What to do.
        name: The task's name.
        leave: Called with the task at each cancellation; may cancel it, now or later. Default
            nothing. After a minute the task is cancelled in any case.

    Raises:
        CancelledError: This was cancelled, and the work is over now.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work, name=name)
    # Documented for those who make tasks of their own ("Extending" in asyncio's documentation).
    asyncio._unregister_task(task)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    cancellation: asyncio.CancelledError | None = None
    limit: asyncio.TimerHandle | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancellation = error
            limit = limit or loop.call_later(LONGEST, task.cancel)
            leave(task)
    if limit is not None:
        limit.cancel()
    ending = None if task.cancelled() else task.exception()
    if cancellation is None:
        # What ends the program has been passed on by asyncio already.
        return None if isinstance(ending, KeyboardInterrupt | SystemExit) else task.result()
    try:
        raise cancellation
    finally:
        # Else the exception and this frame would hold each other.
        del cancellation
