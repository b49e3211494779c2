"""A process that logs in for one tenant after the other and keeps the tokens in a file.

Run by the tests: ``python -m tests.auth.writer PATH NAME COUNT SPARE``. It says which tenant's token
is in the file, a line each; without end if COUNT is 0.
"""

from __future__ import annotations

import asyncio
import itertools
import sys

from ringme_async.auth import ClientCredentials, LoginLimit, TokenKey, TokenStore, token_file
from ringme_async.auth import token_persistence as persistence
from ringme_async.transports import Request
from tests.auth.hosts import ORIGIN, Host, endpoint_over, form_of, token_answer


def key_of(name: str) -> TokenKey:
    return TokenKey(ORIGIN, ClientCredentials(name, "s3cret"))


async def main(path: str, name: str, count: int) -> None:
    async def handle(request: Request) -> object:
        return token_answer(f"token-of-{form_of(request)['client_id']}")

    host = Host(handle)  # type: ignore[arg-type]
    endpoint = endpoint_over(host, login_limit=LoginLimit(1e6, 1000))
    store = TokenStore(path=path)
    for number in range(count) if count else itertools.count():
        tenant = f"{name}-{number}"
        # Every other login is for a tenant of all processes.
        await store.get(key_of(tenant), endpoint)
        await store.get(key_of(f"shared-{number % 10}"), endpoint)
        # Saving goes on behind the callers' backs; this one wants to know.
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})  # type: ignore[arg-type]
        print(tenant, flush=True)  # noqa: T201 - how the test hears of it
    await store.aclose()


if __name__ == "__main__":
    _, path, name, count, spare = sys.argv
    # So that the file is written anew often.
    token_file._SPARE_LINES = int(spare)
    # Whoever holds the lock may be held up for long on a busy machine.
    persistence._LOCK_TRIES = 10_000
    asyncio.run(main(path, name, int(count)))
