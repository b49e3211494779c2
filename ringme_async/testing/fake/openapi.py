"""The fake's OpenAPI 3.1 description, made from the fields that the fake checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from attrs import frozen

from ringme_async.testing.fake.client_schema import EXAMPLE, FIELDS, JSON, LATER_DEFAULTS
from ringme_async.testing.fake.exchange import API_ROOT
from ringme_async.testing.fake.openapi_parts import (
    ERRORS,
    RATE_HEADERS,
    TOKEN_ERRORS,
    TOKEN_FORMS,
    error_response,
    ref,
    schema_of,
    token_schema,
)

_PATHS: Final = {
    "Client": f"{API_ROOT}/client/{{client_id}}/client/",
    "ClientInfo": f"{API_ROOT}/client/client_info/{{client_id}}/",
}
_CODES: Final = {"400": "BadRequest", "401": "Unauthorized", "403": "Forbidden"} | {
    "404": "NotFound",
    "406": "NotAcceptable",
    "429": "TooManyRequests",
    "5XX": "Failed",
}


@frozen
class Description:
    """The OpenAPI description under some of the fake's settings.

    Args:
        later_revision: Do records have the four fields of the page's later revision?
        require_gzip: Is a request refused that does not accept gzip?
    """

    later_revision: bool
    require_gzip: bool

    def at(self, base_url: str) -> dict[str, JSON]:
        """Describe the API at a URL.

        Args:
            base_url: Scheme, host and port.
        """
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "RingMe",
                "version": "1.0",
                "summary": "Clients of the RingMe hosted PBX, as ringme_async's fake serves them.",
                "description": (
                    "Every answer tells of the hourly limit. Accept-Encoding: gzip is mandatory;"
                    " a browser sends it by itself."
                ),
                "license": {"name": "MIT", "identifier": "MIT"},
            },
            "servers": [{"url": base_url}],
            "tags": [{"name": "clients"}, {"name": "tokens"}],
            "security": [{"oauth": ["all"]}, {"token": []}],
            "paths": {
                **{path: self._resource(name) for name, path in _PATHS.items()},
                "/oauth/token": self._token(),
            },
            "components": {
                "securitySchemes": _security(base_url),
                "parameters": {
                    "ClientId": {**_CLIENT_ID},
                    "AcceptEncoding": _accept_encoding(self.require_gzip),
                },
                "responses": {**ERRORS, **TOKEN_ERRORS},
                "schemas": {**self._schemas(), **TOKEN_FORMS, "Token": token_schema()},
            },
        }

    def _schemas(self) -> dict[str, JSON]:
        specs = [spec for spec in FIELDS.values() if self.later_revision or not spec.later]
        read: dict[str, JSON] = {spec.name: schema_of(spec, writing=False) for spec in specs}
        written: dict[str, JSON] = {
            spec.name: schema_of(spec, writing=True) for spec in specs if spec.writable
        }
        example = {**EXAMPLE, **(LATER_DEFAULTS if self.later_revision else {})}
        return {
            "Client": {
                "type": "object",
                "description": "One client. A newer server may send more fields.",
                "required": [*read],
                "properties": read,
                "examples": [example],
            },
            "ClientUpdate": {
                "type": "object",
                "description": "What is left out stays as it is, null clears.",
                "properties": written,
                "additionalProperties": False,
                "examples": [{"timezone": "Asia/Omsk", "hold_music": None}],
            },
        }

    def _resource(self, name: str) -> dict[str, JSON]:
        answer: JSON = {
            "description": "The whole record as it is now.",
            "headers": {**RATE_HEADERS},
            "content": {"application/json": {"schema": ref("schemas", "Client")}},
        }
        return {
            "parameters": [ref("parameters", "ClientId"), ref("parameters", "AcceptEncoding")],
            "get": {
                "operationId": f"read{name}",
                "summary": "Read a client",
                "tags": ["clients"],
                "responses": {"200": answer, **_refusals(_CODES.keys() - {"400"})},
            },
            "put": {
                "operationId": f"change{name}",
                "summary": "Change settings of a client",
                "tags": ["clients"],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": ref("schemas", "ClientUpdate")}},
                },
                "responses": {"200": answer, **_refusals(_CODES)},
            },
        }

    def _token(self) -> dict[str, JSON]:
        forms: list[JSON] = [ref("schemas", name) for name in TOKEN_FORMS]
        form: JSON = {"schema": {"type": "object", "oneOf": forms}}
        return {
            "post": {
                "operationId": "getToken",
                "summary": "Log in",
                "description": (
                    "The App ID and Secret may be in the form, or in an Authorization header of"
                    " the scheme Basic. At most 20 requests a second, 6 at once."
                ),
                "tags": ["tokens"],
                "security": [],
                "parameters": [ref("parameters", "AcceptEncoding")],
                "requestBody": {
                    "required": True,
                    "content": {"application/x-www-form-urlencoded": form},
                },
                "responses": {
                    "200": {
                        "description": "A token.",
                        "content": {"application/json": {"schema": ref("schemas", "Token")}},
                    },
                    "400": ref("responses", "TokenRefused"),
                    "401": ref("responses", "TokenRefused"),
                    "406": error_response("The request does not accept gzip."),
                    "429": error_response("Too many logins at once, or in one second."),
                    "5XX": ref("responses", "Failed"),
                },
            }
        }


_CLIENT_ID: Final[Mapping[str, JSON]] = {
    "name": "client_id",
    "in": "path",
    "required": True,
    "description": "A number, or @me: the client that the token belongs to.",
    "schema": {"type": "string", "pattern": "^(?:@me|[0-9]+)$", "maxLength": 19},
    "example": "@me",
}


def _accept_encoding(required: bool) -> dict[str, JSON]:
    return {
        "name": "Accept-Encoding",
        "in": "header",
        "required": required,
        "description": "Has to name gzip.",
        "schema": {"type": "string", "enum": ["gzip"]},
        "example": "gzip",
    }


def _refusals(codes: Iterable[str]) -> dict[str, JSON]:
    return {code: ref("responses", _CODES[code]) for code in sorted(codes)}


def _security(base_url: str) -> dict[str, JSON]:
    token_url = f"{base_url}/oauth/token"
    scopes: JSON = {"all": "Everything that the application may do."}
    return {
        "oauth": {
            "type": "oauth2",
            "description": "By the kind of the application: trusted, password_credentials, public.",
            "flows": {
                "clientCredentials": {"tokenUrl": token_url, "scopes": scopes},
                "password": {"tokenUrl": token_url, "scopes": scopes},
                "authorizationCode": {
                    "authorizationUrl": f"{base_url}/oauth/authorize",
                    "tokenUrl": token_url,
                    "refreshUrl": token_url,
                    "scopes": scopes,
                },
            },
        },
        "token": {"type": "http", "scheme": "bearer", "description": "A token that you have."},
    }
