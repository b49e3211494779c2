"""A fake RingMe for tests, in memory or on a loopback port, with limits and faults."""

from __future__ import annotations

from ringme_async._internal.public_names import publish
from ringme_async.testing import faults
from ringme_async.testing.clock import JumpingLoop
from ringme_async.testing.fake.accounts import FakeApplication, FakeTenant, FakeUser
from ringme_async.testing.fake.fake_ringme import FakeRingMe
from ringme_async.testing.fake.request_log import Journal, JournalEntry, Violation
from ringme_async.testing.fake.tokens import OAuthSettings
from ringme_async.testing.recording import NotRecorded, RecordingTransport, ReplayTransport

__all__ = [
    "FakeApplication",
    "FakeRingMe",
    "FakeTenant",
    "FakeUser",
    "Journal",
    "JournalEntry",
    "JumpingLoop",
    "NotRecorded",
    "OAuthSettings",
    "RecordingTransport",
    "ReplayTransport",
    "Violation",
    "faults",
]

publish(__name__, __all__, globals())


def __dir__() -> list[str]:
    return sorted(__all__)
