"""Names and values of OpenTelemetry's semantic conventions for HTTP clients."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from attrs import frozen

__all__ = ["BUCKETS", "SCHEMA_URL", "Target", "method_of", "template_of"]

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.38.0"

# Seconds, as the conventions advise them for http.client.request.duration.
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

_METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
)
_PORTS = {"http": 80, "https": 443}


def method_of(method: str) -> str:
    """Return a method as the conventions spell it: one of nine, or ``_OTHER``."""
    return method if method in _METHODS else "_OTHER"


@frozen
class Target:
    """The target of a request.

    Attributes:
        address: The host's name.
        port: Its port, explicit or the scheme's default.
        template: The URL's path with a placeholder for the client's id; None without an id.
    """

    address: str
    port: int
    template: str | None

    @classmethod
    def of(cls, url: str, client_id: str | None) -> Target:
        """Parse a URL."""
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
        return cls(parts.hostname or "", port, template_of(parts.path, client_id))

    @property
    def server(self) -> dict[str, str | int]:
        """The attributes that identify the server."""
        return {"server.address": self.address, "server.port": self.port}


def template_of(path: str, client_id: str | None) -> str | None:
    """Replace the client's id in a path, so that spans of all clients share one name."""
    if client_id is None:
        return None
    segments = ("{client_id}" if part == client_id else part for part in path.split("/"))
    return "/".join(segments)
