"""Shared parts of the tests of the SDK against the stand-in."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ringme_async.auth import Auth, ClientCredentials
from ringme_async.errors import RingMeError
from ringme_async.policies.retry import RetryPolicy
from ringme_async.ringme import RingMe
from tests.leaping import HOUR, MINUTE, leap

from .client import RunningStandIn, start_standin

Json = dict[str, Any]
DEALER: Json = {"app_id": "dealer", "secret": "hush-hush", "tenant": 1, "reach": {}}
AUTH = ClientCredentials("dealer", "hush-hush")
QUICK = RetryPolicy(base=0.01, cap=0.05)


@asynccontextmanager
async def guarded(config: Json | None = None) -> AsyncIterator[RunningStandIn]:
    """A stand-in at which the block must break no rule of the API page."""
    async with start_standin({"applications": [DEALER], **(config or {})}) as server:
        yield server
        books = await server.books(tenants="failed")
        assert books["violations"] == {}, books["first_violations"]
        assert books["other_host"]["requests"] == 0, books["other_host"]["heads"]


def sdk(server: RunningStandIn, auth: Auth | None = AUTH, **given: Any) -> RingMe:
    """The SDK with quicker retries, and longer timeouts for a busy machine."""
    return RingMe(server.base_url, auth=auth, **{"retry": QUICK, "timeout": 5 * MINUTE, **given})


async def trouble(server: RunningStandIn, *rules: Json, **faults: Any) -> None:
    """Set the faults from now on, and start new books."""
    await server.do("set_rules", rules=list(rules))
    await server.do("set_faults", **faults)
    await server.do("reset_books")


async def an_hour_later(server: RunningStandIn) -> None:
    """Let an hour pass at the server and, with a second for the server's rounding, here."""
    await server.do("let_pass", seconds=HOUR)
    leap(HOUR + 1)


def assert_tells_no_secret(error: RingMeError, *more: str) -> None:
    """No text or attribute of an error holds a credential."""
    told = [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
    told.append(pickle.dumps(error).decode("latin-1"))
    for secret in ("hush-hush", "Bearer tk", *more):
        assert not any(secret in text for text in told), f"{secret} in {error!r}"
