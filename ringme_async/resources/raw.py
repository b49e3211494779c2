"""Calls to the rest of the API: any path, checked before sending."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import cast
from urllib.parse import urlencode

from ringme_async._internal.frozen_json import JSON
from ringme_async._internal.text import shown
from ringme_async.auth import TokenKey
from ringme_async.calls.call import Call, OnQuota
from ringme_async.errors import ApiError, InvalidRequest, NotFound, one_line
from ringme_async.transports import Response

_METHOD = re.compile(r"[A-Z]{1,20}", re.ASCII)
# CONNECT turns a proxy into a tunnel; TRACE echoes the request, with the token in it.
_FORBIDDEN_METHODS = frozenset({"CONNECT", "TRACE"})
# Servers redirect a path without its final slash.
_REDIRECTS = frozenset({301, 302, 307, 308})
_PREFIX = re.compile(r"(?:/api)?/ver[0-9.]+(?=/|$)|/api(?=/|$)")
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
    """Build a call for a resource without a model.

    Raises:
        InvalidRequest: The method, the path or the query is malformed, or the body is no JSON.
    """
    return Call(
        _checked_method(method),
        _checked_path(path),
        key,
        _undecoded,
        client_id=None,
        idempotent=idempotent,
        timeout=timeout,
        query=_query(params),
        body=b"" if body is None else _encoded(body),
        on_quota=on_quota,
    )


def advise_on_path(error: ApiError, path: str) -> None:
    """Add advice to an error whose cause may be an unusual path."""
    if not (type(error) is NotFound or error.status_code in _REDIRECTS):
        return
    prefix = _PREFIX.match(path)
    rest = path if prefix is None else path[prefix.end() :]
    flaws: list[str] = []
    if prefix is not None:
        flaws.append(f"begins with {prefix.group()}, which request() adds itself")
    if not path.endswith("/"):
        flaws.append("does not end with /, as the paths of the API do")
    if flaws:
        likely_path = f"{rest.rstrip('/')}/"
        error.advice = f"the path {' and '.join(flaws)}: try {shown(likely_path)}"


def _undecoded(response: Response) -> Response:
    return response


def _checked_method(method: object) -> str:
    if not isinstance(method, str) or _METHOD.fullmatch(method) is None:
        raise InvalidRequest(f"a method is in capitals, such as GET, not {shown(method)}")
    if method in _FORBIDDEN_METHODS:
        raise InvalidRequest(f"{method} is about the way to a server, and no call to its API")
    return method


def _checked_path(path: object) -> str:
    if not isinstance(path, str) or not _is_plain_path(path):
        raise InvalidRequest(
            "a path starts with / and follows /api/ver1.0, without query, escapes or dots;"
            f" not {shown(path)}"
        )
    return path


def _is_plain_path(path: str) -> bool:
    segments = path.split("/")
    return (
        _PATH.fullmatch(path) is not None
        and "." not in segments
        and ".." not in segments
        and "" not in segments[1:-1]
    )


def _query(params: object) -> str:
    if params is None:
        return ""
    if not isinstance(params, Mapping):
        raise InvalidRequest(f"params is a mapping, not {shown(params)}")
    pairs = [_pair(name, value) for name, value in cast("Mapping[object, object]", params).items()]
    return f"?{urlencode(pairs)}" if pairs else ""


def _pair(name: object, value: object) -> tuple[str, str]:
    if not (isinstance(name, str) and _is_encodable(name)):
        raise InvalidRequest(f"the name of a parameter is a string, not {shown(name)}")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidRequest(f"params: {shown(name)} is a string or an integer, not {shown(value)}")
    try:
        text = str(value)
    except ValueError:
        # str() refuses integers of thousands of digits.
        text = None
    if text is None or not _is_encodable(text):
        raise InvalidRequest(f"params: {shown(name)} cannot be sent: {shown(value)}")
    return name, text


def _is_encodable(text: str) -> bool:
    """Return whether a text can be encoded as UTF-8: a lone surrogate cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _encoded(body: JSON) -> bytes:
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        flaw = one_line(str(error))
    raise InvalidRequest(f"the body is no JSON: {flaw}")
