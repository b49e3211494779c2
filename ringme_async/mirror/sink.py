"""The protocols of an output: ``Sink``, and ``Session`` for one run."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from ringme_async import Client, Done, Failed

__all__ = ["Clock", "Session", "Sink", "new_run_id", "now"]

V_contra = TypeVar("V_contra", contravariant=True)

Clock = Callable[[], datetime]
"""Returns the time of day, with its zone."""


class Session(Protocol[V_contra]):
    """An output that is open for one run; no other run writes into it meanwhile."""

    @property
    def run(self) -> str:
        """The run's id; a resumed run keeps it."""
        ...

    def is_done(self, key: str) -> bool:
        """True if an earlier part of this run has finished a tenant."""
        ...

    async def write(self, key: str, outcome: Done[V_contra] | Failed) -> None:
        """Write a tenant's outcome.

        Raises:
            OutputError: The outcome could not be written.
        """
        ...

    async def tick(self) -> None:
        """Write outcomes that have waited long enough; called a few times a second."""
        ...

    async def finish(self, *, complete: bool) -> int:
        """Write all waiting outcomes.

        Args:
            complete: Whether every tenant was tried.

        Returns:
            The number of changed fields that this run has found, earlier parts included.
        """
        ...


class Sink(Protocol):
    """An output for clients: ``Journal``, ``Mirror``, or one of your own."""

    def open(self, *, resume: bool) -> AbstractAsyncContextManager[Session[Client]]:
        """Open the output for a run.

        The end of the block, by an error or not, writes what has come and releases the output.

        Args:
            resume: Continue the stopped run; without one, start a new run.

        Raises:
            OutputInUse: Another run writes into the output.
            OutputError: The output is unusable.
        """
        ...


def now() -> datetime:
    """Return the current time, in UTC."""
    return datetime.now(UTC)


def new_run_id() -> str:
    """Create a unique run id."""
    return uuid.uuid4().hex
