"""How a connection comes about: a name, an address, a tunnel through a proxy, TLS."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl as tls
from collections.abc import Callable
from typing import Final

# It leaves the form of an address open, which depends on the family.
from aiohappyeyeballs import (
    start_connection,  # pyright: ignore[reportUnknownVariableType]
)

from ringme_async._internal.deadlines import Deadlines
from ringme_async.errors import TransportTimeout
from ringme_async.transports import Timeouts
from ringme_async.transports.connection_errors import no_connection, no_way_through
from ringme_async.transports.http11.connection import HTTPConnection
from ringme_async.transports.http11.peer import Peer, Proxy
from ringme_async.transports.http11.request_encoder import lines
from ringme_async.transports.http11.resolver import Resolver
from ringme_async.transports.http11.response_parser import words_of
from ringme_async.transports.http11.tunnel import Tunnel, TunnelError
from ringme_async.transports.write_coalescing import Address

__all__ = ["Connector"]

# How long one address is waited for before the next is tried beside it (RFC 8305, section 5).
_NEXT_ADDRESS_AFTER: Final = 0.25
_NUMBER: Final = re.compile(r"\[Errno (\d+)\]")


class Connector:
    """Makes connections, through a proxy if there is one.

    Args:
        new_wire: Makes what speaks HTTP over them.
        ssl: What to verify servers with. Default the system's CAs.
        proxy: The proxy.
    """

    __slots__ = ("_closed", "_new_connection", "_proxy", "_resolver", "_ssl", "_under_way")

    def __init__(
        self,
        new_connection: Callable[[], HTTPConnection],
        ssl: tls.SSLContext | None,
        proxy: Proxy | None,
    ) -> None:
        self._new_connection = new_connection
        self._ssl = ssl
        self._proxy = proxy
        self._resolver = Resolver()
        self._under_way = Deadlines()
        self._closed = False

    async def connect(self, peer: Peer, timeouts: Timeouts) -> HTTPConnection:
        """Connect to a host.

        Raises:
            ConnectError: No connection came about.
            TransportTimeout: It took longer than ``timeouts`` allow.
        """
        loop = asyncio.get_running_loop()
        seconds = min(timeouts.connect, timeouts.attempt)
        first = peer if self._proxy is None else self._proxy.peer
        way = f"{peer}" if first is peer else f"{peer} through the proxy {first}"
        try:
            with self._under_way.until(loop.time() + seconds, loop):
                return await self._connect(loop, first, peer)
        except TunnelError as error:
            failure = no_way_through(f"{first}", f"{peer}", str(error))
        except (OSError, UnicodeError, RuntimeError) as error:
            # uvloop raises a RuntimeError for a socket that ended at the moment of its use.
            failure = no_connection(way, _words(error), error, direct=first is peer)
        else:
            if not self._closed:
                raise TransportTimeout(f"no connection to {way} within {seconds:g} s", sent=False)
            failure = no_connection(way, "the transport was closed")
        raise failure

    def close(self) -> None:
        """Give up what is under way."""
        self._closed = True
        self._under_way.end_all()

    async def aclose(self) -> None:
        """Give up what is under way, and wait until it has ended."""
        self.close()
        await self._under_way.idle()
        self._under_way.close()
        await self._resolver.aclose()

    async def _connect(
        self, loop: asyncio.AbstractEventLoop, first: Peer, peer: Peer
    ) -> HTTPConnection:
        addresses = await self._resolver.resolve(first.host, first.port)
        while True:
            sock, others = await _quickest(loop, addresses)
            try:
                return await self._establish(loop, sock, first, peer)
            except OSError:
                # An address may take connections and go no further. So long as there are others, that
                # is not the host's last word.
                if not others:
                    raise
            addresses = others

    async def _establish(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, first: Peer, peer: Peer
    ) -> HTTPConnection:
        connection = self._new_connection()
        connection.sock = sock
        tunnel = Tunnel(loop) if first is not peer and peer.secure else None
        try:
            await loop.create_connection(lambda: tunnel or connection, sock=sock)
            if tunnel is not None:
                connection.connection_made(tunnel.transport)
            if first.secure:
                await self._start_tls(loop, connection, tunnel or connection, first)
            if tunnel is not None:
                await tunnel.open(_asking_for(peer, self._proxy))
                await self._start_tls(loop, connection, connection, peer)
            _check_open(connection)
        except BaseException:
            connection.abort()
            # asyncio does not tell a protocol that its TLS never came about, and uvloop not that its
            # connection ended as it came about.
            connection.connection_lost(None)
            raise
        return connection

    async def _start_tls(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: HTTPConnection,
        protocol: Tunnel | HTTPConnection,
        peer: Peer,
    ) -> None:
        """Start TLS over what a connection has by now.

        ``create_connection`` would do it as well, but keep the layer beneath to itself. What is
        still unsent is known only of both.
        """
        _check_open(connection)
        secured = await loop.start_tls(
            connection.transport, protocol, self._context(), server_hostname=peer.name
        )
        # asyncio gives None where the connection ended at the same moment.
        if secured is None:
            raise ConnectionResetError
        connection.connection_made(secured)
        if protocol is not connection:
            protocol.connection_made(secured)

    def _context(self) -> tls.SSLContext:
        if self._ssl is None:
            self._ssl = tls.create_default_context()
            self._ssl.set_alpn_protocols(["http/1.1"])
        return self._ssl


async def _quickest(
    loop: asyncio.AbstractEventLoop, addresses: tuple[Address, ...]
) -> tuple[socket.socket, tuple[Address, ...]]:
    """Connect to the address that answers first. Returns: The socket, and the other addresses."""
    made: dict[socket.socket, Address] = {}

    def make(address: Address) -> socket.socket:
        sock = socket.socket(*address[:3])
        made[sock] = address
        return sock

    try:
        sock = await start_connection(
            addresses,
            happy_eyeballs_delay=_NEXT_ADDRESS_AFTER,
            interleave=1,
            loop=loop,
            socket_factory=make,
        )
    except RuntimeError as error:
        # So uvloop says at times that a descriptor is in use.
        raise OSError(str(error)) from None
    return sock, tuple(address for address in addresses if address is not made[sock])


def _check_open(connection: HTTPConnection) -> None:
    # uvloop gives connections that have ended in the meantime, and so does asyncio without TLS.
    if connection.gone.done() or connection.transport.is_closing():
        raise ConnectionResetError


def _asking_for(peer: Peer, proxy: Proxy | None) -> bytes:
    target = f"{f'[{peer.host}]' if ':' in peer.host else peer.host}:{peer.port}"
    fields = () if proxy is None else proxy.fields
    head = lines(f"CONNECT {target} HTTP/1.1", f"Host: {target}", *fields)
    return f"{head}\r\n".encode()


def _words(error: Exception) -> str:
    """Give what the system says of a connection that did not come about."""
    if isinstance(error, OSError) and not isinstance(error, tls.SSLError | socket.gaierror):
        # asyncio's words hold the addresses; of several, the first one's number is enough.
        found = _NUMBER.search(str(error))
        if found is not None:
            return os.strerror(int(found[1]))
    return words_of(error)
