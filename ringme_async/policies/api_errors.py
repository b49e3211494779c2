"""Which error an answer is, by its code, its words and its headers (API page, section 4)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http import HTTPStatus

from ringme_async._internal.redaction import masked, masked_bytes
from ringme_async.errors import (
    AccessDenied,
    ApiError,
    AppAccessTypeDenied,
    BadRequest,
    Busy,
    ClientNotFound,
    Forbidden,
    NotFound,
    RateLimited,
    ServerError,
    Unauthorized,
    UserAccessTypeDenied,
    UserBlocked,
    one_line,
)
from ringme_async.transports import Headers, Response

RESET_UNSTATED = 60.0
_LONGEST_RESET = 86_400.0
# What nginx, Go and Apache answer to a plain request on a port that speaks TLS.
_OF_A_TLS_PORT = re.compile(
    rb"plain HTTP request was sent to HTTPS port|HTTP request to an HTTPS server"
    rb"|plain HTTP to an SSL-enabled server port"
)

_FORBIDDEN: Mapping[str, type[Forbidden]] = {
    "access_denied": AccessDenied,
    "user_blocked": UserBlocked,
    "user_access_type_deny": UserAccessTypeDenied,
    "app_access_type_deny": AppAccessTypeDenied,
}


def is_success(response: Response) -> bool:
    """Is this one of the answers that carry what was asked for?"""
    return 200 <= response.status < 300


def api_error_from(response: Response, *, secrets: tuple[str, ...] = ()) -> ApiError:
    """Make the error that an unsuccessful answer is.

    Args:
        response: An answer outside 2xx.
        secrets: What was sent with the request and must not come back in the error, should the
            server echo it.

    Returns:
        An instance of the most specific class of error, not yet raised. HTML, half or no bodies
        lose the API's words, never the class.
    """
    status, message = _status_and_message(response.body)
    kind = _class_of(response, status)
    status = None if status is None else masked(status, secrets)
    message = None if message is None else masked(message, secrets)
    body = masked_bytes(response.body, secrets)
    headers = _headers_without(response.headers, secrets)
    text = _describe(response, status, message)
    if kind is RateLimited:
        return RateLimited(
            text,
            reset_after=reset_after(response.headers),
            status_code=response.status,
            status=status,
            api_message=message,
            headers=headers,
            body=body,
        )
    error = kind(
        text,
        status_code=response.status,
        status=status,
        api_message=message,
        headers=headers,
        body=body,
    )
    if isinstance(error, BadRequest) and _OF_A_TLS_PORT.search(response.body):
        error.advice = BadRequest.advice_on_tls_port
    return error


def reset_after(headers: Mapping[str, str]) -> float:
    """Seconds until the counter is reset, by ``X-RateLimit-Reset`` (API page, section 3).

    Returns:
        The header's value; 60 where it is missing or no whole number from 0 to a day.
    """
    text = headers.get("x-ratelimit-reset", "").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        return RESET_UNSTATED
    seconds = float(text)
    return seconds if seconds <= _LONGEST_RESET else RESET_UNSTATED


def _class_of(response: Response, status: str | None) -> type[ApiError]:
    match response.status:
        case 400:
            return BadRequest
        case 401:
            return Unauthorized
        case 403:
            return _FORBIDDEN.get(status or "", Forbidden)
        case 404:
            return ClientNotFound if status == "client_not_found" else NotFound
        case 429:
            used_up = response.headers.get("x-ratelimit-remaining", "").strip() == "0"
            return RateLimited if status == "rate_limit_exceeded" or used_up else Busy
        case code if code >= 500:
            return ServerError
        case _:
            return ApiError


def _status_and_message(body: bytes) -> tuple[str | None, str | None]:
    try:
        answer: object = json.loads(body)
    except (ValueError, RecursionError):
        return None, None
    match answer:
        case {"status": str(status), "message": str(message)}:
            return status, message
        case {"status": str(status)}:
            return status, None
        case {"message": str(message)}:
            return None, message
        case _:
            return None, None


def _describe(response: Response, status: str | None, message: str | None) -> str:
    try:
        phrase = f" {HTTPStatus(response.status).phrase}"
    except ValueError:
        phrase = ""
    word = f" ({one_line(status, 60)})" if status else ""
    said = f": {one_line(message)}" if message else ""
    where = " to another place, which is not followed" if 300 <= response.status < 400 else ""
    return f"{response.status}{phrase}{where}{word}{said}"


def _headers_without(headers: Headers, secrets: tuple[str, ...]) -> Mapping[str, str]:
    return {name: masked(value, secrets) for name, value in headers.items() if name != "set-cookie"}
