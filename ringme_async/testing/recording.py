"""Record exchanges with a RingMe in a file, and replay them from it.

A recording is a text file of JSON lines in UTF-8. The first line describes the recording. Each
further line is one exchange, in the order of the answers.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Final, TypeAlias, cast
from urllib.parse import urlencode

from attrs import define, field, frozen

from ringme_async import errors
from ringme_async.testing.fake.client_schema import JSON
from ringme_async.testing.fake.exchange import split_url
from ringme_async.testing.redaction import Masker, masked_body
from ringme_async.transports import Headers, Request, Response, Transport
from ringme_async.transports.body_decoder import refusal_of_closed

__all__ = ["NotRecorded", "RecordingTransport", "ReplayTransport"]

_FORMAT: Final = 1
_NEAREST: Final = 3
# They describe the body on the wire, not the one in the file.
_TRANSFER_HEADERS: Final = frozenset({"content-length", "content-encoding", "transfer-encoding"})
_FAILURES: Final = {
    kind.__name__: kind
    for kind in (
        errors.TransportError,
        errors.ConnectError,
        errors.CertificateError,
        errors.TransportTimeout,
        errors.ResponseLost,
        errors.ResponseTooLarge,
    )
}

_Object: TypeAlias = dict[str, JSON]


class NotRecorded(LookupError):
    """A request is not in the recording, or came more often than it was recorded."""


class RecordingTransport:
    """Sends requests through another transport, and writes each exchange to a file.

    Secrets stay out of the file. Tokens, App Secrets, passwords, cookies, e-mail addresses and phone
    numbers become ``***``. They are found by the names of headers, form, query and JSON fields, and
    by their pattern in any text. A secret of six characters or more is masked everywhere in the
    recording, in any usual spelling. Read a recording before you share it: names and addresses of
    clients are not masked.

    A request that is cancelled is not recorded.

    Args:
        inner: The transport that sends the requests; it is closed with this one.
        path: The file; an existing one is overwritten.
        mask: False masks nothing, not even secrets.
        also: Further names of fields and headers to mask.

    Raises:
        OSError: The file cannot be written.
    """

    def __init__(
        self,
        inner: Transport,
        path: str | os.PathLike[str],
        *,
        mask: bool = True,
        also: Iterable[str] = (),
    ) -> None:
        self._inner = inner
        self._path = Path(path)
        names = sorted(also)
        self._masker = Masker(names, on=mask)
        about: _Object = {"ringme_recording": _FORMAT, "masked": mask, "also": [*names]}
        self._write(about, "w")

    async def send(self, request: Request) -> Response:
        """Send a request, and record it with its answer or error.

        Raises:
            TransportError: The other transport raised it; it is recorded as well.
            OSError: The file cannot be written.
        """
        masker = self._masker
        exchange: _Object = {"request": cast("JSON", _masked_request(masker, request))}
        try:
            response = await self._inner.send(request)
        except errors.TransportError as failure:
            message = masker.text(str(failure.args[0]))
            kind = type(failure).__name__
            exchange["error"] = {"kind": kind, "message": message, "sent": failure.sent}
            self._write(exchange)
            raise
        exchange["response"] = _masked_response(masker, response)
        self._write(exchange)
        return response

    async def aclose(self) -> None:
        """Close the other transport."""
        await self._inner.aclose()

    def __repr__(self) -> str:
        return f"<RecordingTransport to {self._path}>"

    def _write(self, line: _Object, mode: str = "a") -> None:
        with self._path.open(mode, encoding="utf-8", newline="\n") as file:
            file.write(f"{_line(line)}\n")


class ReplayTransport:
    """Answers requests from a recording, and sends nothing.

    It compares method, path, query and body of a request with the recording. Host, headers and
    credentials do not matter. A request that was recorded several times gets these answers in
    order.

    Args:
        path: The file.
        repeat: Give the last answer again to a request that comes more often than it was
            recorded, instead of raising ``NotRecorded``.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is not a recording; the message names the line.
    """

    def __init__(self, path: str | os.PathLike[str], *, repeat: bool = False) -> None:
        self._path = Path(path)
        self._repeat = repeat
        self._closed = False
        with self._path.open(encoding="utf-8") as file:
            about, *lines = [*file] or [""]
        on, also = _read_about(self._path, about)
        self._masker = Masker(also, on=on)
        self._recorded: dict[str, _RecordedAnswers] = {}
        for number, line in enumerate(lines, 2):
            asked, answer = _read_exchange(self._path, number, line)
            self._recorded.setdefault(_key(asked), _RecordedAnswers(asked)).answers.append(answer)

    async def send(self, request: Request) -> Response:
        """Answer a request from the recording.

        Raises:
            NotRecorded: The request is not in it; the message names the most similar ones.
            TransportError: The recording has this error for the request.
            InvalidRequest: The transport is closed.
        """
        if self._closed:
            raise refusal_of_closed(self)
        await asyncio.sleep(0)
        asked = _masked_request(self._masker, request)
        recorded = self._recorded.get(_key(asked))
        if recorded is None:
            raise NotRecorded(self._unknown_request(asked))
        answer = recorded.next(repeat=self._repeat)
        if answer is None:
            often = "once" if recorded.used == 1 else f"{recorded.used} times"
            raise NotRecorded(
                f"{_summary(asked)} was asked {recorded.used + 1} times and is {often} in {self._path}"
            )
        if answer.error is not None:
            raise answer.error()
        return answer.response

    async def aclose(self) -> None:
        """Refuse further requests; a second call does nothing."""
        self._closed = True

    @property
    def left(self) -> Sequence[str]:
        """The recorded exchanges not replayed yet, one text for each."""
        return [
            _summary(recorded.asked)
            for recorded in self._recorded.values()
            for _ in recorded.answers
        ]

    def __repr__(self) -> str:
        return f"<ReplayTransport of {self._path}>"

    def _unknown_request(self, asked: _Object) -> str:
        known = [recorded.asked for recorded in self._recorded.values()]
        message = f"{_summary(asked)} is not in {self._path}"
        if not known:
            return f"{message}, which holds no exchange at all"
        known.sort(key=lambda other: _similarity(asked, other), reverse=True)
        nearest = "\n".join(f"  {_summary(other)}" for other in known[:_NEAREST])
        return f"{message}; the nearest that are there:\n{nearest}"


@frozen
class _Failure:
    kind: str
    message: str
    sent: bool

    def __call__(self) -> errors.TransportError:
        return _FAILURES[self.kind](self.message, sent=self.sent)


@frozen
class _Answer:
    response: Response
    error: _Failure | None = None


@define
class _RecordedAnswers:
    """All recorded answers to one request."""

    asked: _Object
    answers: deque[_Answer] = field(factory=deque[_Answer])
    used: int = 0
    _last: _Answer | None = None

    def next(self, *, repeat: bool) -> _Answer | None:
        if not self.answers:
            return self._last if repeat else None
        self.used += 1
        self._last = self.answers.popleft()
        return self._last


def _masked_request(masker: Masker, request: Request) -> _Object:
    """Return a request in the form of the file."""
    # The first pass learns the secrets, the second masks them in every field.
    _mask_request_once(masker, request)
    return _mask_request_once(masker, request)


def _masked_response(masker: Masker, response: Response) -> _Object:
    kind = response.headers.get("content-type", "")
    fields = _recorded_headers(response.headers)
    # The first pass learns the secrets, the second masks them.
    masker.headers(fields)
    masked_body(masker, response.body, kind)
    return {
        "status": response.status,
        "headers": dict[str, JSON](masker.headers(fields)),
        **masked_body(masker, response.body, kind),
    }


def _mask_request_once(masker: Masker, request: Request) -> _Object:
    host, path, query = split_url(request.url)
    headers = masker.headers(_recorded_headers(request.headers))
    pairs = masker.pairs(query)
    kind = request.headers.get("content-type", "")
    body = masked_body(masker, request.body, kind)
    shown: _Object = {"method": request.method, "host": host, "path": masker.path(path)}
    if pairs:
        shown["query"] = pairs
    return {**shown, "headers": dict[str, JSON](headers), **body}


def _recorded_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in _TRANSFER_HEADERS}


def _key(asked: _Object) -> str:
    matter = {name: value for name, value in asked.items() if name not in {"host", "headers"}}
    return json.dumps(matter, sort_keys=True)


def _summary(asked: _Object) -> str:
    """Describe a request in one line."""
    line = f"{asked['method']} {asked['path']}"
    if "query" in asked:
        line += f"?{_encoded(asked['query'])}"
    for form in ("json", "form", "text"):
        if form in asked:
            line += f" {json.dumps(asked[form], ensure_ascii=False)}"
    return errors.one_line(line)


def _similarity(asked: _Object, other: _Object) -> tuple[bool, bool, float]:
    same_path = asked["path"] == other["path"]
    ratio = SequenceMatcher(None, _summary(asked), _summary(other)).ratio()
    return same_path, same_path and asked["method"] == other["method"], ratio


def _line(value: _Object) -> str:
    line = json.dumps(value, ensure_ascii=False)
    # Bytes of a body that are not UTF-8 became lone surrogates, which cannot be encoded.
    return line if line.isascii() or _is_utf8(line) else json.dumps(value)


def _is_utf8(line: str) -> bool:
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_about(path: Path, line: str) -> tuple[bool, list[str]]:
    try:
        match json.loads(line):
            case {"ringme_recording": 1, "masked": bool(mask), "also": [*also]}:
                return mask, [str(name) for name in cast("list[object]", also)]
            case _:
                pass
    except ValueError:
        pass
    raise ValueError(f"{path} is no recording: its first line does not say so")


def _read_exchange(path: Path, number: int, line: str) -> tuple[_Object, _Answer]:
    try:
        match json.loads(line):
            case {
                "request": {"method": str(), "path": str()} as asked,
                "response": {"status": int(status), "headers": {**headers}} as answer,
            }:
                fields = Headers({str(name): str(value) for name, value in headers.items()})
                response = Response(status, fields, _body(cast("_Object", answer)))
                return cast("_Object", asked), _Answer(response)
            case {
                "request": {"method": str(), "path": str()} as asked,
                "error": {"kind": str(kind), "message": str(message), "sent": bool(sent)},
            } if kind in _FAILURES:
                failure = _Failure(kind, message, sent)
                return cast("_Object", asked), _Answer(Response(0), failure)
            case _:
                pass
    except ValueError:
        pass
    raise ValueError(f"{path}, line {number}, is no exchange")


def _body(shown: _Object) -> bytes:
    if "json" in shown:
        return json.dumps(shown["json"]).encode()
    if "form" in shown:
        return _encoded(shown["form"]).encode()
    return str(shown.get("text", "")).encode("utf-8", "surrogateescape")


def _encoded(pairs: JSON) -> str:
    known = [(name, value) for name, value in cast("list[list[str]]", pairs)]
    return urlencode(known, safe="*@/", errors="surrogateescape")
