"""The fake's time for one GET, in units of json.dumps of the record.

``python -m benchmarks.fake`` prints the ratio, the best of many rounds, and fails above 12.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from timeit import Timer

from ringme_async import Headers, Request
from ringme_async.testing import FakeRingMe

MOST = 12.0
CALLS = 500
ROUNDS = 30


def best(what: Callable[[], object], calls: int) -> float:
    """Return the seconds of one call in the fastest round."""
    return min(Timer(what).repeat(ROUNDS, calls)) / calls


def main() -> int:
    """Measure both in turns, and compare."""
    fake = FakeRingMe(ceiling=10**9)
    fake.add_tenants(1_000)
    token = fake.issue_token(fake.add_dealer(ceiling=10**9))
    fields = Headers({"accept-encoding": "gzip", "authorization": f"Bearer {token}"})
    url = f"{fake.base_url}/api/ver1.0/client"
    requests = [Request("GET", f"{url}/{id}/client/", fields) for id in range(1, CALLS + 1)]
    record = dict(fake.records[12])

    async def ask() -> None:
        for request in requests:
            await fake(request)

    with asyncio.Runner() as runner:
        runner.run(ask())
        get = best(lambda: runner.run(ask()), 1) / CALLS
    dumps = best(lambda: json.dumps(record), CALLS)
    fake.assert_quiet()
    ratio = get / dumps
    print(
        f"GET {get * 1e6:.1f} us, json.dumps {dumps * 1e6:.1f} us: {ratio:.1f} x (most: {MOST:g} x)"
    )
    return 0 if ratio <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
