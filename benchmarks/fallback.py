"""A server for machines without nginx, and for slow answers.

It prints its port and serves until it is killed.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
from functools import lru_cache
from typing import cast

from benchmarks.work import record_at

_QUOTA = (
    "X-RateLimit-Limit: 1000000000\r\nX-RateLimit-Remaining: 999999999\r\nX-RateLimit-Reset: 3599"
)


@lru_cache(maxsize=100_000)
def answer(path: bytes, *, packed: bool) -> bytes:
    """Spell the answer to a request for a client."""
    body = record_at(path)
    if packed:
        body = gzip.compress(body, compresslevel=1, mtime=0)
    coding = "Content-Encoding: gzip\r\n" if packed else ""
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{coding}{_QUOTA}\r\n\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """Answers every request with the record asked for, after the same time."""

    def __init__(self, delay: float, *, packed: bool) -> None:
        self.packed = packed
        self.delay = delay
        self.read = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.read += data
        while (end := self.read.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.read[:end])
            _, _, length = head.lower().partition(b"content-length:")
            whole = end + 4 + int(length.split(b"\r\n", 1)[0] or b"0")
            if len(self.read) < whole:
                return
            del self.read[:whole]
            reply = answer(head.split(b" ", 2)[1], packed=self.packed)
            if self.delay:
                asyncio.get_running_loop().call_later(self.delay, self.write, reply)
            else:
                self.write(reply)

    def write(self, reply: bytes) -> None:
        """Answer."""
        if not self.transport.is_closing():
            self.transport.write(reply)


async def serve(delay: float, *, packed: bool) -> None:
    """Serve for good."""
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(delay, packed=packed), "127.0.0.1", 0, backlog=4096
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gzip", action="store_true", help="answer in gzip")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    options = parser.parse_args()
    asyncio.run(serve(options.delay, packed=options.gzip))


if __name__ == "__main__":
    main()
