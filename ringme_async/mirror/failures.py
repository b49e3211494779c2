"""What is kept of a failure: never a secret, for no error holds one."""

from __future__ import annotations

from ringme_async import JSON, ApiError, Failed, TokenError
from ringme_async.mirror.lines import Entry

__all__ = ["describe"]


def describe(failed: Failed) -> Entry:
    """Put a failure into words and numbers."""
    error = failed.error
    status_code: JSON = None
    status: JSON = None
    if isinstance(error, ApiError):
        status_code, status = error.status_code, error.status
    elif isinstance(error, TokenError):
        status_code, status = error.status_code, error.error
    return {
        "error": type(error).__name__,
        "message": str(error),
        "status_code": status_code,
        "status": status,
        "maybe_applied": error.maybe_applied,
        "attempts": failed.attempts,
    }
