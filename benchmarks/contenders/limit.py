"""About the limit in pure Python: HTTP/1.1 by hand, over asyncio's Protocol, bytes only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import cast
from urllib.parse import urlsplit

from benchmarks.work import API, CHANGE, TOKEN, Go, Work


class Connection(asyncio.Protocol):
    """Sends one request after another until no numbers are left."""

    def __init__(self, head: str, tail: str) -> None:
        self.head = head
        self.tail = tail
        self.bodies: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def start(self, numbers: Iterator[int]) -> asyncio.Future[None]:
        """Send until no numbers are left."""
        self.numbers = numbers
        self.done = asyncio.get_running_loop().create_future()
        self.read = b""
        self.next()
        return self.done

    def next(self) -> None:
        """Send one request."""
        number = next(self.numbers, None)
        if number is None:
            self.done.set_result(None)
        else:
            self.transport.write(f"{self.head}{number}{self.tail}".encode())

    def data_received(self, data: bytes) -> None:
        self.read += data
        head, end, body = self.read.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        start = head.index(b"Content-Length: ") + 16
        line_end = head.find(b"\r\n", start)
        if len(body) >= int(head[start : line_end if line_end > 0 else None]):
            self.bodies.append(body)
            self.read = b""
            self.next()


@asynccontextmanager
async def opened(work: Work) -> AsyncIterator[Go]:
    """Open one connection for each concurrent request."""
    parts = urlsplit(work.origin)
    host, port = parts.hostname or "", parts.port or 80
    before, after = f"{work.method} {API}/client/", "/client/"
    body = json.dumps(CHANGE) if work.method == "PUT" else ""
    sized = f"Content-Length: {len(body)}\r\n" if body else ""
    tail = (
        f"{after} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Accept-Encoding: gzip\r\n{sized}\r\n{body}"
    )
    loop = asyncio.get_running_loop()
    connections = [
        (await loop.create_connection(lambda: Connection(before, tail), host, port))[1]
        for _ in range(work.concurrency)
    ]

    async def go(count: int) -> int:
        numbers = iter(range(1, count + 1))
        await asyncio.gather(*(connection.start(numbers) for connection in connections))
        got = sum(len(connection.bodies) for connection in connections)
        for connection in connections:
            connection.bodies.clear()
        return got

    yield go
    for connection in connections:
        connection.transport.close()
