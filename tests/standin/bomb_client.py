"""Reads a client whose answer is a bomb, in a separate process, and prints the result."""

from __future__ import annotations

import asyncio
import json
import resource
import sys

from ringme_async.auth import BearerToken
from ringme_async.errors import RingMeError
from ringme_async.ringme import RingMe


def peak_in_mb() -> float:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def main(base_url: str, token: str) -> None:
    """Read a good client, then the bombs; print errors and how much the peak grew."""
    errors: list[str] = []
    async with RingMe(base_url, auth=BearerToken(token)) as ringme:
        await ringme.clients.get(1)
        before = peak_in_mb()
        for who in (2, 3, 4):
            try:
                await ringme.clients.get(who)
            except RingMeError as error:
                errors.append(type(error).__name__)
        await ringme.clients.get(1)
    sys.stdout.write(json.dumps({"errors": errors, "grown": peak_in_mb() - before}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
