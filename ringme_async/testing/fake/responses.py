"""The responses of the fake server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

from ringme_async.testing.fake.client_schema import JSON
from ringme_async.transports import Headers, Response

BUSY = "A request like this is already running, concurrent requests are not allowed."
NOTHING: Mapping[str, JSON] = MappingProxyType({})
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


def json_answer(status: int, payload: JSON, headers: Mapping[str, str] = NO_HEADERS) -> Response:
    """Answer with JSON."""
    body = json.dumps(payload, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return raw_answer(status, body, headers)


def raw_answer(status: int, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> Response:
    """Answer with encoded JSON."""
    return Response(status, Headers({"content-type": "application/json", **headers}), body)


def refusal(
    code: int,
    message: str | None,
    word: str | None = None,
    headers: Mapping[str, str] = NO_HEADERS,
) -> Response:
    """Answer with an error in the API's form (API page, section 4)."""
    payload: dict[str, JSON] = {}
    if message is not None:
        payload["message"] = message
    if word is not None:
        payload["status"] = word
    return json_answer(code, payload, headers)
