"""Ready-made observers: for ``logging`` here, for OpenTelemetry in ``.otel``."""

from __future__ import annotations

from ringme_async.observers.logs import LoggingObserver

__all__ = ["LoggingObserver"]
