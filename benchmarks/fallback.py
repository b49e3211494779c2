"""A server for machines without nginx, and for slow answers.

It prints its port and serves until it is killed.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
from typing import cast

from benchmarks.work import RECORD

_QUOTA = (
    "X-RateLimit-Limit: 1000000000\r\nX-RateLimit-Remaining: 999999999\r\nX-RateLimit-Reset: 3599"
)


def answer(*, packed: bool) -> bytes:
    """Build the only answer."""
    body = gzip.compress(RECORD, mtime=0) if packed else RECORD
    coding = "Content-Encoding: gzip\r\n" if packed else ""
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{coding}{_QUOTA}\r\n\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """Answers every request with the same bytes after the same delay."""

    def __init__(self, reply: bytes, delay: float) -> None:
        self.reply = reply
        self.delay = delay
        self.read = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.read += data
        while (end := self.read.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.read[:end]).lower()
            _, _, length = head.partition(b"content-length:")
            whole = end + 4 + int(length.split(b"\r\n", 1)[0] or b"0")
            if len(self.read) < whole:
                return
            del self.read[:whole]
            if self.delay:
                asyncio.get_running_loop().call_later(self.delay, self.write)
            else:
                self.write()

    def write(self) -> None:
        """Answer."""
        if not self.transport.is_closing():
            self.transport.write(self.reply)


async def serve(reply: bytes, delay: float) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(reply, delay), "127.0.0.1", 0, backlog=4096
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gzip", action="store_true", help="answer in gzip")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    options = parser.parse_args()
    asyncio.run(serve(answer(packed=options.gzip), options.delay))


if __name__ == "__main__":
    main()
