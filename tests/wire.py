"""A loopback server that answers with exactly the bytes a test wants, and can break off anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

from attrs import define, field

__all__ = ["Peer", "Script", "WireServer", "answer", "chunked", "serving"]


def answer(
    body: bytes = b"",
    *fields: str,
    status: str = "200 OK",
    length: int | None = None,
) -> bytes:
    """Spell an HTTP answer; its Content-Length is the body's unless told otherwise."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*head, *fields, "", ""]).encode() + body


def chunked(*chunks: bytes, fields: tuple[str, ...] = (), end: bytes = b"0\r\n\r\n") -> bytes:
    """Spell an HTTP answer in chunks; without ``end`` it is never finished."""
    head = "\r\n".join(["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", *fields, "", ""])
    return head.encode() + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in chunks) + end


@define(eq=False)
class Peer:
    """One connection, from the server's side."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self) -> bytes:
        """Read one request, its body included; empty when the client has closed."""
        head = bytearray()
        while not head.endswith(b"\r\n\r\n"):
            byte = await self.reader.read(1)
            if not byte:
                return bytes(head)
            head += byte
        length = 0
        for line in bytes(head).lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        return bytes(head) + await self.reader.readexactly(length)

    async def send(self, data: bytes) -> None:
        """Write bytes and see them off."""
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Break the connection with a TCP reset."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def until_closed(self) -> None:
        """Wait until the client is gone, ignoring whatever it still sends."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


Script = Callable[[Peer], Awaitable[None]]
"""What the server does with a connection; when it returns, the connection is closed."""


@define(eq=False)
class WireServer:
    """A running server, and what it has seen."""

    port: int
    scheme: str
    connections: int = 0
    open_connections: int = 0
    requests: list[bytes] = field(factory=list)
    idle: asyncio.Event = field(factory=asyncio.Event)

    def connected(self) -> None:
        """Count a connection in."""
        self.connections += 1
        self.open_connections += 1
        self.idle.clear()

    def left(self) -> None:
        """Count a connection out."""
        self.open_connections -= 1
        if not self.open_connections:
            self.idle.set()

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        """Spell a URL of this server."""
        return f"{self.scheme}://{host}:{self.port}{path}"


@contextlib.asynccontextmanager
async def serving(
    script: Script | bytes, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[WireServer]:
    """Serve connections by a script, or answer every request on them with the same bytes.

    On leaving, every connection that is left is cut, and a script that failed fails the test.
    """
    failures: list[Exception] = []
    tasks: dict[asyncio.Task[None], Peer] = {}

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        peer = tasks[task] = Peer(reader, writer)
        task.add_done_callback(tasks.pop)
        server.connected()
        try:
            await script(peer) if callable(script) else await _repeat(peer, script)
        except (ConnectionError, ssl.SSLError, asyncio.CancelledError):
            # A client may leave when it likes, and only the end of the test cancels.
            pass
        except Exception as failure:  # noqa: BLE001  # the test shall fail, not the server
            failures.append(failure)
        server.left()
        writer.close()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()

    async def _repeat(peer: Peer, data: bytes) -> None:
        while request := await peer.request():
            server.requests.append(request)
            await peer.send(data)

    listener = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls, backlog=512)
    port = listener.sockets[0].getsockname()[1]
    server = WireServer(port, "https" if tls else "http")
    server.idle.set()
    try:
        yield server
    finally:
        # A connection that is being accepted would be left open by a listener that closes.
        for _ in range(5):
            await asyncio.sleep(0)
        listener.close()
        for task, peer in tasks.items():
            peer.writer.transport.abort()
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await listener.wait_closed()
    if failures:
        raise failures[0]
