"""What a run writes into."""

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
"""Tells the time of day, with its zone."""


class Session(Protocol[V_contra]):
    """One run's hold on an output; nobody else writes into it meanwhile."""

    @property
    def run(self) -> str:
        """The run's id; a run that is resumed keeps it."""
        ...

    def is_done(self, key: str) -> bool:
        """Whether an earlier part of this run has dealt with a tenant."""
        ...

    async def write(self, key: str, outcome: Done[V_contra] | Failed) -> None:
        """Take in what became of a tenant.

        Raises:
            OutputError: It could not be written.
        """
        ...

    async def tick(self) -> None:
        """Write what has waited long enough; called a few times a second."""
        ...

    async def finish(self, *, complete: bool) -> int:
        """Write all that is left.

        Args:
            complete: Whether every tenant was tried.

        Returns:
            How many fields this run, its earlier parts included, found changed.
        """
        ...


class Sink(Protocol):
    """An output for clients: ``Journal``, ``Mirror``, or one of your own."""

    def open(self, *, resume: bool) -> AbstractAsyncContextManager[Session[Client]]:
        """Take hold of the output for a run.

        However the block is left, what was taken in is written, and the output is let go of.

        Args:
            resume: Go on with the run that stopped; if there is none, begin one.

        Raises:
            OutputInUse: Another run holds it.
            OutputError: It cannot be used as it is.
        """
        ...


def now() -> datetime:
    """Tell the time."""
    return datetime.now(UTC)


def new_run_id() -> str:
    """Make an id that no other run has."""
    return uuid.uuid4().hex
