"""The fake, in memory and on a socket, and a server that was written without it: the same answers.

They are compared call by call, over 2,000 sequences of calls.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, TypeAlias
from urllib.parse import urlencode

import pytest
from attrs import field, frozen

from ringme_async.testing import FakeRingMe
from ringme_async.transports import Headers, Request, Response, Transport
from ringme_async.transports.aiohttp import AiohttpTransport
from ringme_async.transports.memory import InMemoryTransport
from tests.standin import start_standin
from tests.testing.reach import ROOT
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


def told_by(answer: Response) -> object:
    told: Any = json.loads(answer.body)
    if answer.status == 200:
        # A scope that is as asked for may be told or not (RFC 6749, section 5.1).
        return told if "access_token" not in told else sorted(told.keys() - {"scope"})
    if "error" in told:
        return told["error"]
    word = told.get("status")
    return bool(told.get("message")), word if answer.status != 400 else bool(word)


def seen(answer: Response) -> dict[str, Any]:
    """What of an answer has to be the same."""
    return {
        "status": answer.status,
        "limit": answer.headers.get("x-ratelimit-limit"),
        "remaining": answer.headers.get("x-ratelimit-remaining"),
        "reset": "x-ratelimit-reset" in answer.headers,
        "kind": answer.headers.get("content-type"),
        "store": answer.headers.get("cache-control"),
        "challenge": answer.headers.get("www-authenticate", "").partition(" ")[0],
        "told": told_by(answer),
    }


def a_body(lot: Random) -> bytes:
    if lot.random() < 0.1:
        return lot.choice(ODD_BODIES)
    names = lot.sample(sorted(VALUES), lot.choice([1, 1, 1, 2, 3]))
    return json.dumps({name: lot.choice(VALUES[name]) for name in names}).encode()


Call: TypeAlias = tuple[str, str, dict[str, str], bytes]


def a_call(lot: Random) -> Call:
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


def a_login(lot: Random) -> Call:
    """A login with something wrong in it, or nothing."""
    form = form_of(lot.choice(NAMES))
    wrong = lot.choice(["", "client_id", "client_secret", "grant_type", "password"])
    if wrong in form:
        form[wrong] = lot.choice(["nonsense", "password", "client_credentials"])
    headers = FORM if lot.random() < 0.9 else {"content-type": "application/json"}
    return "POST", "/oauth/token", headers, urlencode(form).encode()


async def answers_of(lot: Random, sides: list[Side]) -> tuple[str, list[Response]]:
    """Send one call, the same to all."""
    name = lot.choice(NAMES)
    if lot.random() < 0.05:
        method, path, headers, body = a_login(lot)
        name = ""
    else:
        method, path, headers, body = a_call(lot)
    if lot.random() < 0.02:
        for side in sides:
            await side.revoke("users" if name in {"", *USERS} else name)
    if name and lot.random() < 0.03:
        headers = {**headers, "authorization": lot.choice(["Bearer no", "no", "Basic YTpi"])}
        name = ""
    answers: list[Response] = []
    for side in sides:
        sent = headers
        if name:
            sent = {"authorization": f"Bearer {await side.token(name)}", **headers}
        answers.append(await side.send(method, path, sent, body))
    if answers[0].status == 401 and name:
        for side in sides:
            del side.tokens[name]
    return f"{name} {method} {path} {body!r} {headers}", answers


def told_apart(one: Response, other: Response) -> bool:
    """Do the answers differ in more than what the page leaves open?

    That is whose counter an answer shows where nobody knows who asked, and which of two reasons
    comes first where a client is both blocked and somebody else's.
    """
    answers = [seen(one), seen(other)]
    if None in {answer["limit"] for answer in answers}:
        unknown = {"limit": None, "remaining": None, "reset": False}
        answers = [{**answer, **unknown} for answer in answers]
    if answers[0] == answers[1]:
        return not_the_same_hour(one, other)
    reasons = {answer["told"][-1] for answer in answers if answer["status"] == 403}
    return reasons != {"access_denied", "user_blocked"}


def not_the_same_hour(one: Response, other: Response) -> bool:
    """Do the hours that the answers tell of end at moments far apart?"""
    ends = [int(answer.headers.get("x-ratelimit-reset", "-1")) for answer in (one, other)]
    return min(ends) >= 0 and abs(ends[0] - ends[1]) > 60


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
async def all_three() -> AsyncIterator[tuple[list[FakeRingMe], list[Side]]]:
    """A fake in memory, another one on a socket, and the stand-in, all with the same tenants."""
    fakes = [a_fake(), a_fake()]
    config = {
        "tenants": {"range": [TENANTS[0], TENANTS[-1]]},
        "blocked": [BLOCKED],
        "applications": APPLICATIONS,
        "login_per_second": None,
    }
    transport = AiohttpTransport()
    async with start_standin(config) as standin, fakes[1].serve() as url:
        sides = [
            side_of(fakes[0], InMemoryTransport(fakes[0]), fakes[0].base_url),
            side_of(fakes[1], transport, url),
            Side(
                transport,
                standin.base_url,
                lambda name: standin.do("revoke_tokens", app=name),
                lambda: standin.do("reset_quota"),
            ),
        ]
        try:
            yield fakes, sides
        finally:
            await transport.aclose()


def side_of(fake: FakeRingMe, transport: Transport, url: str) -> Side:
    async def revoke(name: str) -> None:
        fake.revoke_tokens(name)

    async def new_hour() -> None:
        fake._counters._counters.clear()

    return Side(transport, url, revoke, new_hour)


BLOCKS = [pytest.param(block, marks=[pytest.mark.slow] if block else []) for block in range(4)]


@pytest.mark.parametrize("block", BLOCKS)
async def test_three_servers_give_the_same_answers_to_five_hundred_sequences(block: int) -> None:
    met: set[int] = set()
    async with all_three() as (fakes, sides):
        for seed in range(500 * block, 500 * (block + 1)):
            lot = Random(seed)
            for side in sides:
                await side.new_hour()
            for _ in range(lot.choice([2, 4, 6, 8, 30])):
                call, (memory, loopback, standin) = await answers_of(lot, sides)
                met.add(memory.status)
                assert seen(memory) == seen(loopback), f"sequence {seed}: {call}"
                assert not told_apart(memory, standin), (
                    f"sequence {seed}: {call}: {seen(memory)} {seen(standin)}"
                )
        for number in TENANTS:
            path = f"{ROOT}/client/{number}/client/"
            records = [
                (
                    await side.send(
                        "GET", path, {"authorization": f"Bearer {await side.token('dealer')}"}
                    )
                )
                for side in sides
            ]
            assert seen(records[0]) == seen(records[1]) == seen(records[2])
        assert [fake.in_flight for fake in fakes] == [0, 0]
    assert met == {200, 400, 401, 403, 404, 405, 429}
