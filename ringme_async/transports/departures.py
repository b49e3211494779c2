"""What is sent in one turn of the event loop leaves together, at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from attrs import define, field

from ringme_async.deadlines import Deadlines

__all__ = ["Departures"]

# Of fewer, a turn holds one or two at most: to wait costs more than it saves.
_MANY: Final = 8


@define(eq=False)
class Departures:
    """Has what is sent in one turn of the event loop leave together, at its end.

    Whoever reads what was sent is woken for it: a server or a proxy on the same machine. Of requests
    that leave one by one, each wakes it anew, because it has long dealt with the one before, and the
    system does that in the sender's time.

    Args:
        under_way: What is under way. While that is little, nothing waits.
    """

    _under_way: Deadlines
    _waiting: list[Callable[[], None]] = field(
        factory=list[Callable[[], None]], init=False, repr=False
    )

    def put_off(self, leave: Callable[[], None]) -> bool:
        """Call ``leave`` at the end of this turn. Returns: False if it may be called at once."""
        if self._under_way.count < _MANY:
            return False
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._leave)
        self._waiting.append(leave)
        return True

    def _leave(self) -> None:
        waiting, self._waiting = self._waiting, []
        for leave in waiting:
            leave()
