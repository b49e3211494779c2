"""Read one client and print it.

Run it as ``python read_one.py [CLIENT_ID]``, with ``RINGME_BASE_URL``, ``RINGME_APP_ID`` and
``RINGME_APP_SECRET`` in the environment. Without an id it reads the client that they belong to.
"""

from __future__ import annotations

import asyncio
import sys

from ringme_async import RingMe, RingMeError


async def main(client_id: str) -> int:
    """Print the client, and return the exit code."""
    async with RingMe.from_env(timeout=20) as ringme:
        try:
            client = await ringme.clients.get(client_id)
        except RingMeError as error:
            print(error, file=sys.stderr)
            return 1
    print(f"{client.id} {client.name}, {client.timezone}")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "@me")))
