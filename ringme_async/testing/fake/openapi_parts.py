"""The parts of the fake's OpenAPI description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ringme_async.testing.fake.client_schema import JSON, FieldSpec

_WORDS_FOR_403: Final = (
    "access_denied",
    "user_blocked",
    "user_access_type_deny",
    "app_access_type_deny",
)
_OAUTH_ERRORS: Final = (
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "invalid_scope",
    "unauthorized_client",
    "unsupported_grant_type",
)


def ref(kind: str, name: str) -> dict[str, JSON]:
    """Refer to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def schema_of(spec: FieldSpec, *, writing: bool) -> dict[str, JSON]:
    """Describe the values of a field in JSON Schema.

    Args:
        spec: The field.
        writing: Describe what a PUT may send, or what a record may hold?
    """
    types: list[JSON] = [*(spec.types[:1] if writing else spec.types)]
    schema: dict[str, JSON] = {"description": spec.meaning}
    if "integer" in types:
        schema |= {"minimum": spec.least, "maximum": spec.most, "format": "int64"}
    if "string" in types:
        schema["maxLength"] = spec.longest
        if spec.pattern is not None:
            schema["pattern"] = f"^(?:{spec.pattern})$"
    values = [*spec.choices]
    if writing and spec.listed is not None:
        values = sorted(spec.listed())
    if spec.nullable:
        types.append("null")
    if values:
        schema["enum"] = [*values, *([None] if spec.nullable else [])]
    return {"type": types if len(types) > 1 else types[0], **schema}


def _rate_headers(*, required: bool) -> dict[str, JSON]:
    counts = {
        "X-RateLimit-Limit": "How many requests an hour there may be.",
        "X-RateLimit-Remaining": "How many are left.",
        "X-RateLimit-Reset": "In how many seconds the counter is reset.",
    }
    number: JSON = {"type": "integer", "minimum": 0}
    return {
        name: {"description": meaning, "required": required, "schema": number}
        for name, meaning in counts.items()
    }


RATE_HEADERS: Final[Mapping[str, JSON]] = _rate_headers(required=True)
_CHALLENGE: Final[Mapping[str, JSON]] = {
    "WWW-Authenticate": {"schema": {"type": "string"}, "description": "RFC 9110, 11.6.1."}
}


def error_response(
    meaning: str, words: tuple[str, ...] = (), headers: Mapping[str, JSON] | None = None
) -> dict[str, JSON]:
    """Describe an error answer (API page, section 4).

    Args:
        meaning: What happened.
        words: The values of its ``status``; empty for any.
        headers: The header fields of the answer.
    """
    status: dict[str, JSON] = {"type": "string"}
    if words:
        status["enum"] = [*words]
    schema: dict[str, JSON] = {
        "type": "object",
        "properties": {"message": {"type": "string"}, "status": status},
    }
    return {
        "description": meaning,
        "headers": {**(headers or {})},
        "content": {"application/json": {"schema": schema}},
    }


ERRORS: Final[Mapping[str, JSON]] = {
    "BadRequest": error_response("A parameter is wrong.", headers=RATE_HEADERS),
    "Unauthorized": error_response(
        "There is no token, or it has expired or is wrong.",
        headers={**RATE_HEADERS, **_CHALLENGE},
    ),
    "Forbidden": error_response(
        "The user, the client or the application may not do this.",
        _WORDS_FOR_403,
        RATE_HEADERS,
    ),
    "NotFound": error_response(
        "There is no client with this id.", ("client_not_found",), RATE_HEADERS
    ),
    "NotAcceptable": error_response("The request does not accept gzip.", headers=RATE_HEADERS),
    # The 429 for a request in flight has no limit headers.
    "TooManyRequests": error_response(
        "The hourly limit is used up; or, without a status, a request like this is running.",
        ("rate_limit_exceeded",),
        _rate_headers(required=False),
    ),
    "Failed": {"description": "The server failed, or a proxy before it; the body may be anything."},
}
TOKEN_ERRORS: Final[Mapping[str, JSON]] = {
    "TokenRefused": {
        "description": "The login is refused (RFC 6749, section 5.2).",
        "headers": {**_CHALLENGE},
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {
                        "error": {"type": "string", "enum": [*_OAUTH_ERRORS]},
                        "error_description": {"type": "string"},
                    },
                }
            }
        },
    }
}


def _form(grant: str, *needed: str) -> dict[str, JSON]:
    text: JSON = {"type": "string", "minLength": 1}
    return {
        "type": "object",
        "required": ["grant_type", *needed],
        "properties": {
            "grant_type": {"type": "string", "const": grant},
            "client_id": {"description": "The App ID.", "type": "string", "minLength": 1},
            "client_secret": {"description": "The App Secret.", "type": "string"},
            **dict.fromkeys(needed, text),
            "scope": {"type": "string", "enum": ["all"]},
        },
    }


TOKEN_FORMS: Final[Mapping[str, JSON]] = {
    "ClientCredentialsForm": _form("client_credentials"),
    "PasswordForm": _form("password", "username", "password"),
    "CodeForm": _form("authorization_code", "code", "redirect_uri"),
    "RefreshForm": _form("refresh_token", "refresh_token"),
}


def token_schema() -> dict[str, JSON]:
    """Describe the answer to a login (RFC 6749, section 5.1)."""
    return {
        "type": "object",
        "required": ["access_token", "token_type"],
        "properties": {
            "access_token": {"type": "string", "minLength": 1},
            "token_type": {"type": "string", "pattern": "^[Bb][Ee][Aa][Rr][Ee][Rr]$"},
            "expires_in": {"type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]+$"},
            "refresh_token": {"type": "string", "minLength": 1},
        },
    }
