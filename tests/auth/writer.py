"""A process that logs in one tenant after another and saves the tokens in a file.

Run by the tests: ``python -m tests.auth.writer PATH NAME COUNT SPARE``. It prints a line for each
tenant whose token is in the file; with COUNT 0 it never ends.
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
        # Every second login is for a tenant that all processes share.
        await store.get(key_of(tenant), endpoint)
        await store.get(key_of(f"shared-{number % 10}"), endpoint)
        # The store saves in tasks of its own, so wait for them.
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})  # type: ignore[arg-type]
        print(tenant, flush=True)  # noqa: T201 - the test reads it
    await store.aclose()


if __name__ == "__main__":
    _, path, name, count, spare = sys.argv
    # A low number makes rewrites frequent.
    token_file._SPARE_LINES = int(spare)
    # On a busy machine another process may hold the lock for long.
    persistence._LOCK_TRIES = 10_000
    asyncio.run(main(path, name, int(count)))
