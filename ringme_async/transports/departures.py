"""What is sent in one turn of the event loop leaves together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from attrs import define, field

from ringme_async.deadlines import Deadlines

__all__ = ["Departures"]

# How many leave together. Of fewer, a turn holds one or two at most, and of many more the first would
# wait for long: it costs more than it saves.
_LOAD: Final = 8


@define(eq=False)
class Departures:
    """Has some of what is sent in one turn of the event loop leave together.

    Whoever reads what was sent is woken for it: a server or a proxy on the same machine. Of requests
    that leave one by one, each wakes it anew, because it has long dealt with the one before, and the
    system does that in the sender's time.

    They leave as soon as there are eight of them, and at the latest at the end of the turn: whoever is ready
    early must not wait for all others, least of all if the server takes its time.

    Args:
        under_way: What is under way. While that is less than eight, nothing waits.
    """

    _under_way: Deadlines
    _waiting: list[Callable[[], None]] = field(
        factory=list[Callable[[], None]], init=False, repr=False
    )
    _ends: bool = field(default=False, init=False, repr=False)

    def put_off(self, leave: Callable[[], None]) -> bool:
        """Call ``leave`` later in this turn. Returns: False if it may be called at once."""
        if self._under_way.count < _LOAD:
            return False
        if len(self._waiting) == _LOAD - 1:
            self._leave()
            return False
        if not self._ends:
            self._ends = True
            asyncio.get_running_loop().call_soon(self._end)
        self._waiting.append(leave)
        return True

    def _end(self) -> None:
        self._ends = False
        self._leave()

    def _leave(self) -> None:
        waiting, self._waiting = self._waiting, []
        for leave in waiting:
            leave()
