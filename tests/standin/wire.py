"""HTTP/1.1 by hand, because an honest server library would not cut, garble, drip or reset."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus

from .books import Entry

_LONGEST_HEAD = 64 * 1024
_DRIP_PIECES = 20
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True)
class Message:
    """A request as it came, header by header."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    close: bool = False

    def get(self, name: str) -> str | None:
        """The first header of a (lower-case) name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def all(self, name: str) -> list[str]:
        """Every header of a (lower-case) name."""
        return [value for key, value in self.headers if key == name]


@dataclass(slots=True)
class Reply:
    """An answer, and how to deliver it.

    ``delivery`` is ``whole``, ``hangup`` (whole, then closed without notice), ``reset``,
    ``close`` (closed without a byte), ``cut``, ``cut_head``, ``drip``, ``stream`` or ``raw``.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    delay: float = 0.0
    delivery: str = "whole"
    seconds: float = 0.0
    stream: Callable[[], Iterator[bytes]] | None = None
    entry: Entry | None = None
    outcome: str = ""
    ok: bool = False

    def payload(self, close: bool) -> bytes:
        """Head and body as bytes."""
        lines = [f"HTTP/1.1 {self.status} {_PHRASES.get(self.status, 'Unheard-of')}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.stream is not None:
            lines.append("Transfer-Encoding: chunked")
        else:
            lines.append(f"Content-Length: {len(self.body)}")
        if close:
            lines.append("Connection: close")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


class Malformed(ValueError):
    """What came is not HTTP/1.1."""


@dataclass(slots=True)
class _Head:
    message: Message
    length: int = 0
    chunked: bool = False
    expects: bool = False
    size: int = field(default=0)


def read_head(raw: bytes) -> _Head:
    """Parse request line and headers, without the blank line at their end."""
    lines = raw.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise Malformed(f"request line {lines[0]!r}")
    headers: list[tuple[str, str]] = []
    head = _Head(Message(parts[0], parts[1], headers))
    head.message.close = parts[2] == "HTTP/1.0"
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or "\n" in line or "\r" in line:
            raise Malformed(f"header line {line!r}")
        key, value = name.lower(), value.strip(" \t")
        headers.append((key, value))
        if key == "content-length":
            if not (value.isascii() and value.isdigit()) or (
                head.length and head.length != int(value)
            ):
                raise Malformed("content-length")
            head.length = int(value)
        elif key == "transfer-encoding":
            head.chunked = value.lower() == "chunked"
        elif key == "connection" and value.lower() == "close":
            head.message.close = True
        elif key == "expect":
            head.expects = True
    return head


def read_chunks(data: bytes) -> tuple[bytes, int] | None:
    """Decode a chunked body: the body and its wire size, or None if it is incomplete."""
    body, at = bytearray(), 0
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        try:
            size = int(data[at:end].split(b";")[0], 16)
        except ValueError:
            raise Malformed("chunk size") from None
        at = end + 2
        if len(data) < at + size + 2:
            return None
        body += data[at : at + size]
        at += size + 2
        if size == 0:
            return bytes(body), at


class Connection(asyncio.Protocol):
    """One connection: requests one after the other, each answered by its reply."""

    def __init__(
        self,
        handle: Callable[[Message], Reply],
        *,
        malformed: Callable[[str], None],
        opened: Callable[[Connection], None],
        closed: Callable[[Connection], None],
        most_requests: int | None = None,
    ) -> None:
        self._handle = handle
        self._malformed = malformed
        self._opened = opened
        self._closed = closed
        self._most = most_requests
        self._served = 0
        self._buffer = bytearray()
        self._head: _Head | None = None
        self._busy = False
        self._over = False
        self._task: asyncio.Task[None] | None = None
        self._entry: Entry | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._over = True
        self._writable.set()
        if self._entry is not None:
            self._entry.close("abandoned", False)
        if self._task is not None:
            self._task.cancel()
        self._closed(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._busy:
            self._pump()

    def _pump(self) -> None:
        while not (self._busy or self._over):
            try:
                message = self._next()
            except Malformed as error:
                self._malformed(str(error))
                self.transport.write(Reply(400, []).payload(close=True))
                self._finish()
                return
            if message is None:
                return
            self._served += 1
            if self._most is not None and self._served >= self._most:
                message.close = True
            self._answer(message, self._handle(message))

    def _next(self) -> Message | None:
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _LONGEST_HEAD:
                    raise Malformed("endless head")
                return None
            self._head = read_head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
            if self._head.expects:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = self._head
        if head.chunked:
            read = read_chunks(bytes(self._buffer))
            if read is None:
                return None
            head.message.body, size = read
        else:
            size = head.length
            if len(self._buffer) < size:
                return None
            head.message.body = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._head = None
        return head.message

    def _answer(self, message: Message, reply: Reply) -> None:
        if reply.delay <= 0 and reply.delivery == "whole":
            self.transport.write(reply.payload(message.close))
            if reply.entry is not None:
                reply.entry.close(reply.outcome, reply.ok)
            if message.close:
                self._finish()
            return
        self._busy = True
        self._entry = reply.entry
        self._task = asyncio.get_running_loop().create_task(self._perform(message, reply))

    async def _perform(self, message: Message, reply: Reply) -> None:
        if reply.delay > 0:
            await asyncio.sleep(reply.delay)
        await self._deliver(message, reply)
        if reply.entry is not None:
            reply.entry.close(reply.outcome, reply.ok)
        self._entry = self._task = None
        self._busy = False
        if message.close or reply.delivery not in {"whole", "drip", "stream"}:
            self._finish()
        elif not self._over:
            self._pump()

    async def _deliver(self, message: Message, reply: Reply) -> None:
        write = self.transport.write
        payload = reply.payload(message.close)
        match reply.delivery:
            case "reset":
                self.reset()
            case "close":
                pass
            case "cut":
                write(payload[: len(payload) - max(1, len(reply.body) // 2)])
            case "cut_head":
                write(payload[:25])
            case "raw":
                write(reply.body)
            case "drip":
                step = max(1, len(payload) // _DRIP_PIECES)
                for at in range(0, len(payload), step):
                    await asyncio.sleep(reply.seconds / _DRIP_PIECES)
                    write(payload[at : at + step])
            case "stream":
                assert reply.stream is not None
                write(payload)
                for piece in reply.stream():
                    await self._writable.wait()
                    if self._over:
                        return
                    write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    await asyncio.sleep(0)
                write(b"0\r\n\r\n")
            case _:
                write(payload)

    def _finish(self) -> None:
        self._over = True
        self.transport.close()

    def reset(self) -> None:
        """Drop the connection with a RST, as a crashed host or a strict firewall would."""
        self._over = True
        sock: socket.socket | None = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
