"""Tell structlog what the SDK does, as one line of JSON for each thing that matters.

Run it as ``python structured_logs.py``; it needs structlog. Host and credentials come from the
environment, as in read_one.py.
"""

from __future__ import annotations

import asyncio

import attrs
import structlog

from ringme_async import (
    CallEnded,
    Event,
    Parked,
    RetryScheduled,
    RingMe,
    TokenFetched,
    Woken,
)

structlog.configure(processors=[structlog.processors.JSONRenderer(sort_keys=True)])
log = structlog.get_logger()

TOLD = {
    RetryScheduled: "retry",
    TokenFetched: "login",
    Parked: "parked",
    Woken: "woken",
    CallEnded: "call",
}


def tell(event: Event) -> None:
    """Log what matters of an event; no event holds a secret."""
    name = TOLD.get(type(event))
    if name is not None:
        log.info(name, **attrs.asdict(event))


async def main() -> None:
    """Read one client, with the log on."""
    async with RingMe.from_env(observers=[tell]) as ringme:
        await ringme.clients.get("@me")


if __name__ == "__main__":
    asyncio.run(main())
