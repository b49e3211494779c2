"""Ready-made observers: for ``logging`` here, for OpenTelemetry in ``.otel``."""

from __future__ import annotations

from ringme_async.observers.logs import LoggingObserver

__all__ = ["LoggingObserver"]


# Tracebacks and documentation name the module that users import it from.
LoggingObserver.__module__ = __name__


def __dir__() -> list[str]:
    return sorted(__all__)
