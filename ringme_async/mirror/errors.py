"""Errors of a run's output."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager

from ringme_async import RingMeError
from ringme_async._internal.text import describe_file_error, describe_os_error

__all__ = [
    "OutputError",
    "OutputInUse",
    "TransientOutputError",
    "closed_by",
    "describe_file_error",
    "describe_os_error",
    "translate_os_errors",
]


class OutputError(RingMeError):
    """The output of a run is unusable, or could not be written."""


class OutputInUse(OutputError):
    """Another run is writing this output right now."""


class TransientOutputError(OutputError):
    """A lost connection or a held lock: the same work may succeed later."""


@contextmanager
def translate_os_errors(path: str) -> Generator[None, None, None]:
    """Turn an OSError of the block into an error that names the file.

    Raises:
        OutputError: The block raised an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(describe_file_error(path, error)) from error


@asynccontextmanager
async def closed_by(close: Callable[[], Awaitable[None]]) -> AsyncGenerator[None, None]:
    """Close an output after the block; the block's own error takes precedence.

    Raises:
        OutputError: Closing failed, and the block had no error.
    """
    try:
        yield
    except BaseException as error:
        try:
            await close()
        except OutputError as further:
            if further is not error:
                error.add_note(f"after that: {further}")
        raise
    await close()
