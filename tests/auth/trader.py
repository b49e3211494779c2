"""A program that makes calls with a refresh token until a test stops it.

Run as ``python -m tests.auth.trader URL PATH HOW COUNT``. HOW is ``with`` for a RingMe that is
closed, ``bare`` for one that is not, or ``hasty`` for one whose call has a short timeout. It prints
``leaving`` when it is stopped, and ``done`` after its COUNT calls.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress

from ringme_async import (
    DeadlineExceeded,
    RefreshToken,
    RingMe,
    TokenError,
    TokenStore,
    Unauthorized,
)


def say(word: str) -> None:
    print(word, flush=True)  # noqa: T201 - the test reads it


async def calls(ringme: RingMe, count: int, seconds: float) -> None:
    try:
        for _ in range(count):
            # Another program's trade-in may have ended the access token.
            with suppress(Unauthorized):
                await ringme.request("GET", "/x/", timeout=seconds)
        say("done")
    except TokenError:
        say("refused")
    except (asyncio.CancelledError, DeadlineExceeded):
        say("leaving")
        raise


async def main(url: str, path: str, how: str, count: int) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    ringme = RingMe(url, auth=RefreshToken("app", "s3cret", "r-0"), tokens=TokenStore(path=path))
    if how == "bare":
        await calls(ringme, count, 60.0)
    async with ringme:
        await calls(ringme, count, 0.5 if how == "hasty" else 60.0)


if __name__ == "__main__":
    _, url, path, how, count = sys.argv
    asyncio.run(main(url, path, how, int(count)))
