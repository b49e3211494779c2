"""The signals that end a run: SIGINT, SIGTERM and SIGHUP."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, TypeAlias

__all__ = ["ENDING", "handle_signals", "ignore"]

_Handler: TypeAlias = Callable[[int, FrameType | None], None]

# Windows has no SIGHUP.
ENDING: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


def handle_signals(handler: _Handler | signal.Handlers) -> dict[int, Any]:
    """Install a handler for the signals that end a run.

    A signal that the caller has ignored, as ``nohup`` does, stays ignored.

    Returns:
        The previous handlers.
    """
    before: dict[int, Any] = {}
    for number in ENDING:
        was = signal.getsignal(number)
        if was is not signal.SIG_IGN:
            before[number] = was
            signal.signal(number, handler)
    return before


def ignore(_number: int, _frame: FrameType | None) -> None:
    """Ignore the signal, as an earlier one is already ending the run."""
