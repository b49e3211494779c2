"""Resolves host names, once for all concurrent connections."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from attrs import define, field, frozen

from ringme_async.transports.write_coalescing import Address

__all__ = ["Resolver"]

# Seconds to cache addresses, as aiohttp does.
_TTL: Final = 10.0
_MOST_NAMES: Final = 1_000

_Key = tuple[str, int]


@frozen
class _LookUp:
    """The result of a look-up: addresses, or an error."""

    addresses: tuple[Address, ...] = ()
    failure: OSError | UnicodeError | None = None
    looked_up_at: float = 0.0


@define(eq=False)
class Resolver:
    """Looks names up with the system's resolver, in single flight, and caches addresses shortly.

    The resolver runs in a few threads. One look-up for each connection would queue there and time
    out. A failure is not cached: the next call looks the name up again.
    """

    _cache: dict[_Key, _LookUp] = field(factory=dict[_Key, _LookUp], init=False, repr=False)
    _flights: dict[_Key, asyncio.Task[_LookUp]] = field(
        factory=dict[_Key, asyncio.Task[_LookUp]], init=False, repr=False
    )

    async def resolve(self, host: str, port: int) -> tuple[Address, ...]:
        """Give the addresses of a host, in the system's order.

        A cancelled caller does not cancel the look-up of the others.

        Raises:
            OSError: The host has no address.
            UnicodeError: The name cannot be encoded.
        """
        literal = _parse_address(host, port)
        if literal:
            return literal
        key, loop = (host, port), asyncio.get_running_loop()
        found = self._cache.get(key)
        if found is None or found.looked_up_at + _TTL <= loop.time():
            flight = self._flights.get(key)
            if flight is None:
                flight = self._flights[key] = loop.create_task(self._look_up(key, loop))
            found = await asyncio.shield(flight)
        if found.failure is not None:
            raise found.failure.with_traceback(None)
        return found.addresses

    async def aclose(self) -> None:
        """Cancel the look-ups in flight."""
        flights = tuple(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def _look_up(self, key: _Key, loop: asyncio.AbstractEventLoop) -> _LookUp:
        try:
            addresses = await loop.getaddrinfo(*key, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            return _LookUp(failure=error)
        else:
            if not addresses:
                return _LookUp(failure=OSError("the name has no address"))
            if len(self._cache) >= _MOST_NAMES:
                self._cache.clear()
            found = self._cache[key] = _LookUp(tuple(addresses), None, loop.time())
            return found
        finally:
            del self._flights[key]


def _parse_address(host: str, port: int) -> tuple[Address, ...]:
    """Parse a host that is an IP address, without a look-up."""
    try:
        return tuple(
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        )
    except (OSError, UnicodeError):
        return ()
