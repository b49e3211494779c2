"""Reads many tenants of a stand-in, and prints results, time and memory as a line of JSON."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from ringme_async import ClientCredentials, Done, RetryPolicy, RingMe


async def main(base_url: str, tenants: int) -> None:
    seen = bytearray(tenants + 1)
    failed: dict[str, str] = {}
    mixed_up = 0
    async with (
        RingMe(
            base_url,
            auth=ClientCredentials("dealer", "hush-hush"),
            retry=RetryPolicy(base=0.01, cap=0.05),
        ) as ringme,
        ringme.clients.get_many(range(1, tenants + 1)) as run,
    ):
        async for outcome in run:
            who = int(str(outcome.who))
            seen[who] += 1
            if isinstance(outcome, Done):
                mixed_up += outcome.value.id != who
            else:
                failed[str(who)] = type(getattr(outcome, "error", outcome)).__name__
    told = {
        "once": seen.count(1),
        "mixed_up": mixed_up,
        "failed": failed,
        "complete": run.report.complete,
        "peak_kilobytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    sys.stdout.write(json.dumps(told))


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
