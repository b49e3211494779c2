"""Set the time zone of some clients, after showing what would change.

Run it as ``python change_zones.py Asia/Omsk 1 2 3`` to look, and with ``--apply`` at the end to do it.
Host and credentials come from the environment, as in read_one.py.
"""

from __future__ import annotations

import asyncio
import sys

from ringme_async import ClientUpdate, Done, Failed, RingMe


async def main(zone: str, client_ids: list[str], *, apply: bool) -> int:
    """Plan, show, and apply if told to; return the exit code."""
    wish = ClientUpdate(timezone=zone)
    async with RingMe.from_env() as ringme:
        plan = await ringme.clients.plan([(client_id, wish) for client_id in client_ids])
        print(plan)
        if plan.failures:
            return 1
        if not apply:
            return 0
        async with plan.apply() as run:
            async for outcome in run:
                match outcome:
                    case Done(value=applied):
                        print(f"client {applied.client.id}: done")
                    case Failed(error=error):
                        again = ", read it again before you decide" if error.maybe_applied else ""
                        print(f"{error}{again}")
                    case _:
                        print(f"client {outcome.who}: not attempted")
    return 0 if run.report.ok else 1


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--apply"]
    if len(arguments) < 2:
        sys.exit(__doc__)
    told = "--apply" in sys.argv
    sys.exit(asyncio.run(main(arguments[0], arguments[1:], apply=told)))
