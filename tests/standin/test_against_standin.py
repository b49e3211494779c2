"""One call of the SDK at a time, against the stand-in: values, refusals, and a broken wire."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme

from ringme_async import errors
from ringme_async.auth import BearerToken
from ringme_async.errors import RingMeError
from ringme_async.policies.retry import RetryPolicy
from ringme_async.resources.clients.codec import client_to_json
from ringme_async.resources.clients.update import ClientUpdate
from ringme_async.resources.target import UrlForm
from ringme_async.ringme import RingMe
from ringme_async.transports import Timeouts
from ringme_async.transports.aiohttp import AiohttpTransport
from tests.leaping import HOUR, MINUTE, leap

from .checks import AUTH, DEALER, Json, assert_tells_no_secret, guarded, sdk, trouble
from .client import RunningStandIn, start_standin

_ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("form", ["client", "client_info"])
async def test_a_record_is_read_and_changed_by_both_paths(form: UrlForm) -> None:
    async with guarded({"compress": "mixed"}) as server, sdk(server, url_form=form) as ringme:
        before = await ringme.clients.get(12)
        after = await ringme.clients.update(12, ClientUpdate(hold_music=5, geo_list="RU BY"))
        cleared = await ringme.clients.update("12", ClientUpdate(hold_music=None))
        record = await server.do("record", tenant=12)
        books = await server.books()

    assert before.name == "tenant_12"
    assert after.hold_music == 5
    assert after.geo_list is not None
    assert cleared.hold_music is None
    assert cleared.geo_list == after.geo_list
    assert client_to_json(cleared) == record
    assert [each["body"] for each in books["writes"]] == [
        {"hold_music": 5, "geo_list": "RU BY"},
        {"hold_music": None},
    ]
    assert books["logins"]["count"] == 1


@pytest.mark.parametrize("later", [False, True])
async def test_every_field_of_the_server_is_kept(later: bool) -> None:
    config = {
        "later_revision": later,
        "absent": ["language", "jur_address"],
        "extra": {"colour": None, "nested": {"a": [1, 2.5, "\u044f"]}},
        "records": {
            "2": {"type": "Z", "presence": "maybe", "create_date": "0000-00-00 00:00:00"},
            "3": {"extension_len": "04", "geo_list": "the moon", "type": None},
        },
    }
    async with guarded(config) as server, sdk(server) as ringme:
        for who in (2, 3, 4):
            client = await ringme.clients.get(who)
            assert client_to_json(client) == await server.do("record", tenant=who)


async def test_a_later_field_can_be_changed_through_extra() -> None:
    async with guarded({"later_revision": True}) as server, sdk(server) as ringme:
        update = ClientUpdate(extra={"call_interactive_timeout": 5})
        client = await ringme.clients.update(12, update)

    assert client.extra["call_interactive_timeout"] == 5


@pytest.mark.parametrize(
    ("kind", "error", "status"),
    [
        ("bad_request", errors.BadRequest, "wrong_parameter"),
        ("access_denied", errors.AccessDenied, "access_denied"),
        ("user_blocked", errors.UserBlocked, "user_blocked"),
        ("user_access_type_deny", errors.UserAccessTypeDenied, "user_access_type_deny"),
        ("app_access_type_deny", errors.AppAccessTypeDenied, "app_access_type_deny"),
        ("status_403", errors.Forbidden, None),
        ("status_404", errors.NotFound, None),
        ("client_not_found", errors.ClientNotFound, "client_not_found"),
        ("status_418", errors.ApiError, None),
        ("501", errors.ServerError, None),
    ],
)
async def test_a_refusal_of_the_page_is_one_error_of_its_class_after_one_attempt(
    server: RunningStandIn, kind: str, error: type[errors.ApiError], status: str | None
) -> None:
    await trouble(server, {"do": kind})
    async with sdk(server) as ringme:
        for call in (ringme.clients.get(12), ringme.clients.update(12, ClientUpdate(hold_music=1))):
            with pytest.raises(error) as caught:
                await call
            assert type(caught.value) is error
            assert caught.value.status == status
            assert (caught.value.client_id, caught.value.attempts) == ("12", 1)
            assert_tells_no_secret(caught.value)

    assert (await server.books())["tenants"]["12"]["received"] == 2


async def test_a_token_refused_twice_is_an_error_for_the_user(server: RunningStandIn) -> None:
    await trouble(server, {"do": "token_death"})
    async with sdk(server) as ringme:
        with pytest.raises(errors.Unauthorized) as caught:
            await ringme.clients.get(12)
    books = await server.books()
    async with sdk(server, BearerToken("tk-made-up")) as ringme:
        with pytest.raises(errors.Unauthorized) as fixed:
            await ringme.clients.get(12)

    assert_tells_no_secret(caught.value)
    assert_tells_no_secret(fixed.value, "tk-made-up")
    assert books["logins"]["count"] == 2
    assert books["tenants"]["12"]["received"] == 2


@pytest.mark.parametrize(
    "kind",
    [
        *("500", "502", "503", "504", "504_after", "status_408", "html", "empty", "busy"),
        *("reset_before", "reset_after", "close_before", "close_after", "cut_head_before"),
        *("cut", "cut_head", "nonsense", "garble", "bad_crc", "half_json", "token_death"),
        *("hangup", "clock_skew", "drip"),
    ],
)
async def test_reads_and_changes_survive_a_passing_fault(server: RunningStandIn, kind: str) -> None:
    for retry_after in ("", "nan", "date-5", "-1", "99999999", "0, 0"):
        # After a second revoked token, the call fails and the user must act.
        times = 1 if kind == "token_death" else 2
        rule = {"do": kind, "times": times, "seconds": 0.1, "retry_after": retry_after}
        await trouble(server, rule)
        async with asyncio.timeout(2 * MINUTE), sdk(server) as ringme:
            read = await ringme.clients.get(12)
            await trouble(server, rule)
            changed = await ringme.clients.update(12, ClientUpdate(hold_music=7))
        books = await server.books()
        assert read.id == 12
        assert changed.hold_music == 7
        assert books["tenants"]["12"]["ok"]
        assert all(write["body"] == {"hold_music": 7} for write in books["writes"])
        if kind not in {"500", "503"}:
            break


@pytest.mark.parametrize("retry_after", ["1", "date+2"])
async def test_retry_after_is_read_by_the_server_s_own_clock(retry_after: str) -> None:
    async with guarded({"clock_skew": 86_400 * 30}) as server:
        await trouble(server, {"do": "503", "times": 1, "retry_after": retry_after})
        async with asyncio.timeout(MINUTE), sdk(server) as ringme:
            assert (await ringme.clients.get(12)).id == 12
        spread = (await server.books())["seconds"]

    # By the server's clock, the second attempt came no earlier than Retry-After.
    assert spread >= 1


@pytest.mark.parametrize(
    ("kind", "error", "attempts"),
    [
        ("503", errors.ServerError, 4),
        ("html", errors.ServerError, 4),
        ("empty", errors.ServerError, 4),
        ("504_after", errors.ServerError, 4),
        ("busy", errors.Busy, 4),
        ("reset_before", errors.ResponseLost, 4),
        ("reset_after", errors.ResponseLost, 4),
        ("close_before", errors.ResponseLost, 4),
        ("close_after", errors.ResponseLost, 4),
        ("cut", errors.ResponseLost, 4),
        ("cut_head", errors.ResponseLost, 4),
        ("nonsense", errors.ResponseLost, 4),
        ("garble", errors.ResponseLost, 4),
        ("bad_crc", errors.ResponseLost, 4),
        ("half_json", errors.DecodeError, 4),
        ("wrong_type", errors.DecodeError, 1),
        ("redirect", errors.ApiError, 1),
        ("stall", errors.DeadlineExceeded, None),
        ("drip", errors.DeadlineExceeded, None),
    ],
)
async def test_a_lasting_fault_ends_in_one_error_within_the_deadline(
    server: RunningStandIn, kind: str, error: type[RingMeError], attempts: int | None
) -> None:
    await trouble(server, {"do": kind, "seconds": 120})
    before = (await server.books())["total"]["received"]
    endless = error is errors.DeadlineExceeded
    # Far above the tested deadline, far below the delay of the server.
    async with asyncio.timeout(100), sdk(server, timeout=0.7 if endless else 45.0) as ringme:
        with pytest.raises(error) as read:
            await ringme.clients.get(12)
        with pytest.raises(error) as changed:
            await ringme.clients.update(12, ClientUpdate(hold_music=7))

    books = await server.books()
    assert not read.value.maybe_applied
    for caught in (read.value, changed.value):
        assert type(caught) is error
        assert caught.attempts == attempts or attempts is None
        assert_tells_no_secret(caught)
    if books["writes"]:
        assert changed.value.maybe_applied
    if kind in {"busy", "redirect"}:
        assert not changed.value.maybe_applied
    if attempts is not None:
        assert books["total"]["received"] - before == 1 + 2 * attempts


async def test_each_attempt_has_its_own_timeout_below_the_deadline(
    server: RunningStandIn,
) -> None:
    await trouble(server, {"do": "stall", "times": 2, "seconds": 120})
    timeouts = Timeouts(connect=MINUTE, attempt=MINUTE)
    async with sdk(server, timeout=HOUR, timeouts=timeouts) as ringme:
        changing = asyncio.create_task(ringme.clients.update(12, ClientUpdate(hold_music=1)))
        for number in (1, 2):
            while len((await server.books())["writes"]) < number:
                await asyncio.sleep(0)
            leap(MINUTE)
        client = await changing

    assert client.hold_music == 1
    books = await server.books()
    assert len(books["writes"]) == 3
    assert books["tenants"]["12"]["refused"] == {"abandoned": 2}


async def test_a_closed_port_is_a_connect_error() -> None:
    async with start_standin() as server:
        gone = server.base_url
    async with RingMe(gone, auth=AUTH, retry=RetryPolicy(attempts=2, base=0.01)) as ringme:
        with pytest.raises(errors.ConnectError) as caught:
            await ringme.clients.update(12, ClientUpdate(hold_music=1))

    assert not caught.value.maybe_applied
    assert_tells_no_secret(caught.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed_with_a_token_or_with_a_secret(
    server: RunningStandIn, status: int
) -> None:
    await trouble(server, {"do": "redirect"}, redirect_status=status)
    async with sdk(server) as ringme:
        with pytest.raises(errors.ApiError):
            await ringme.clients.get(12)
        with pytest.raises(errors.ApiError):
            await ringme.clients.update(12, ClientUpdate(hold_music=1))
    await trouble(server, {"on": ["token"], "do": "redirect"}, redirect_status=status)
    async with sdk(server) as ringme:
        with pytest.raises(RingMeError) as caught:
            await ringme.clients.get(12)

    assert_tells_no_secret(caught.value)
    books = await server.books()
    assert books["other_host"]["requests"] == 0
    assert books["logins"]["outcomes"] == {"redirect": books["logins"]["count"]}


def run_bomb_client(base_url: str, token: str) -> Json:
    command = [sys.executable, "-m", "tests.standin.bomb_client", base_url, token]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr.decode()
    answer: Json = json.loads(done.stdout)
    return answer


async def test_a_bomb_of_300_megabytes_is_refused_with_little_memory(
    server: RunningStandIn,
) -> None:
    await trouble(
        server,
        {"tenants": [2], "do": "bomb"},
        {"tenants": [3], "do": "flood"},
        {"tenants": [4], "do": "bomb", "skip": 1},
        {"tenants": [4], "do": "503"},
    )
    token = await server.do("issue_token", app="dealer")

    result = await asyncio.to_thread(run_bomb_client, server.base_url, token)

    assert result["errors"] == ["ResponseTooLarge"] * 3
    # The cap is 8 MiB; a body is held in parts and joined only when it is whole.
    assert result["grown"] < 40


async def test_a_token_that_the_server_echoes_is_masked(server: RunningStandIn) -> None:
    token = await server.do("issue_token", app="dealer")
    await trouble(server, {"do": "501", "body": f'{{"message": "Authorization: Bearer {token}"}}'})
    async with sdk(server, BearerToken(token)) as ringme:
        with pytest.raises(errors.ServerError) as caught:
            await ringme.clients.get(12)

    assert_tells_no_secret(caught.value, token)


async def test_no_cookie_is_kept_and_short_lived_connections_do_no_harm() -> None:
    config = {"set_cookie": True, "requests_per_connection": 3}
    async with guarded(config) as server, sdk(server) as ringme:
        await trouble(server, {"do": "hangup"})
        clients = [await ringme.clients.get(who) for who in range(1, 31)]

    assert [client.id for client in clients] == list(range(1, 31))


async def test_a_cancelled_call_hangs_up(server: RunningStandIn) -> None:
    await trouble(server, {"do": "stall", "seconds": 120})
    async with sdk(server, timeout=HOUR) as ringme:
        call = asyncio.create_task(ringme.clients.get(12))
        while not (await server.books())["total"]["in_flight"] or (
            "12" not in (await server.books())["tenants"]
        ):
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        while (books := await server.books())["total"]["in_flight"]:
            await asyncio.sleep(0)

    assert books["tenants"]["12"]["last"] == "abandoned"


async def test_only_certificates_of_a_given_authority_are_accepted(
    tmp_path: Path,
) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    pem = tmp_path / "server.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(pem)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    tls = {"certfile": str(pem), "keyfile": str(pem)}
    async with start_standin({"applications": [DEALER], "tls": tls}) as server:
        async with sdk(server, retry=RetryPolicy(attempts=1)) as ringme:
            with pytest.raises(errors.ConnectError) as caught:
                await ringme.clients.get(12)
        nothing = await server.books()
        async with sdk(server, transport=AiohttpTransport(ssl=trusting)) as ringme:
            client = await ringme.clients.get(12)

    assert_tells_no_secret(caught.value)
    assert nothing["total"]["received"] == 0
    assert client.id == 12


@pytest.mark.parametrize(
    "who",
    ["../../admin", "1?x=1#f", "1%2f2", "12\r\nX: y", "12\n", "\uff11\uff12", True, -1, "", "@you"],
)
async def test_a_hostile_id_never_reaches_the_server(server: RunningStandIn, who: Any) -> None:
    async with sdk(server) as ringme:
        with pytest.raises(errors.InvalidRequest):
            await ringme.clients.get(who)

    assert (await server.books())["total"]["received"] == 0
