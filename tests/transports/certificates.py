"""Certificates of a company's own CA, made for the occasion."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

import trustme

OURS = trustme.CA()
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def of_server(*names: str, not_after: datetime | None = None) -> ssl.SSLContext:
    """Make the TLS context of a server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    OURS.issue_cert(*names, not_after=not_after).configure_cert(context)
    return context


def of_client() -> ssl.SSLContext:
    """Make the TLS context of a client that trusts only this CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    OURS.configure_trust(context)
    return context
