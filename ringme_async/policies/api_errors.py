"""Map an unsuccessful answer to its error class (API page, section 4)."""

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
from ringme_async.policies.rate_limit_headers import reset_after
from ringme_async.transports import Headers, Response

# The answers of nginx, Go and Apache to plain HTTP on a TLS port.
_TLS_PORT_ANSWER = re.compile(
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
    """Return whether the status is 2xx."""
    return 200 <= response.status < 300


def api_error_from(response: Response, *, secrets: tuple[str, ...] = ()) -> ApiError:
    """Make the error of an unsuccessful answer.

    Args:
        response: An answer outside 2xx.
        secrets: Secrets of the request, masked in the error in case the server echoes them.

    Returns:
        An error of the most specific class. A truncated or HTML body loses the API's message, never
        the class.
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
    if isinstance(error, BadRequest) and _TLS_PORT_ANSWER.search(response.body):
        error.advice = BadRequest.advice_on_tls_port
    return error


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
    code = f" ({one_line(status, 60)})" if status else ""
    said = f": {one_line(message)}" if message else ""
    where = " to another place, which is not followed" if 300 <= response.status < 400 else ""
    return f"{response.status}{phrase}{where}{code}{said}"


def _headers_without(headers: Headers, secrets: tuple[str, ...]) -> Mapping[str, str]:
    return {name: masked(value, secrets) for name, value in headers.items() if name != "set-cookie"}
