"""What can be wrong with the output of a run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager

from ringme_async import RingMeError
from ringme_async._internal.text import told_of_file, words_of

__all__ = [
    "OutputError",
    "OutputInUse",
    "TransientOutputError",
    "closed_by",
    "told_of",
    "told_of_file",
    "words_of",
]


class OutputError(RingMeError):
    """The output of a run cannot be used as it is, or could not be written."""


class OutputInUse(OutputError):
    """Another run is writing this output right now."""


class TransientOutputError(OutputError):
    """A connection was lost, or a lock is held: the same work may succeed later."""


@contextmanager
def told_of(path: str) -> Generator[None, None, None]:
    """Turn what the operating system says of a file into an error that names it.

    Raises:
        OutputError: The block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(told_of_file(path, error)) from error


@asynccontextmanager
async def closed_by(close: Callable[[], Awaitable[None]]) -> AsyncGenerator[None, None]:
    """Close an output after the block; the block's own error is the one that gets out.

    Raises:
        OutputError: It could not be closed in order, and the block had no error.
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
