"""Read many tenants into JSON lines or a database, apply plans, and resume after ``kill -9``."""

from __future__ import annotations

from ringme_async._internal.public_names import publish
from ringme_async.mirror.apply import ApplyReport, apply_plan
from ringme_async.mirror.errors import OutputError, OutputInUse
from ringme_async.mirror.failures import FailureKind
from ringme_async.mirror.json_column import decode_json
from ringme_async.mirror.jsonl_sink import Journal
from ringme_async.mirror.keys import key_of
from ringme_async.mirror.refresh import RefreshReport, refresh
from ringme_async.mirror.sink import Session, Sink
from ringme_async.mirror.sql_sink import Mirror, sink_for

__all__ = [
    "ApplyReport",
    "FailureKind",
    "Journal",
    "Mirror",
    "OutputError",
    "OutputInUse",
    "RefreshReport",
    "Session",
    "Sink",
    "apply_plan",
    "decode_json",
    "key_of",
    "refresh",
    "sink_for",
]

publish(__name__, __all__, globals())


def __dir__() -> list[str]:
    return sorted(__all__)
