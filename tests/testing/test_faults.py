"""Each fault acts the same in memory and over a socket."""

from __future__ import annotations

import asyncio
import math
import pickle
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from ringme_async.errors import (
    ConnectError,
    ResponseLost,
    ResponseTooLarge,
    TransportError,
    TransportTimeout,
)
from ringme_async.testing import FakeRingMe, faults
from ringme_async.testing.fake.fault_kinds import Scene
from ringme_async.transports import Headers, Request, Response
from tests.leaping import HOUR, leap_as_soon_as
from tests.testing.reach import ROOT, Caller, limits, said


@pytest.fixture
def token(fake: FakeRingMe) -> str:
    fake.add_tenant(id=12)
    return fake.issue_token(fake.add_application(tenant=12, ceiling=100))


async def struck(send: Caller, token: str, fault: faults.Fault) -> Response:
    """Let a PUT meet a fault."""
    send.fake.faults.next(fault, on="PUT")
    return await send.put(12, token, {"hold_music": 7})


def is_applied(send: Caller) -> bool:
    return send.fake.records[12]["hold_music"] == 7


async def served(send: Caller, token: str) -> int:
    """Return how many requests counted before this one."""
    limit, remaining, _ = limits(await send.get(12, token))
    return limit - remaining - 1


async def give_up(send: Caller, token: str) -> None:
    """Send a request, and wait until its attempt times out."""
    asked = asyncio.create_task(send.get(12, token))
    await leap_as_soon_as(lambda: send.fake.in_flight)
    with pytest.raises(TransportTimeout):
        await asked


async def test_a_reset_before_loses_the_request(send: Caller, token: str) -> None:
    with pytest.raises(ResponseLost) as caught:
        await struck(send, token, faults.ResetBefore())
    assert caught.value.sent
    assert not is_applied(send)
    assert await served(send, token) == 0
    assert send.fake.requests[0].status is None


async def test_a_reset_after_loses_the_answer(send: Caller, token: str) -> None:
    with pytest.raises(ResponseLost) as caught:
        await struck(send, token, faults.ResetAfter())
    assert caught.value.sent
    assert is_applied(send)
    assert await served(send, token) == 1
    assert send.fake.requests[0].applied


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
async def test_a_cut_body_loses_the_answer(send: Caller, token: str, share: float) -> None:
    with pytest.raises(ResponseLost):
        await struck(send, token, faults.CutBody(share))
    assert is_applied(send)
    assert await served(send, token) == 1


async def test_an_answer_without_a_body_is_cut_off_too(send: Caller, token: str) -> None:
    send.fake.add_resource("DELETE", "/thing/", None, status=204)
    send.fake.faults.next(faults.CutBody())
    with pytest.raises(ResponseLost):
        await send("DELETE", f"{ROOT}/thing/", token=token)


async def test_a_body_with_corrupt_gzip_is_an_error(send: Caller, token: str) -> None:
    with pytest.raises(ResponseLost):
        await struck(send, token, faults.GarbledGzip())
    assert is_applied(send)


async def test_a_garbled_body_arrives_and_is_not_json(send: Caller, token: str) -> None:
    answer = await struck(send, token, faults.GarbledBody())
    assert answer.status == 200
    assert is_applied(send)
    with pytest.raises(ValueError, match=r"codec|decode"):
        said(answer)


async def test_a_garbled_body_can_be_chosen(send: Caller, token: str) -> None:
    answer = await struck(send, token, faults.GarbledBody(b"[1]"))
    assert said(answer) == [1]


async def test_a_bomb_exceeds_the_cap_on_bodies(send: Caller, token: str) -> None:
    with pytest.raises(ResponseTooLarge):
        await struck(send, token, faults.GzipBomb())
    assert is_applied(send)


@pytest.mark.parametrize("size", [0, 1000, 2**20, 3 * 2**20 + 5])
async def test_a_bomb_decompresses_to_its_size_in_zeros(
    send: Caller, token: str, size: int
) -> None:
    answer = await struck(send, token, faults.GzipBomb(size))
    assert answer.body == bytes(size)


async def test_the_receiver_of_a_bomb_may_disconnect_early(send: Caller, token: str) -> None:
    for _ in range(3):
        with pytest.raises(ResponseTooLarge):
            await struck(send, token, faults.GzipBomb(10**9))
    assert (await send.get(12, token)).status == 200


async def test_a_stall_longer_than_the_timeout_is_a_timeout(send: Caller, token: str) -> None:
    send.fake.faults.next(faults.Stall(HOUR))
    await give_up(send, token)
    assert (await send.get(12, token)).status == 200


@pytest.mark.jumping
async def test_a_short_stall_delays_the_answer(inside: Caller, token: str) -> None:
    inside.fake.latency = 1
    put = asyncio.create_task(struck(inside, token, faults.Stall(8)))
    await asyncio.sleep(0.5)
    assert is_applied(inside)
    assert (await put).status == 200
    assert asyncio.get_running_loop().time() == 9


@pytest.mark.jumping
async def test_an_outage_loses_an_answer_that_is_due(inside: Caller, token: str) -> None:
    async def outage() -> None:
        await asyncio.sleep(1)
        async with inside.fake.outage():
            await asyncio.sleep(1)

    inside.fake.latency = 1
    async with asyncio.TaskGroup() as group:
        group.create_task(outage())
        await asyncio.sleep(0)
        with pytest.raises(ResponseLost):
            await inside.get(12, token)


@pytest.mark.jumping
async def test_a_stall_can_last_forever(inside: Caller, token: str) -> None:
    inside.fake.faults.next(faults.Stall(math.inf))
    with pytest.raises(TransportTimeout):
        await inside.get(12, token)


@pytest.mark.jumping
async def test_a_slow_drip_takes_its_seconds(inside: Caller, token: str) -> None:
    answer = await struck(inside, token, faults.SlowDrip(10))
    assert said(answer)["hold_music"] == 7
    assert asyncio.get_running_loop().time() == 10


async def test_a_slow_drip_delivers_the_whole_body(send: Caller, token: str) -> None:
    answer = await struck(send, token, faults.SlowDrip(0.05, pieces=5))
    assert said(answer)["hold_music"] == 7


async def test_a_slow_drip_can_exceed_the_timeout(send: Caller, token: str) -> None:
    send.fake.faults.next(faults.SlowDrip(HOUR))
    await give_up(send, token)
    assert (await send.get(12, token)).status == 200


async def test_a_status_counts_and_changes_nothing(send: Caller, token: str) -> None:
    answer = await struck(send, token, faults.ServerError(503, retry_after=2))
    assert answer.status == 503
    assert answer.headers["retry-after"] == "2"
    assert said(answer) == {"message": "The server failed."}
    assert limits(answer)[1] == 99
    assert not is_applied(send)
    assert await served(send, token) == 1


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        (faults.Status(403, status="user_blocked", message=None), 403, {"status": "user_blocked"}),
        (faults.Status(404, message="no"), 404, {"message": "no"}),
        (faults.Status(500, message=None), 500, {}),
        (faults.ServerError(), 500, {"message": "The server failed."}),
    ],
)
async def test_a_status_can_omit_its_message_and_word(
    send: Caller, token: str, fault: faults.Status, status: int, body: Any
) -> None:
    answer = await struck(send, token, fault)
    assert (answer.status, said(answer)) == (status, body)


@pytest.mark.parametrize("body", [b"", b'{"message": "half', b"plain"])
async def test_a_status_can_have_another_body(send: Caller, token: str, body: bytes) -> None:
    answer = await struck(send, token, faults.ServerError(503, body=body))
    assert (answer.status, answer.body) == (503, body)


async def test_a_status_can_have_further_headers(send: Caller, token: str) -> None:
    fault = faults.Status(500, headers={"x-ratelimit-remaining": "nan", "x-more": "1"})
    answer = await struck(send, token, fault)
    assert (answer.headers["x-ratelimit-remaining"], answer.headers["x-more"]) == ("nan", "1")


@pytest.mark.parametrize("text", ["nan", "-1", "1e9"])
async def test_retry_after_can_be_nonsense(send: Caller, token: str, text: str) -> None:
    answer = await struck(send, token, faults.ServerError(retry_after=text))
    assert answer.headers["retry-after"] == text


async def test_retry_after_can_be_a_date(send: Caller, token: str) -> None:
    fault = faults.ServerError(retry_after=timedelta(minutes=5))
    answer = await struck(send, token, fault)
    later, now = (parsedate_to_datetime(answer.headers[name]) for name in ("retry-after", "date"))
    assert later - now == timedelta(minutes=5)


async def test_busy_has_a_message_and_no_limits(send: Caller, token: str) -> None:
    answer = await struck(send, token, faults.Busy())
    assert answer.status == 429
    assert said(answer).keys() == {"message"}
    assert "x-ratelimit-reset" not in answer.headers
    assert await served(send, token) == 0


async def test_a_fault_can_claim_that_the_limit_is_used_up(send: Caller, token: str) -> None:
    answer = await struck(send, token, faults.RateLimited(reset=5))
    assert answer.status == 429
    assert said(answer)["status"] == "rate_limit_exceeded"
    assert limits(answer) == (100, 0, 5)
    assert await served(send, token) == 0
    assert limits(await struck(send, token, faults.RateLimited()))[2] > 3000


@pytest.mark.parametrize("code", [500, 502])
async def test_a_proxy_answers_with_an_html_page(send: Caller, token: str, code: int) -> None:
    answer = await struck(send, token, faults.Html(code))
    assert answer.status == code
    assert answer.headers["content-type"].startswith("text/html")
    assert b"<html>" in answer.body
    assert "x-ratelimit-limit" not in answer.headers
    assert not is_applied(send)
    assert await served(send, token) == 0


async def test_the_html_page_can_be_chosen(send: Caller, token: str) -> None:
    answer = await struck(send, token, faults.Html(200, b"<p>Log in to the Wi-Fi</p>"))
    assert (answer.status, answer.body) == (200, b"<p>Log in to the Wi-Fi</p>")


async def test_a_proxy_answers_without_a_body(send: Caller, token: str) -> None:
    answer = await struck(send, token, faults.Empty(504))
    assert (answer.status, answer.body) == (504, b"")


async def test_a_redirect_has_its_target(send: Caller, token: str) -> None:
    answer = await struck(send, token, faults.Redirect("https://evil.test/oauth/token"))
    assert answer.status == 307
    assert answer.headers["location"] == "https://evil.test/oauth/token"
    assert not is_applied(send)


async def test_a_token_death_revokes_the_token(send: Caller, token: str) -> None:
    answer = await struck(send, token, faults.TokenDeath())
    assert answer.status == 401
    assert (await send.get(12, token)).status == 401
    assert not is_applied(send)


async def test_a_token_death_without_a_token_does_no_harm(send: Caller) -> None:
    send.fake.faults.next(faults.TokenDeath())
    assert (await send.get(12, None)).status == 401


async def test_a_clock_skew_shifts_the_date(send: Caller, token: str) -> None:
    answer = await struck(send, token, faults.ClockSkew(-86_400))
    right = await send.get(12, token)
    wrong, now = (parsedate_to_datetime(each.headers["date"]) for each in (answer, right))
    assert timedelta(0) <= now - wrong - timedelta(days=1) <= timedelta(seconds=2)
    assert is_applied(send)


@pytest.mark.jumping
async def test_the_wall_clock_follows_the_loop_s_clock() -> None:
    fake = FakeRingMe(wall_clock=datetime(2026, 1, 31, 23, 0, tzinfo=UTC))
    await fake(_request(fake))
    await asyncio.sleep(7200)
    answer = await fake(_request(fake))
    assert answer.headers["date"] == "Sun, 01 Feb 2026 01:00:00 GMT"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (faults.ServerError(503), 503),
        (faults.Html(), 502),
        (faults.Busy(), 429),
        (faults.TokenDeath(), 200),
        (faults.ClockSkew(5), 200),
    ],
)
async def test_logins_can_meet_faults(send: Caller, fault: faults.Fault, code: int) -> None:
    application = send.fake.add_application()
    send.fake.faults.next(fault, on="/oauth/token")
    answer = await send.log_in(application)
    assert answer.status == code
    assert "x-ratelimit-limit" not in answer.headers
    assert (await send.log_in(application)).status == 200


@pytest.mark.parametrize("fault", [faults.ServerError(), faults.TokenDeath()])
async def test_an_unknown_path_can_meet_faults(send: Caller, fault: faults.Fault) -> None:
    send.fake.faults.next(fault, on="/elsewhere")
    expected = 500 if isinstance(fault, faults.ServerError) else 404
    assert (await send("GET", "/elsewhere")).status == expected


def test_completion_offers_only_public_faults() -> None:
    assert {name for name in dir(faults) if not name.startswith("__")} == set(faults.__all__)


@pytest.mark.parametrize("name", faults.__all__)
def test_a_fault_says_that_it_comes_from_the_public_module(name: str) -> None:
    kind = getattr(faults, name)
    assert kind.__module__ == faults.__name__
    assert pickle.loads(pickle.dumps(kind)) is kind


async def test_a_custom_fault_can_count_carry_out_and_answer(send: Caller, token: str) -> None:
    class Teapot(faults.Fault):
        def strike(self, scene: Scene) -> Response:
            scene.count()
            scene.carry_out()
            return Response(418, body=scene.date().encode())

    answer = await struck(send, token, Teapot())
    assert answer.status == 418
    assert is_applied(send)
    assert await served(send, token) == 2


async def test_the_base_fault_gives_the_correct_answer(send: Caller, token: str) -> None:
    assert (await struck(send, token, faults.Fault())).status == 200


async def test_a_request_without_a_token_does_not_count(send: Caller) -> None:
    send.fake.faults.next(faults.ServerError())
    assert (await send.get(12, None)).status == 500


async def test_an_outage_refuses_all_connections(send: Caller, token: str) -> None:
    assert (await send.get(12, token)).status == 200
    async with send.fake.outage():
        with pytest.raises(ConnectError) as caught:
            await send.get(12, token)
        assert not caught.value.sent
        with pytest.raises(ConnectError):
            await send.get(12, token)
    assert (await send.get(12, token)).status == 200
    assert send.fake.requests.total == 2


async def test_an_outage_loses_answers_on_their_way(send: Caller, token: str) -> None:
    send.fake.latency = 3600
    waiting = asyncio.create_task(send.get(12, token))
    while not send.fake.in_flight:
        await asyncio.sleep(0)
    async with send.fake.outage():
        with pytest.raises(ResponseLost) as caught:
            await waiting
    assert caught.value.sent
    assert send.fake.in_flight == 0


async def test_a_latency_can_be_random(inside: Caller, token: str) -> None:
    drawn: list[float] = []

    def latency(random: Any) -> float:
        drawn.append(random.uniform(0.0, 0.001))
        return drawn[-1]

    inside.fake.latency = latency
    assert inside.fake.latency is latency
    await inside.get(12, token)
    assert len(drawn) == 1


async def test_all_lost_answers_are_transport_errors(send: Caller, token: str) -> None:
    for fault in (faults.ResetBefore(), faults.ResetAfter(), faults.CutBody()):
        with pytest.raises(TransportError):
            await struck(send, token, fault)
    assert (await send.get(12, token)).status == 200


def _request(fake: FakeRingMe) -> Request:
    return Request("GET", f"{fake.base_url}/", Headers({"accept-encoding": "gzip"}))
