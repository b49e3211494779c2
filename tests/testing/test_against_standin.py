"""The fake, in memory and on a socket, answers like the independent stand-in.

They are compared call by call, over 2,000 sequences of calls.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from random import Random
from typing import Any, TypeAlias
from urllib.parse import urlencode

import pytest

from ringme_async.transports import Response
from tests.testing.reach import ROOT
from tests.testing.servers import FORM, NAMES, SERVERS, TENANTS, USERS, Side, form_of

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


def told_by(answer: Response) -> object:
    told: Any = json.loads(answer.body)
    if answer.status == 200:
        # An answer may omit the scope if it is the requested one (RFC 6749, section 5.1).
        return told if "access_token" not in told else sorted(told.keys() - {"scope"})
    if "error" in told:
        return told["error"]
    word = told.get("status")
    return bool(told.get("message")), word if answer.status != 400 else bool(word)


def seen(answer: Response) -> dict[str, Any]:
    """The part of an answer that must be equal."""
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
    """A login with at most one error in it."""
    form = form_of(lot.choice(NAMES))
    wrong = lot.choice(["", "client_id", "client_secret", "grant_type", "password"])
    if wrong in form:
        form[wrong] = lot.choice(["nonsense", "password", "client_credentials"])
    headers = FORM if lot.random() < 0.9 else {"content-type": "application/json"}
    return "POST", "/oauth/token", headers, urlencode(form).encode()


async def answers_of(lot: Random, sides: list[Side]) -> tuple[str, list[Response]]:
    """Send one call to all servers."""
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
    """Do the answers differ beyond what the page leaves open?

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
    """Do the windows in the answers end at distant times?"""
    ends = [int(answer.headers.get("x-ratelimit-reset", "-1")) for answer in (one, other)]
    return min(ends) >= 0 and abs(ends[0] - ends[1]) > 60


BLOCKS = [pytest.param(block, marks=[pytest.mark.slow] if block else []) for block in range(4)]


@pytest.mark.parametrize("block", BLOCKS)
async def test_three_servers_answer_five_hundred_sequences_alike(block: int) -> None:
    met: set[int] = set()
    async with AsyncExitStack() as stack:
        sides = [await stack.enter_async_context(start()) for start in SERVERS.values()]
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
            memory, loopback, standin = [
                await side.send(
                    "GET", path, {"authorization": f"Bearer {await side.token('dealer')}"}
                )
                for side in sides
            ]
            assert seen(memory) == seen(loopback) == seen(standin)
    assert met == {200, 400, 401, 403, 404, 405, 429}
