"""Names of hosts become addresses: once for all connections that are made at the same time."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from attrs import define, field, frozen

from ringme_async.transports.write_coalescing import Address

__all__ = ["Resolver"]

# How long addresses are used again, in seconds: as aiohttp does.
_KEPT: Final = 10.0
_MOST_NAMES: Final = 1_000

_Key = tuple[str, int]


@frozen
class _Answer:
    """What the system answered: addresses, or why there are none."""

    addresses: tuple[Address, ...] = ()
    failure: OSError | UnicodeError | None = None
    at: float = 0.0


@define(eq=False)
class Resolver:
    """Looks names up by the system's resolver, each in single flight, and caches addresses shortly.

    The system looks names up in a few threads. One look-up for each connection would stand in line
    there until its time is over. A failure is not cached: the next call looks the name up again.
    """

    _cache: dict[_Key, _Answer] = field(factory=dict[_Key, _Answer], init=False, repr=False)
    _flights: dict[_Key, asyncio.Task[_Answer]] = field(
        factory=dict[_Key, asyncio.Task[_Answer]], init=False, repr=False
    )

    async def resolve(self, host: str, port: int) -> tuple[Address, ...]:
        """Give the addresses of a host, in the system's order.

        A caller that is cancelled leaves the look-up to the others.

        Raises:
            OSError: There are none.
            UnicodeError: No name is spelled like that.
        """
        numeric = _numeric(host, port)
        if numeric:
            return numeric
        key, loop = (host, port), asyncio.get_running_loop()
        answer = self._cache.get(key)
        if answer is None or answer.at + _KEPT <= loop.time():
            flight = self._flights.get(key)
            if flight is None:
                flight = self._flights[key] = loop.create_task(self._look_up(key, loop))
            answer = await asyncio.shield(flight)
        if answer.failure is not None:
            raise answer.failure.with_traceback(None)
        return answer.addresses

    async def aclose(self) -> None:
        """End the look-ups that are still under way."""
        flights = tuple(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def _look_up(self, key: _Key, loop: asyncio.AbstractEventLoop) -> _Answer:
        try:
            found = await loop.getaddrinfo(*key, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            return _Answer(failure=error)
        else:
            if not found:
                return _Answer(failure=OSError("the name has no address"))
            if len(self._cache) >= _MOST_NAMES:
                self._cache.clear()
            answer = self._cache[key] = _Answer(tuple(found), None, loop.time())
            return answer
        finally:
            del self._flights[key]


def _numeric(host: str, port: int) -> tuple[Address, ...]:
    """Give the address that a host is spelled as, without looking anything up."""
    try:
        return tuple(
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        )
    except (OSError, UnicodeError):
        return ()
