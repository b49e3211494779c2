"""Replies: JSON, gzip, the headers of every answer, and the effect of faults."""

from __future__ import annotations

import gzip
import json
import random
import time
from email.utils import formatdate
from typing import Any

from .config import Config
from .faults import Fault, flood, gzip_bomb
from .wire import Reply

Headers = list[tuple[str, str]]
_HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"
_MIDDLE = {500: "the server failed", 503: "maintenance", 504: "too slow"}


class Answers:
    """Makes the stand-in's replies."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.other_port = 0
        self._turn = 0
        self._second = 0
        self._date = ""

    def date(self, skew: float = 0.0) -> str:
        """The server's time as an HTTP date."""
        now = time.time() + self.config.clock_skew
        if skew:
            return formatdate(now + skew, usegmt=True)
        if int(now) != self._second:
            self._second, self._date = int(now), formatdate(now, usegmt=True)
        return self._date

    def json(self, status: int, value: Any, headers: Headers | None = None) -> Reply:
        """A JSON answer, compressed as the configuration says."""
        return self.text(status, json.dumps(value).encode(), "application/json", headers)

    def text(self, status: int, body: bytes, kind: str, headers: Headers | None = None) -> Reply:
        """An answer of any content type."""
        sent: Headers = [("Date", self.date()), ("Content-Type", kind)]
        self._turn += 1
        how = self.config.compress
        if how == "always" or (how == "mixed" and self._turn % 2):
            body = gzip.compress(body, 1, mtime=0)
            sent.append(("Content-Encoding", "gzip"))
        if self.config.set_cookie:
            sent.append(("Set-Cookie", "session=standin; Path=/"))
        sent += headers or []
        return Reply(status, sent, body, outcome=str(status), ok=status == 200)

    def refusal(
        self, status: int, word: str | None, message: str, headers: Headers | None = None
    ) -> Reply:
        """An error as the API page describes it."""
        said = {"message": message} if word is None else {"message": message, "status": word}
        reply = self.json(status, said, headers)
        reply.outcome = str(status) if word is None else f"{status} {word}"
        return reply

    def latency(self) -> float:
        """How long an ordinary answer takes."""
        latency = self.config.latency
        return random.uniform(*latency) if isinstance(latency, list) else latency

    def instead(self, fault: Fault, target: str, headers: Headers | None = None) -> Reply:
        """The answer of a fault that replaces the request."""
        kept: Headers = headers or []
        match fault.kind:
            case "reset_before" | "reset_after":
                return self._wire(fault, "reset")
            case "close_before" | "close_after":
                return self._wire(fault, "close")
            case "cut_head_before":
                reply = self._wire(fault, "cut_head")
                reply.headers = [("Date", self.date())]
            case "nonsense":
                reply = self._wire(fault, "raw")
                reply.body = b"220 mail.example.com ESMTP\r\n\r\n"
            case "html":
                reply = self.text(502, _HTML.encode(), "text/html")
            case "empty":
                reply = Reply(503, [("Date", self.date())])
            case "redirect":
                to = fault.to or f"http://127.0.0.1:{self.other_port}{target}"
                reply = Reply(self.config.faults.redirect_status, [("Location", to)])
            case "busy":
                reply = self.refusal(
                    429,
                    None,
                    "A request like this is already running, concurrent requests not allowed",
                    kept,
                )
            case "client_not_found":
                reply = self.refusal(404, fault.kind, "There is no such client", kept)
            case "bad_request":
                reply = self.refusal(400, "wrong_parameter", "A parameter is wrong", kept)
            case "token_death":
                reply = self.refusal(401, None, "The token has expired", kept)
            case kind if fault.code is None:
                reply = self.refusal(403, kind, "You may not do that", kept)
            case _:
                reply = self._status(fault, kept)
        form = fault.retry_after
        if form and reply.status in {408, 429, 500, 502, 503, 504}:
            reply.headers.append(("Retry-After", self.retry_after(form)))
        reply.outcome, reply.ok = fault.kind, False
        return reply

    def retry_after(self, form: str) -> str:
        """A Retry-After: ``date+2`` is an HTTP date two seconds ahead, other texts are sent unchanged."""
        if form.startswith("date"):
            return self.date(float(form.removeprefix("date")))
        return form

    def spoil(self, reply: Reply, fault: Fault) -> Reply:
        """The effect of a fault on the answer to a request that was carried out."""
        faults = self.config.faults
        match fault.kind:
            case "stall":
                reply.delay += faults.stall_seconds if fault.seconds is None else fault.seconds
                return reply
            case "drip":
                reply.delivery = "drip"
                reply.seconds = faults.drip_seconds if fault.seconds is None else fault.seconds
                return reply
            case "hangup":
                reply.delivery = "hangup"
                return reply
            case "clock_skew":
                skew = faults.skew_seconds * (-1 if fault.chance < 0.5 else 1)
                reply.headers[0] = ("Date", self.date(skew))
                return reply
            case "cut" | "cut_head":
                reply.delivery = fault.kind
            case "garble":
                body = bytearray(gzip.compress(b"{}") if len(reply.body) < 20 else reply.body)
                for at in range(len(body) // 2, len(body) - 8, 7):
                    body[at] ^= 0x5A
                body[-6] ^= 0xFF
                reply.body = bytes(body)
                self._encoded(reply)
            case "bad_crc":
                packed = bytearray(gzip.compress(self._plain(reply)))
                packed[-6] ^= 0xFF
                reply.body = bytes(packed)
                self._encoded(reply)
            case "half_json":
                whole = self._plain(reply)
                reply.body = gzip.compress(whole[: len(whole) // 2])
                self._encoded(reply)
            case "wrong_type":
                record = json.loads(self._plain(reply))
                reply.body = gzip.compress(json.dumps({**record, "id": None}).encode())
                self._encoded(reply)
            case "bomb":
                reply.delivery, reply.body = "stream", b""
                reply.stream = lambda: gzip_bomb(faults.bomb_bytes)
                self._encoded(reply)
            case "flood":
                reply.delivery, reply.body = "stream", b""
                reply.stream = lambda: flood(faults.bomb_bytes)
                reply.headers = [each for each in reply.headers if each[0] != "Content-Encoding"]
            case _:
                kept = [each for each in reply.headers if each[0].startswith("X-RateLimit")]
                reply = self.instead(fault, "", kept)
        reply.outcome, reply.ok = fault.kind, False
        return reply

    def _status(self, fault: Fault, kept: Headers) -> Reply:
        code = fault.code or 500
        if fault.body is not None:
            return self.text(code, fault.body.encode(), "text/plain", kept)
        if fault.kind.startswith("status_"):
            return Reply(code, [("Date", self.date()), *kept])
        return self.refusal(code, None, _MIDDLE.get(code, "it went wrong"), kept)

    @staticmethod
    def _wire(fault: Fault, delivery: str) -> Reply:
        return Reply(500, [], delivery=delivery, outcome=fault.kind)

    @staticmethod
    def _plain(reply: Reply) -> bytes:
        packed = ("Content-Encoding", "gzip") in reply.headers
        return gzip.decompress(reply.body) if packed else reply.body

    @staticmethod
    def _encoded(reply: Reply) -> None:
        if ("Content-Encoding", "gzip") not in reply.headers:
            reply.headers.append(("Content-Encoding", "gzip"))
