"""Calls to the rest of the API: any path, checked before it is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import urlencode

from ringme_async.auth import TokenKey
from ringme_async.dispatch import Call, OnQuota
from ringme_async.errors import InvalidRequest, one_line
from ringme_async.models import JSON
from ringme_async.transports import Response

_METHOD = re.compile(r"[A-Z]{1,20}", re.ASCII)
_PATH = re.compile(r"(/[A-Za-z0-9@._~!$&'()*+,;=:-]*)+", re.ASCII)


def raw_call(
    method: str,
    path: str,
    key: TokenKey,
    *,
    params: Mapping[str, str | int] | None,
    body: JSON,
    idempotent: bool,
    timeout: float,
    on_quota: OnQuota,
) -> Call[Response]:
    """Make the call for a request that no model exists for.

    Raises:
        InvalidRequest: The method or the path is malformed, or the body is no JSON.
    """
    if _METHOD.fullmatch(method) is None:
        raise InvalidRequest(f"a method is in capitals, such as GET, not {one_line(method, 40)!r}")
    return Call(
        method,
        _checked_path(path),
        key,
        _whole,
        client_id=None,
        idempotent=idempotent,
        timeout=timeout,
        query=f"?{urlencode(params)}" if params else "",
        body=b"" if body is None else _encoded(body),
        on_quota=on_quota,
    )


def _whole(response: Response) -> Response:
    return response


def _checked_path(path: str) -> str:
    segments = path.split("/")
    if _PATH.fullmatch(path) is None or "." in segments or ".." in segments or "" in segments[1:-1]:
        raise InvalidRequest(
            "a path starts with / and follows /api/ver1.0, without query, escapes or dots;"
            f" not {one_line(path, 60)!r}"
        )
    return path


def _encoded(body: JSON) -> bytes:
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"the body is no JSON: {one_line(str(error))}") from None
