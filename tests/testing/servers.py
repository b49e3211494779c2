"""Three RingMes with the same tenants: the fake, in memory and on a socket, and the stand-in."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from attrs import field, frozen

from ringme_async.testing import FakeRingMe
from ringme_async.transports import Headers, Request, Response, Transport
from ringme_async.transports.aiohttp import AiohttpTransport
from ringme_async.transports.memory import InMemoryTransport
from tests.standin import start_standin
from tests.testing.test_records import EXAMPLE

TENANTS = range(1, 7)
BLOCKED = 4
APPLICATIONS: list[dict[str, Any]] = [
    {"app_id": "own", "secret": "s-own", "tenant": 1, "ceiling": 8},
    {"app_id": "low", "secret": "s-low", "tenant": 1, "ceiling": 3},
    {"app_id": "two", "secret": "s-two", "tenant": 2, "ceiling": 1000},
    {"app_id": "read", "secret": "s-read", "tenant": 3, "access": "read", "ceiling": 1000},
    {"app_id": "none", "secret": "s-none", "tenant": 3, "access": "none", "ceiling": 1000},
    {"app_id": "blocked", "secret": "s-blocked", "tenant": BLOCKED, "ceiling": 1000},
    {"app_id": "dealer", "secret": "s-dealer", "tenant": 6, "reach": {}, "ceiling": 1000},
    {
        "app_id": "users",
        "secret": "s-users",
        "tenant": 5,
        "kind": "password",
        "ceiling": 1000,
        "users": {
            "ann": {"password": "p"},
            "bob": {"password": "p", "access": "read"},
            "cid": {"password": "p", "blocked": True},
        },
    },
]


@frozen(eq=False)
class Side:
    """One of the servers, with its own tokens."""

    transport: Transport
    url: str
    revoke: Callable[[str], Awaitable[object]]
    new_hour: Callable[[], Awaitable[object]]
    tokens: dict[str, str] = field(factory=dict)

    async def send(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b""
    ) -> Response:
        fields = Headers({"accept-encoding": "gzip", **headers})
        return await self.transport.send(Request(method, f"{self.url}{path}", fields, body))

    async def token(self, name: str) -> str:
        if name not in self.tokens:
            answer = await self.send("POST", "/oauth/token", FORM, login_of(name))
            assert answer.status == 200, answer.body
            self.tokens[name] = json.loads(answer.body)["access_token"]
        return self.tokens[name]


FORM = {"content-type": "application/x-www-form-urlencoded"}
USERS = ["ann", "bob", "cid"]
NAMES = ["own", "low", "two", "read", "none", "blocked", "dealer", *USERS]


def form_of(name: str) -> dict[str, str]:
    if name in USERS:
        user = {"username": name, "password": "p"}
        return {"grant_type": "password", "client_id": "users", "client_secret": "s-users", **user}
    app = {"client_id": name, "client_secret": f"s-{name}"}
    return {"grant_type": "client_credentials", **app, "scope": "all"}


def login_of(name: str) -> bytes:
    return urlencode(form_of(name)).encode()


def a_fake() -> FakeRingMe:
    fake = FakeRingMe()
    fake.oauth.per_second = 10_000
    fake.add_tenants(
        {
            **EXAMPLE,
            "id": number,
            "name": f"tenant_{number}",
            "prefix": f"{number:04}",
            "domain_prefix": f"{number:05}",
        }
        for number in TENANTS
    )
    fake.block(BLOCKED)
    for each in APPLICATIONS:
        if "reach" in each:
            continue
        fake.add_application(
            each["app_id"],
            each["secret"],
            kind="password_credentials" if "users" in each else "trusted",
            tenant=each["tenant"],
            ceiling=each["ceiling"],
            access=each.get("access", "full"),
        )
    dealer = fake.add_dealer("dealer", "s-dealer", ceiling=1000)
    dealer.tenant = fake.tenant(6)
    for name, user in APPLICATIONS[-1]["users"].items():
        fake.add_user(
            name,
            user["password"],
            5,
            blocked=user.get("blocked", False),
            access=user.get("access", "full"),
        )
    return fake


@asynccontextmanager
async def in_memory() -> AsyncIterator[Side]:
    """The fake in memory, as a user's tests call it."""
    fake = a_fake()
    yield side_of(fake, InMemoryTransport(fake), fake.base_url)
    assert fake.in_flight == 0


@asynccontextmanager
async def on_loopback() -> AsyncIterator[Side]:
    """The fake on a socket."""
    fake = a_fake()
    async with fake.serve() as url, sending() as transport:
        yield side_of(fake, transport, url)
        assert fake.in_flight == 0


@asynccontextmanager
async def standing_in() -> AsyncIterator[Side]:
    """The stand-in, which shares no code with the fake."""
    config = {
        "tenants": {"range": [TENANTS[0], TENANTS[-1]]},
        "blocked": [BLOCKED],
        "applications": APPLICATIONS,
        "login_per_second": None,
    }
    async with start_standin(config) as standin, sending() as transport:
        yield Side(
            transport,
            standin.base_url,
            lambda name: standin.do("revoke_tokens", app=name),
            lambda: standin.do("reset_quota"),
        )


SERVERS = {"memory": in_memory, "loopback": on_loopback, "standin": standing_in}


@asynccontextmanager
async def sending() -> AsyncIterator[Transport]:
    transport = AiohttpTransport()
    try:
        yield transport
    finally:
        await transport.aclose()


def side_of(fake: FakeRingMe, transport: Transport, url: str) -> Side:
    async def revoke(name: str) -> None:
        fake.revoke_tokens(name)

    async def new_hour() -> None:
        fake._rate_limits._counters.clear()

    return Side(transport, url, revoke, new_hour)
