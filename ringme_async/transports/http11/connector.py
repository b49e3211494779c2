"""How a connection is made: look up, TCP, the tunnel through a proxy, TLS."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl as tls
from collections.abc import Callable
from typing import Final

# It has no type for an address, whose form depends on the family.
from aiohappyeyeballs import (
    start_connection,  # pyright: ignore[reportUnknownVariableType]
)

from ringme_async._internal.deadlines import Deadlines
from ringme_async.errors import TransportTimeout
from ringme_async.transports import Timeouts
from ringme_async.transports.connection_errors import connect_error, proxy_error
from ringme_async.transports.http11.connection import HTTPConnection
from ringme_async.transports.http11.peer import Peer, Proxy
from ringme_async.transports.http11.request_encoder import lines
from ringme_async.transports.http11.resolver import Resolver
from ringme_async.transports.http11.response_parser import message_of
from ringme_async.transports.http11.tunnel import Tunnel, TunnelError
from ringme_async.transports.write_coalescing import Address

__all__ = ["Connector"]

# Seconds before the next address is tried in parallel (RFC 8305, section 5).
_HAPPY_EYEBALLS_DELAY: Final = 0.25
_NUMBER: Final = re.compile(r"\[Errno (\d+)\]")


class Connector:
    """Makes connections, through a proxy if there is one.

    Args:
        new_connection: Makes the HTTP protocol of a connection.
        ssl: The context that verifies servers. Default the system's CAs.
        proxy: The proxy.
    """

    __slots__ = ("_closed", "_in_flight", "_new_connection", "_proxy", "_resolver", "_ssl")

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
        self._in_flight = Deadlines()
        self._closed = False

    async def connect(self, peer: Peer, timeouts: Timeouts) -> HTTPConnection:
        """Connect to a host.

        Raises:
            ConnectError: The connection failed.
            TransportTimeout: Connecting took longer than ``timeouts`` allow.
        """
        loop = asyncio.get_running_loop()
        seconds = min(timeouts.connect, timeouts.attempt)
        first = peer if self._proxy is None else self._proxy.peer
        route = f"{peer}" if first is peer else f"{peer} through the proxy {first}"
        try:
            with self._in_flight.until(loop.time() + seconds, loop):
                return await self._connect(loop, first, peer)
        except TunnelError as error:
            failure = proxy_error(f"{first}", f"{peer}", str(error))
        except (OSError, UnicodeError, RuntimeError) as error:
            # uvloop raises a RuntimeError for a socket that ended at the moment of its use.
            failure = connect_error(route, _failure_message(error), error, direct=first is peer)
        else:
            if not self._closed:
                raise TransportTimeout(f"no connection to {route} within {seconds:g} s", sent=False)
            failure = connect_error(route, "the transport was closed")
        raise failure

    def close(self) -> None:
        """Cancel the connects in flight."""
        self._closed = True
        self._in_flight.end_all()

    async def aclose(self) -> None:
        """Cancel the connects in flight and wait for their end."""
        self.close()
        await self._in_flight.idle()
        self._in_flight.close()
        await self._resolver.aclose()

    async def _connect(
        self, loop: asyncio.AbstractEventLoop, first: Peer, peer: Peer
    ) -> HTTPConnection:
        addresses = await self._resolver.resolve(first.host, first.port)
        while True:
            sock, others = await _connect_fastest(loop, addresses)
            try:
                return await self._establish(loop, sock, first, peer)
            except OSError:
                # An address may accept TCP and fail later. Another address may still serve the host.
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
                await tunnel.open(_connect_request(peer, self._proxy))
                await self._start_tls(loop, connection, connection, peer)
            _check_open(connection)
        except BaseException:
            connection.abort()
            # asyncio does not report a failed TLS handshake to the protocol. uvloop does not report
            # a connection that ends while it is made.
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
        """Start TLS over the current transport of a connection.

        ``create_connection`` would hide the transport beneath. The unsent bytes are known only
        from both.
        """
        _check_open(connection)
        secured = await loop.start_tls(
            connection.transport, protocol, self._context(), server_hostname=peer.tls_name
        )
        # asyncio gives None if the connection ends at the same moment.
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


async def _connect_fastest(
    loop: asyncio.AbstractEventLoop, addresses: tuple[Address, ...]
) -> tuple[socket.socket, tuple[Address, ...]]:
    """Connect to the first address that accepts. Returns: The socket, and the other addresses."""
    made: dict[socket.socket, Address] = {}

    def make(address: Address) -> socket.socket:
        sock = socket.socket(*address[:3])
        made[sock] = address
        return sock

    try:
        sock = await start_connection(
            addresses,
            happy_eyeballs_delay=_HAPPY_EYEBALLS_DELAY,
            interleave=1,
            loop=loop,
            socket_factory=make,
        )
    except RuntimeError as error:
        # uvloop may report a descriptor in use this way.
        raise OSError(str(error)) from None
    return sock, tuple(address for address in addresses if address is not made[sock])


def _check_open(connection: HTTPConnection) -> None:
    # uvloop returns connections that ended meanwhile, and so does asyncio without TLS.
    if connection.closed.done() or connection.transport.is_closing():
        raise ConnectionResetError


def _connect_request(peer: Peer, proxy: Proxy | None) -> bytes:
    target = f"{f'[{peer.host}]' if ':' in peer.host else peer.host}:{peer.port}"
    fields = () if proxy is None else proxy.fields
    head = lines(f"CONNECT {target} HTTP/1.1", f"Host: {target}", *fields)
    return f"{head}\r\n".encode()


def _failure_message(error: Exception) -> str:
    """Give the system's message about a failed connect."""
    if isinstance(error, OSError) and not isinstance(error, tls.SSLError | socket.gaierror):
        # asyncio's message holds the addresses. The first error number is enough.
        found = _NUMBER.search(str(error))
        if found is not None:
            return os.strerror(int(found[1]))
    return message_of(error)
