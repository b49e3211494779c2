"""The work of every contender, and a contender's interface."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, Literal, TypeVar

from attrs import frozen

T = TypeVar("T")

RECORD: Final = Path(__file__).with_name("record.json").read_bytes()
_BEFORE, _, _AFTER = RECORD.partition(b'"id": 12')
TOKEN: Final = "a-token"
CHANGE: Final = {"timezone": "Asia/Omsk", "hold_music": None}
API: Final = "/api/ver1.0"


def record_at(path: bytes) -> bytes:
    """Give the record of the client whom a path or URL names; of another one it would be an error.

    Args:
        path: Ends in ``/client/{client_id}/client/``.
    """
    number = path.rsplit(b"/", 3)[-3]
    return b'%b"id": %b%b' % (_BEFORE, number, _AFTER)


@frozen
class Work:
    """The work: read or change clients of one host with bounded concurrency."""

    origin: str
    method: Literal["GET", "PUT"] = "GET"
    concurrency: int = 64

    def url(self, number: int) -> str:
        """Return the URL of a client."""
        return f"{self.origin}{API}/client/{number}/client/"


Go = Callable[[int], Awaitable[int]]
"""Does the work for a number of clients; returns the number of records."""

Opened = Callable[[Work], AbstractAsyncContextManager[Go]]
"""Opens a contender for a run."""


def by_workers(work: Work, one: Callable[[int], Awaitable[T]]) -> Go:
    """Share the clients among ``concurrency`` workers; keep every record."""

    async def go(count: int) -> int:
        numbers = iter(range(1, count + 1))
        records: list[T] = []

        async def worker() -> None:
            for number in numbers:
                record = await one(number)
                records.append(record)

        await asyncio.gather(*(worker() for _ in range(work.concurrency)))
        return len(records)

    return go
