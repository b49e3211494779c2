"""The life of one call: quota, token, attempts, retries, deadline, errors."""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import pytest

from ringme_async import (
    Auth,
    BearerToken,
    Busy,
    ClientCredentials,
    ClientNotFound,
    ClientUpdate,
    ConnectError,
    DeadlineExceeded,
    DecodeError,
    RateLimited,
    ResponseLost,
    ResponseTooLarge,
    RetryPolicy,
    RingMe,
    RingMeError,
    ServerError,
    Timeouts,
    TokenError,
    TransportError,
    TransportTimeout,
    Unauthorized,
    UserBlocked,
)
from ringme_async.calls.dispatcher import utc_now
from ringme_async.events import AttemptEnded, CallEnded, Event, Parked, RetryScheduled
from ringme_async.transports import Request, Response
from tests.scripted import Answer, ScriptedTransport, never, record, refusal, token

pytestmark = pytest.mark.jumping

APP = ClientCredentials("app-id", "s3cret-of-app")
FIXED = BearerToken("f1xed-token")
OMSK = ClientUpdate(timezone="Asia/Omsk")

Connect = Callable[..., RingMe]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    opened: list[RingMe] = []

    def make(transport: ScriptedTransport, *, auth: Auth = FIXED, **options: object) -> RingMe:
        ringme = RingMe(
            "https://pbx.example.com",
            auth=auth,
            transport=transport,
            **({"retry": RetryPolicy(random=lambda: 1.0)} | options),  # type: ignore[arg-type]
        )
        opened.append(ringme)
        return ringme

    yield make
    for ringme in opened:
        await ringme.aclose()


def scripted(*answers: Answer, tokens: list[Answer] | None = None) -> ScriptedTransport:
    if tokens is None:
        return ScriptedTransport(list(answers))
    return ScriptedTransport(list(answers), tokens)


async def failure(call: Awaitable[object]) -> RingMeError:
    with pytest.raises(RingMeError) as caught:
        await call
    return caught.value


class TestARequest:
    async def test_goes_to_the_api_root_with_token_json_and_gzip(self, connect: Connect) -> None:
        transport = scripted(record(id=12))

        await connect(transport).clients.get(12)

        (sent,) = transport.requests
        assert sent.method == "GET"
        assert sent.url == "https://pbx.example.com/api/ver1.0/client/12/client/"
        assert sent.headers["authorization"] == "Bearer f1xed-token"
        assert sent.headers["accept-encoding"] == "gzip"
        assert sent.headers["accept"] == "application/json"
        assert sent.headers["user-agent"].startswith("ringme-async/")
        assert "content-type" not in sent.headers

    async def test_with_a_body_has_the_json_content_type(self, connect: Connect) -> None:
        transport = scripted(record())

        await connect(transport).clients.update("@me", OMSK)

        (sent,) = transport.requests
        assert (sent.method, sent.body) == ("PUT", b'{"timezone":"Asia/Omsk"}')
        assert sent.headers["content-type"] == "application/json"

    async def test_has_a_content_type_only_with_a_body(self, connect: Connect) -> None:
        transport = scripted(record())
        clients = connect(transport).clients

        for _ in range(3):
            await clients.get("@me")
            await clients.update("@me", OMSK)

        described = ["content-type" in sent.headers for sent in transport.requests]
        assert described == [False, True] * 3

    async def test_reuses_its_headers_once_the_token_was_accepted(self, connect: Connect) -> None:
        transport = scripted(record())
        clients = connect(transport).clients

        for _ in range(3):
            await clients.get("@me")

        first, second, third = (sent.headers for sent in transport.requests)
        assert first is not second
        assert second is third

    async def test_carries_the_timeouts_of_its_ringme(self, connect: Connect) -> None:
        transport = scripted(record())
        timeouts = Timeouts(connect=1.0, attempt=2.0)

        await connect(transport, timeouts=timeouts).clients.get(12)

        assert transport.requests[0].timeouts == timeouts


class TestARetry:
    @pytest.mark.parametrize(
        "passing",
        [
            ConnectError("refused"),
            TransportTimeout("slow"),
            ResponseLost("cut off"),
            Response(200, {}, b"<html>"),
            refusal(408),
            refusal(429),
            refusal(500),
            refusal(502),
            refusal(503),
            refusal(504),
        ],
        ids=repr,
    )
    async def test_recovers_from_a_passing_failure(self, connect: Connect, passing: Answer) -> None:
        transport = scripted(passing, record(id=12))

        client = await connect(transport).clients.get(12)

        assert client.id == 12
        assert len(transport.requests) == 2

    @pytest.mark.parametrize(
        ("lasting", "kind"),
        [
            (refusal(403, "user_blocked"), UserBlocked),
            (refusal(404, "client_not_found"), ClientNotFound),
            (refusal(501), ServerError),
            (ResponseTooLarge("over 8 MiB"), ResponseTooLarge),
            (record(id="twelve"), DecodeError),
        ],
        ids=repr,
    )
    async def test_is_not_made_after_a_lasting_failure(
        self, connect: Connect, lasting: Answer, kind: type[RingMeError]
    ) -> None:
        transport = scripted(lasting)

        error = await failure(connect(transport).clients.get(12))

        assert type(error) is kind
        assert (error.client_id, error.attempts) == ("12", 1)
        assert len(transport.requests) == 1

    async def test_is_given_up_after_the_last_attempt_with_the_last_error(
        self, connect: Connect
    ) -> None:
        transport = scripted(refusal(500), refusal(502), refusal(503), refusal(504))

        error = await failure(connect(transport).clients.get(12))

        assert isinstance(error, ServerError)
        assert (error.status_code, error.attempts) == (504, 4)
        assert "tried 4 times" in str(error)

    async def test_waits_longer_each_time(self, connect: Connect) -> None:
        transport = scripted(refusal(503))

        await failure(connect(transport).clients.get(12))

        assert transport.sent_at == [0.0, 0.5, 1.5, 3.5]

    async def test_waits_as_long_as_the_server_asks(self, connect: Connect) -> None:
        transport = scripted(refusal(503, retry_after="17"), record())

        await connect(transport).clients.get(12)

        assert transport.sent_at[1] >= 17.0

    async def test_of_a_call_that_is_not_idempotent_is_made_only_if_nothing_was_sent(
        self, connect: Connect
    ) -> None:
        transport = scripted(ConnectError("refused"), ResponseLost("cut off"), record())

        error = await failure(connect(transport).request("POST", "/client/@me/extension/"))

        assert isinstance(error, ResponseLost)
        assert len(transport.requests) == 2

    async def test_stops_when_the_budget_of_the_host_is_spent(self, connect: Connect) -> None:
        transport = scripted(refusal(503))
        ringme = connect(transport)

        for _ in range(50):
            await failure(ringme.clients.get(12))

        assert len(transport.requests) == 50 + 500 // 5


class TestADeadline:
    async def test_ends_a_call_that_hangs(self, connect: Connect) -> None:
        transport = scripted(never)

        error = await failure(connect(transport).clients.get(12, timeout=7))

        assert isinstance(error, DeadlineExceeded)
        assert asyncio.get_running_loop().time() == 7.0
        assert (error.client_id, error.attempts, error.__cause__) == ("12", 1, None)

    async def test_has_the_last_error_as_its_cause(self, connect: Connect) -> None:
        transport = scripted(refusal(503), never)

        error = await failure(connect(transport).clients.get(12, timeout=7))

        assert isinstance(error, DeadlineExceeded)
        assert isinstance(error.__cause__, ServerError)

    async def test_begins_no_wait_that_would_pass_it(self, connect: Connect) -> None:
        transport = scripted(refusal(503, retry_after="100"))

        error = await failure(connect(transport).clients.get(12, timeout=60))

        assert isinstance(error, DeadlineExceeded)
        assert isinstance(error.__cause__, ServerError)
        assert asyncio.get_running_loop().time() == 0.0

    async def test_covers_the_token(self, connect: Connect) -> None:
        transport = scripted(record(), tokens=[never])

        error = await failure(connect(transport, auth=APP).clients.get(12, timeout=7))

        assert isinstance(error, DeadlineExceeded)
        assert error.attempts == 0
        assert not error.maybe_applied

    async def test_of_a_ringme_is_sixty_seconds(self, connect: Connect) -> None:
        await failure(connect(scripted(never)).clients.get(12))

        assert asyncio.get_running_loop().time() == 60.0

    async def test_leaves_a_timeout_of_the_caller_alone(self, connect: Connect) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await connect(scripted(never)).clients.get(12)

    async def test_leaves_a_timeout_error_that_is_not_its_own_alone(self, connect: Connect) -> None:
        with pytest.raises(TimeoutError, match="of the transport's own"):
            await connect(scripted(TimeoutError("of the transport's own"))).clients.get(12)

    async def test_leaves_a_cancellation_alone(self, connect: Connect) -> None:
        call = asyncio.ensure_future(connect(scripted(never)).clients.get(12))
        await asyncio.sleep(1)

        call.cancel()

        with pytest.raises(asyncio.CancelledError):
            await call


class TestA401:
    async def test_fetches_a_new_token_and_tries_once_more(self, connect: Connect) -> None:
        transport = scripted(refusal(401), record(), tokens=[token("old"), token("new")])

        await connect(transport, auth=APP).clients.get("@me")

        sent = [request.headers["authorization"] for request in transport.requests]
        assert sent == ["Bearer old", "Bearer new"]
        assert transport.sent_at == [0.0, pytest.approx(1 / 18, abs=0.06)]

    async def test_with_the_new_token_reaches_the_user(self, connect: Connect) -> None:
        transport = scripted(refusal(401))

        error = await failure(connect(transport, auth=APP).clients.get("@me"))

        assert isinstance(error, Unauthorized)
        assert error.attempts == 2
        assert len(transport.logins) == 2

    async def test_with_a_fixed_token_reaches_the_user_at_once(self, connect: Connect) -> None:
        transport = scripted(refusal(401))

        error = await failure(connect(transport).clients.get("@me"))

        assert isinstance(error, Unauthorized)
        assert len(transport.requests) == 1

    async def test_on_a_token_that_worked_before_is_retried(self, connect: Connect) -> None:
        first_refused = asyncio.Event()

        async def refuse_late(request: Request) -> Response:
            await first_refused.wait()
            return refusal(401)

        transport = scripted(
            refusal(401),
            refuse_late,
            record(),
            record(),
            tokens=[token("first"), token("second"), token("third")],
        )
        ringme = connect(transport, auth=APP)
        unlucky = asyncio.ensure_future(ringme.clients.get("@me"))
        while len(transport.requests) < 2:
            await asyncio.sleep(0.01)
        await ringme.clients.get("@me")
        first_refused.set()

        assert (await unlucky).id == 12

    async def test_with_the_new_token_reaches_the_user_although_the_credentials_worked_before(
        self, connect: Connect
    ) -> None:
        transport = scripted(record(), refusal(401))
        ringme = connect(transport, auth=APP)
        await ringme.clients.get("@me")

        error = await failure(ringme.clients.get("@me"))

        assert isinstance(error, Unauthorized)
        assert error.attempts == 2
        assert len(transport.logins) == 2

    async def test_for_one_client_alone_is_retried_like_any_other_after_ten_new_tokens(
        self, connect: Connect
    ) -> None:
        async def refuse_but_take_the_token_of_another_call(request: Request) -> Response:
            if "/13/" not in request.url:
                return record()
            await ringme.clients.get(12)
            return refusal(401)

        transport = scripted(refuse_but_take_the_token_of_another_call)
        ringme = connect(transport, auth=APP, retry=RetryPolicy(attempts=2))

        error = await failure(ringme.clients.get(13))

        assert isinstance(error, Unauthorized)
        assert error.attempts == 12

    async def test_that_another_call_found_first_costs_no_attempt(self, connect: Connect) -> None:
        dead = {"Bearer t1", "Bearer t2", "Bearer t3"}

        async def serve(request: Request) -> Response:
            await asyncio.sleep(1)
            if request.headers["authorization"] in dead:
                return refusal(401)
            return record()

        transport = scripted(
            record(), serve, tokens=[token(f"t{number}") for number in range(1, 9)]
        )
        ringme = connect(transport, auth=APP)
        await ringme.clients.get("@me")

        calls = [ringme.clients.get(12) for _ in range(8)]
        done = await asyncio.gather(*calls, return_exceptions=True)

        lost = [one for one in done if isinstance(one, Unauthorized)]
        assert len(lost) <= 1
        assert len(transport.logins) == 4

    async def test_with_an_unusual_text_keeps_its_class(self, connect: Connect) -> None:
        transport = scripted(refusal(403, "user_blocked"))

        error = await failure(connect(transport, auth=BearerToken("user")).clients.get(12))

        assert isinstance(error, UserBlocked)

    async def test_of_the_token_endpoint_is_a_token_error_that_is_not_retried(
        self, connect: Connect
    ) -> None:
        refused = Response(401, {}, b'{"error": "invalid_client"}')
        transport = scripted(record(), tokens=[refused])

        error = await failure(connect(transport, auth=APP).clients.get("@me"))

        assert isinstance(error, TokenError)
        assert error.error == "invalid_client"
        assert (len(transport.logins), len(transport.requests)) == (1, 0)


class TestAUsedUpQuota:
    used_up = refusal(429, "rate_limit_exceeded", x_ratelimit_reset="1800")

    async def test_is_raised_with_its_reset_and_not_slept_through(self, connect: Connect) -> None:
        error = await failure(connect(scripted(self.used_up)).clients.get(12))

        assert isinstance(error, RateLimited)
        assert error.reset_after == 1800.0
        assert asyncio.get_running_loop().time() == 0.0

    async def test_refuses_the_next_call_without_sending_it(self, connect: Connect) -> None:
        transport = scripted(self.used_up)
        ringme = connect(transport)
        await failure(ringme.clients.get(12))

        error = await failure(ringme.clients.get(12))

        assert isinstance(error, RateLimited)
        assert error.attempts == 0
        assert len(transport.requests) == 1

    async def test_is_waited_for_within_the_deadline_when_asked(self, connect: Connect) -> None:
        transport = scripted(self.used_up, record())

        client = await connect(transport).clients.get(12, on_quota="wait", timeout=3600)

        assert client.id == 12
        assert 1800.0 <= transport.sent_at[1] <= 1802.0

    async def test_can_be_waited_for_by_every_call_of_a_ringme(self, connect: Connect) -> None:
        transport = scripted(self.used_up, record())

        await connect(transport, on_quota="wait", timeout=3600).clients.get(12)

        assert len(transport.requests) == 2

    async def test_that_outlasts_the_deadline_is_not_waited_for(self, connect: Connect) -> None:
        call = connect(scripted(self.used_up)).clients.get(12, on_quota="wait", timeout=60)

        error = await failure(call)

        assert isinstance(error, DeadlineExceeded)
        assert isinstance(error.__cause__, RateLimited)
        assert asyncio.get_running_loop().time() == 0.0

    async def test_is_used_to_the_last_request_and_not_beyond(self, connect: Connect) -> None:
        left = 3

        async def serve(request: Request) -> Response:
            nonlocal left
            left -= 1
            answer = record()
            headers = {"X-RateLimit-Remaining": str(left), "X-RateLimit-Reset": "100"}
            return Response(200, headers, answer.body)

        ringme = connect(scripted(serve))
        for _ in range(3):
            await ringme.clients.get(12)

        assert isinstance(await failure(ringme.clients.get(12)), RateLimited)
        assert left == 0

    async def test_of_one_credential_says_nothing_about_another(self, connect: Connect) -> None:
        transport = scripted(self.used_up, record())
        ringme = connect(transport)
        await failure(ringme.clients.get(12))

        other = connect(transport, auth=BearerToken("other"))

        assert (await other.clients.get(12)).id == 12

    async def test_is_not_learned_from_a_proxy(self, connect: Connect) -> None:
        transport = scripted(Response(502, {}, b"<html>"), record())

        assert (await connect(transport).clients.get(12)).id == 12

    async def test_is_learned_from_a_refusal_too(self, connect: Connect) -> None:
        transport = scripted(
            refusal(404, "client_not_found", x_ratelimit_remaining="0", x_ratelimit_reset="60")
        )
        ringme = connect(transport)
        await failure(ringme.clients.get(13))

        assert isinstance(await failure(ringme.clients.get(12)), RateLimited)


class TestMaybeApplied:
    @pytest.mark.parametrize(
        ("answer", "maybe"),
        [
            (ConnectError("refused"), False),
            (ResponseLost("cut off", sent=True), True),
            (TransportTimeout("slow", sent=False), False),
            (TransportTimeout("slow", sent=True), True),
            (refusal(400), False),
            (refusal(302), False),
            (refusal(403, "access_denied"), False),
            (refusal(429), False),
            (refusal(500), True),
            (refusal(504), True),
            (Response(200, {}, b"half a rec"), True),
        ],
        ids=repr,
    )
    async def test_follows_from_how_the_attempts_of_a_change_ended(
        self, connect: Connect, answer: Answer, maybe: bool
    ) -> None:
        error = await failure(connect(scripted(answer)).clients.update(12, OMSK))

        assert error.maybe_applied is maybe

    async def test_stays_true_when_a_later_attempt_is_refused(self, connect: Connect) -> None:
        transport = scripted(ResponseLost("cut off"), refusal(403, "user_blocked"))

        error = await failure(connect(transport).clients.update(12, OMSK))

        assert isinstance(error, UserBlocked)
        assert error.maybe_applied

    async def test_is_known_when_the_deadline_cuts_the_attempt_short(
        self, connect: Connect
    ) -> None:
        error = await failure(connect(scripted(never)).clients.update(12, OMSK, timeout=5))

        assert isinstance(error, DeadlineExceeded)
        assert error.maybe_applied

    async def test_is_never_true_of_a_read(self, connect: Connect) -> None:
        error = await failure(connect(scripted(ResponseLost("cut off"))).clients.get(12))

        assert not error.maybe_applied


class TestSecrets:
    @pytest.mark.parametrize(
        "answer",
        [
            Response(401, {"X-Echo": "Bearer t0ken"}, b'{"message": "bad: Bearer t0ken"}'),
            ResponseLost("cut off"),
            Response(200, {}, b"not json"),
            Response(200, {}, b'"Bearer t0ken"'),
            Response(200, {}, b'{"id": "t0ken"}'),
            Response(500, {"Server": "caf\udce9 t0ken"}, b""),
            refusal(503),
        ],
        ids=repr,
    )
    async def test_are_in_nothing_that_a_failed_call_leaves_behind(
        self, connect: Connect, answer: Answer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)

        error = await failure(connect(scripted(answer), auth=APP).clients.update(12, OMSK))

        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        left = [
            "".join(shown.format()),
            str(error),
            repr(error),
            repr(vars(error)),
            str(pickle.dumps(error)),
            caplog.text,
        ]
        assert "t0ken" not in "".join(left)
        assert "s3cret-of-app" not in "".join(left)

    async def test_of_the_login_are_in_nothing_that_a_failed_login_leaves_behind(
        self, connect: Connect, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        said = b'{"error": "invalid_client", "error_description": "no s3cret-of-app here"}'
        transport = scripted(record(), tokens=[Response(400, {}, said)])

        error = await failure(connect(transport, auth=APP).clients.get("@me"))

        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        left = "".join(shown.format()) + repr(vars(error)) + str(pickle.dumps(error)) + caplog.text
        assert "s3cret-of-app" not in left


class TestObservers:
    async def test_get_attempts_retries_and_the_end(self, connect: Connect) -> None:
        told: list[Event] = []
        transport = scripted(refusal(503), record())

        await connect(transport, observers=[told.append]).clients.get(12)

        attempts = [event.status_code for event in told if isinstance(event, AttemptEnded)]
        assert attempts == [503, 200]
        assert [e.delay for e in told if isinstance(e, RetryScheduled)] == [0.5]
        assert [e.error_type for e in told if isinstance(e, CallEnded)] == [None]

    async def test_get_a_wait_for_quota(self, connect: Connect) -> None:
        told: list[Event] = []
        transport = scripted(TestAUsedUpQuota.used_up, record())
        ringme = connect(transport, observers=[told.append], on_quota="wait", timeout=3600)

        await ringme.clients.get(12)

        assert [type(event).__name__ for event in told if not isinstance(event, AttemptEnded)] == [
            "CallStarted",
            "AttemptSent",
            "Parked",
            "Woken",
            "AttemptSent",
            "CallEnded",
        ]
        assert any(isinstance(event, Parked) and event.client_id == "12" for event in told)

    async def test_get_the_end_of_a_cancelled_call(self, connect: Connect) -> None:
        told: list[Event] = []
        call = asyncio.ensure_future(
            connect(scripted(never), observers=[told.append]).clients.get(12)
        )
        await asyncio.sleep(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

        assert [e.error_type for e in told if isinstance(e, CallEnded)] == ["CancelledError"]
        assert [e.status_code for e in told if isinstance(e, AttemptEnded)] == [None]


async def test_a_retry_after_date_counts_from_the_date_of_the_answer(connect: Connect) -> None:
    transport = scripted(
        refusal(
            503,
            date="Sun, 06 Nov 1994 08:49:37 GMT",
            retry_after="Sun, 06 Nov 1994 08:50:07 GMT",
        ),
        record(),
    )

    await connect(transport).clients.get(12)

    assert 30.0 <= transport.sent_at[1] <= 31.0


async def test_the_wall_clock_returns_utc() -> None:
    assert utc_now().tzinfo is UTC
    assert abs(utc_now() - datetime.now(UTC)).total_seconds() < 60


async def test_a_busy_server_is_asked_again_soon(connect: Connect) -> None:
    transport = scripted(refusal(429))

    error = await failure(connect(transport).clients.get(12))

    assert isinstance(error, Busy)
    assert transport.sent_at[-1] < 10


def test_a_transport_error_is_a_ringme_error() -> None:
    assert issubclass(TransportError, RingMeError)
