"""A run that waits to be interrupted."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from ringme_async.bulk import BulkRun
from tests.bulk.scripted_job import World, scripted


async def main() -> None:
    async with BulkRun(range(1000), scripted(World(), lambda _: [30.0])) as run:
        sys.stdout.write("running\n")
        sys.stdout.flush()
        async for _ in run:
            pass


asyncio.run(main())
