"""Read every tenant of a list, each with a secret of its own, into a file of JSON lines.

Run it as ``python nightly_refresh.py tenants.csv clients.jsonl``, with ``RINGME_BASE_URL`` in the
environment. The list has the columns name, app_id and secret_from, the last of which names the
environment variable that holds the App Secret. Failures go to clients.jsonl.failed, and the tokens
are kept for the next run in tokens.jsonl beside it.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ringme_async import (
    ClientCredentials,
    Done,
    Failed,
    NotAttempted,
    RingMe,
    Tenant,
    TokenStore,
    client_to_json,
)

SIX_HOURS = 6 * 3600.0


def tenants_in(path: Path) -> Iterator[Tenant]:
    """Read the list."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            auth = ClientCredentials(row["app_id"], os.environ[row["secret_from"]])
            yield Tenant(auth=auth, name=row["name"])


async def refresh(tenants: list[Tenant], into: Path) -> int:
    """Write a line for each tenant, and return the exit code."""
    store = TokenStore(path=into.with_name("tokens.jsonl"))
    failed_into = into.with_name(into.name + ".failed")
    async with RingMe(os.environ["RINGME_BASE_URL"], tokens=store) as ringme:
        with into.open("w", encoding="utf-8") as clients, failed_into.open("w") as failures:
            async with ringme.clients.get_many(tenants, deadline=SIX_HOURS) as run:
                async for outcome in run:
                    name = outcome.who.name if isinstance(outcome.who, Tenant) else outcome.who
                    match outcome:
                        case Done(value=client):
                            record = {"tenant": name, "client": client_to_json(client)}
                            print(json.dumps(record, ensure_ascii=False), file=clients)
                        case Failed(error=error):
                            print(json.dumps({"tenant": name, "error": str(error)}), file=failures)
                        case NotAttempted(reason=reason):
                            print(json.dumps({"tenant": name, "error": reason}), file=failures)
    print(run.report.summary())
    return 0 if run.report.ok else 1


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    listed, target = map(Path, sys.argv[1:])
    # Read whole before anything is sent: a mistake in the list shows at once.
    sys.exit(asyncio.run(refresh(list(tenants_in(listed)), target)))
