"""The fake and a server that was written without it give the same answers, call by call."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from attrs import field, frozen

from ringme_async.testing import FakeRingMe
from ringme_async.transports import Headers, Request, Response, Transport
from ringme_async.transports.aiohttp import AiohttpTransport
from ringme_async.transports.memory import InMemoryTransport
from tests.standin import RunningStandIn, start_standin
from tests.testing.reach import ROOT
from tests.testing.test_records import EXAMPLE

TENANTS = range(1, 7)
BLOCKED = 4
APPLICATIONS: list[dict[str, Any]] = [
    {"app_id": "own", "secret": "s-own", "tenant": 1, "ceiling": 40},
    {"app_id": "low", "secret": "s-low", "tenant": 1, "ceiling": 10},
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
VALUES: dict[str, list[Any]] = {
    "dial_rule_id": [None, 0, 7, 2**63 - 1, 2**63, -1, "7", True, 7.5, [7]],
    "hold_music": [None, 1, "x", {}],
    "sip_network_permission_id": [None, 5, False],
    "disk_space_notify_threshold": [None, 0, 100, 101, -1, "50", 50.5],
    "disk_space_notify_email": [None, "a@example.com", "nobody", 5, ""],
    "geo_list": [None, "*", "RU", "RU US BY", "RU  US", "Russia", "ru", "", "* RU", 7],
    "timezone": [None, "Asia/Omsk", "Europe/Moscow", "UTC", "Mars/Olympus", "", 3],
    "name": ["other", None],
    "id": [1],
    "colour": ["red"],
    "call_interactive_timeout": [5],
}
WHO = ["@me", "1", "2", "3", "4", "5", "6", "7", "0", "012", "abc", "%40me", "9" * 30, "1%2f2"]
ODD_BODIES = [b"", b"[]", b"null", b"{", b'"x"', b"\xff", b"{}", b'{"a":1,"a":2}']
KINDS = ["application/json", "application/json; charset=utf-8", "text/plain", None]
ODD_PATHS = [
    "/client/1/client",
    "/client/client_info/1",
    "/client/1/",
    "/clients/1/client/",
    "/client/client_info/client/",
    "/",
]


@frozen(eq=False)
class Side:
    """One of the two servers, with its own tokens."""

    transport: Transport
    url: str
    revoke: Callable[[str], Awaitable[object]]
    tokens: dict[str, str] = field(factory=dict)

    async def send(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b""
    ) -> Response:
        fields = Headers({"accept-encoding": "gzip", **headers})
        return await self.transport.send(Request(method, f"{self.url}{path}", fields, body))

    async def token(self, name: str) -> str:
        if name not in self.tokens:
            answer = await self.send("POST", "/oauth/token", FORM, login_of(name).encode())
            assert answer.status == 200, answer.body
            self.tokens[name] = json.loads(answer.body)["access_token"]
        return self.tokens[name]


FORM = {"content-type": "application/x-www-form-urlencoded"}
NAMES = ["own", "low", "two", "read", "none", "blocked", "dealer", "ann", "bob", "cid"]


def login_of(name: str) -> str:
    if name in {"ann", "bob", "cid"}:
        who = f"&username={name}&password=p"
        return f"grant_type=password&client_id=users&client_secret=s-users{who}"
    return f"grant_type=client_credentials&client_id={name}&client_secret=s-{name}&scope=all"


def seen(answer: Response) -> dict[str, Any]:
    """What of an answer has to be the same."""
    told: Any = json.loads(answer.body)
    if answer.status != 200:
        word = told.get("status")
        told = (bool(told.get("message")), word if answer.status != 400 else bool(word))
    return {
        "status": answer.status,
        "limit": answer.headers.get("x-ratelimit-limit"),
        "remaining": answer.headers.get("x-ratelimit-remaining"),
        "kind": answer.headers.get("content-type"),
        "told": told,
    }


def a_body(lot: Random) -> bytes:
    if lot.random() < 0.1:
        return lot.choice(ODD_BODIES)
    names = lot.sample(sorted(VALUES), lot.choice([1, 1, 1, 2, 3]))
    return json.dumps({name: lot.choice(VALUES[name]) for name in names}).encode()


def a_call(lot: Random) -> tuple[str, str, dict[str, str], bytes]:
    method = lot.choice(["GET", "GET", "PUT", "PUT", "PUT", "PUT", "DELETE", "POST"])
    who = lot.choice(WHO)
    path = lot.choice([f"/client/{who}/client/", f"/client/client_info/{who}/"])
    if lot.random() < 0.05:
        path = lot.choice(ODD_PATHS)
    if method != "PUT":
        return method, f"{ROOT}{path}", {}, b""
    kind = lot.choice(KINDS) if lot.random() < 0.1 else KINDS[0]
    headers = {} if kind is None else {"content-type": kind}
    return method, f"{ROOT}{path}", headers, a_body(lot)


async def one_step(lot: Random, sides: list[Side]) -> tuple[str, list[dict[str, Any]]]:
    name = lot.choice(NAMES)
    method, path, headers, body = a_call(lot)
    if lot.random() < 0.02:
        for side in sides:
            await side.revoke(
                name if name in {each["app_id"] for each in APPLICATIONS} else "users"
            )
    if lot.random() < 0.03:
        headers = {**headers, "authorization": lot.choice(["Bearer no", "no", "Basic YTpi"])}
        name = ""
    answers: list[dict[str, Any]] = []
    for side in sides:
        sent = headers
        if name:
            sent = {"authorization": f"Bearer {await side.token(name)}", **headers}
        answers.append(seen(await side.send(method, path, sent, body)))
    if answers[0]["status"] == 401 and name:
        for side in sides:
            del side.tokens[name]
    return f"{name} {method} {path} {body!r} {headers}", answers


def told_apart(answers: list[dict[str, Any]]) -> bool:
    """Do the answers differ in more than what the page leaves open?

    That is whose counter an answer shows where nobody knows who asked, and which of two reasons
    comes first where a client is both blocked and somebody else's.
    """
    if None in {answer["limit"] for answer in answers}:
        answers = [{**answer, "limit": None, "remaining": None} for answer in answers]
    if answers[0] == answers[1]:
        return False
    reasons = {answer["told"][-1] for answer in answers if answer["status"] == 403}
    return reasons != {"access_denied", "user_blocked"}


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
async def both(way: str) -> AsyncIterator[tuple[FakeRingMe, list[Side]]]:
    fake = a_fake()
    config = {
        "tenants": {"range": [TENANTS[0], TENANTS[-1]]},
        "blocked": [BLOCKED],
        "applications": APPLICATIONS,
        "login_per_second": None,
    }
    transport = AiohttpTransport()

    async def revoke_here(name: str) -> None:
        fake.revoke_tokens(name)

    async with start_standin(config) as standin, fake.serve() as url:
        ours = (
            Side(InMemoryTransport(fake), fake.base_url, revoke_here)
            if way == "memory"
            else Side(transport, url, revoke_here)
        )
        theirs = Side(transport, standin.base_url, lambda name: revoke_there(standin, name))
        try:
            yield fake, [ours, theirs]
        finally:
            await transport.aclose()


async def revoke_there(standin: RunningStandIn, name: str) -> None:
    await standin.do("revoke_tokens", app=name)


@pytest.mark.parametrize("way", ["memory", "loopback"])
@pytest.mark.parametrize("seed", range(2))
async def test_two_servers_give_the_same_answers(way: str, seed: int) -> None:
    lot = Random(seed)
    met: set[int] = set()
    async with both(way) as (fake, sides):
        for _ in range(300):
            call, answers = await one_step(lot, sides)
            met.add(answers[0]["status"])
            assert not told_apart(answers), f"{call}: {answers}"
        for number in TENANTS:
            dealer = [
                await side.send(
                    "GET",
                    f"{ROOT}/client/{number}/client/",
                    {"authorization": f"Bearer {await side.token('dealer')}"},
                )
                for side in sides
            ]
            assert seen(dealer[0]) == seen(dealer[1])
        assert fake.in_flight == 0
    assert met == {200, 400, 401, 403, 404, 405, 429}
