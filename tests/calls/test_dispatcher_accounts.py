"""How a call settles its quota, its retry budget and its count of attempts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import attrs
import pytest

from ringme_async import (
    ApiError,
    AttemptSent,
    BearerToken,
    ClientCredentials,
    ClientUpdate,
    ConnectError,
    DeadlineExceeded,
    DecodeError,
    Event,
    InvalidRequest,
    RateLimited,
    Response,
    ResponseLost,
    RetryPolicy,
    RetryScheduled,
    RingMe,
    RingMeError,
    ServerError,
    Tenant,
    TransportTimeout,
    Unauthorized,
)
from ringme_async.calls.call import CallState
from tests.scripted import Answer, ScriptedTransport, never, record, refusal

pytestmark = pytest.mark.jumping

HERE, THERE = "https://pbx.example.com", "https://other.example.com"
TOKEN = BearerToken("f1xed-token")

Connect = Callable[..., RingMe]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    opened: list[RingMe] = []

    def make(transport: ScriptedTransport, *, retry: RetryPolicy | None = None) -> RingMe:
        retry = retry or RetryPolicy(random=lambda: 1.0)
        opened.append(RingMe(HERE, auth=TOKEN, transport=transport, retry=retry))
        return opened[-1]

    yield make
    for ringme in opened:
        await ringme.aclose()


def told(remaining: int) -> Response:
    """Answer with the record, and with how many requests are left of the hour."""
    counters = {"X-RateLimit-Remaining": str(remaining), "X-RateLimit-Reset": "1800"}
    return attrs.evolve(record(), headers=counters)


class TestTheQuota:
    async def test_gets_back_a_request_that_was_surely_not_sent(self, connect: Connect) -> None:
        transport = ScriptedTransport([told(1), ConnectError("refused"), told(0)])
        ringme = connect(transport)
        await ringme.clients.get(12)

        await ringme.clients.get(12)

        assert len(transport.requests) == 3

    async def test_gets_back_a_request_that_the_transport_refused(self, connect: Connect) -> None:
        transport = ScriptedTransport([told(1), InvalidRequest("no such proxy"), told(0)])
        ringme = connect(transport)
        await ringme.clients.get(12)
        with pytest.raises(InvalidRequest):
            await ringme.clients.get(12)

        await ringme.clients.get(12)

        assert len(transport.requests) == 3

    async def test_counts_a_request_without_an_answer_as_spent(self, connect: Connect) -> None:
        ringme = connect(ScriptedTransport([told(1), ResponseLost("cut off"), told(0)]))
        await ringme.clients.get(12)

        with pytest.raises(RateLimited):
            await ringme.clients.get(12)

    async def test_gets_back_the_request_of_a_401_without_counters(self, connect: Connect) -> None:
        transport = ScriptedTransport([told(1), refusal(401), told(0)])
        ringme = connect(transport)
        await ringme.clients.get(12)
        with pytest.raises(Unauthorized):
            await ringme.clients.get(12)

        await ringme.clients.get(12)

        assert len(transport.requests) == 3

    @pytest.mark.parametrize("code", [401, 404, 503])
    async def test_believes_the_counters_of_a_refusal(self, connect: Connect, code: int) -> None:
        counters = {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "1800"}
        transport = ScriptedTransport([told(5), refusal(code, **counters), told(4)])
        ringme = connect(transport, retry=RetryPolicy(attempts=1))
        await ringme.clients.get(12)
        with pytest.raises(ApiError):
            await ringme.clients.get(12)

        with pytest.raises(RateLimited):
            await ringme.clients.get(12)

        assert len(transport.requests) == 2

    async def test_counts_a_5xx_without_counters_as_spent(self, connect: Connect) -> None:
        ringme = connect(ScriptedTransport([told(1), refusal(503), told(0)]))
        await ringme.clients.get(12)

        with pytest.raises(RateLimited):
            await ringme.clients.get(12)


class TestTheBudget:
    async def test_grows_by_one_with_each_success_at_first_try(self, connect: Connect) -> None:
        transport = ScriptedTransport([record()])
        ringme = connect(transport)
        budget = ringme._dispatcher.budgets.of(HERE)
        budget.available = 0

        for _ in range(3):
            await ringme.clients.get(12)

        assert budget.available == 3

    @pytest.mark.parametrize(
        ("passing", "price"), [(ResponseLost("cut off"), 5), (TransportTimeout("slow"), 10)]
    )
    async def test_gets_back_the_cost_of_a_retry_that_succeeded(
        self, connect: Connect, passing: Answer, price: int
    ) -> None:
        ringme = connect(ScriptedTransport([passing, record()]))
        budget = ringme._dispatcher.budgets.of(HERE)
        budget.available = price

        await ringme.clients.get(12)

        assert budget.available == price

    async def test_pays_for_each_retry_of_a_call_that_fails(self, connect: Connect) -> None:
        ringme = connect(ScriptedTransport([refusal(503)]))
        budget = ringme._dispatcher.budgets.of(HERE)

        with pytest.raises(ServerError):
            await ringme.clients.get(12)

        assert budget.available == 500 - 3 * 5

    async def test_pays_double_for_retries_after_timeouts(self, connect: Connect) -> None:
        ringme = connect(ScriptedTransport([TransportTimeout("slow")]))
        budget = ringme._dispatcher.budgets.of(HERE)

        with pytest.raises(TransportTimeout):
            await ringme.clients.get(12)

        assert budget.available == 500 - 3 * 10

    async def test_is_shared_by_logins_and_calls(self) -> None:
        transport = ScriptedTransport([ConnectError("refused")])
        app = ClientCredentials("app-id", "s3cret")
        async with RingMe(HERE, auth=app, transport=transport) as ringme:
            with pytest.raises(ConnectError):
                await ringme.clients.get(12)

            assert ringme._dispatcher.budgets.of(HERE).available == 500 - 3 * 5

    async def test_of_one_host_is_not_used_by_another(self, connect: Connect) -> None:
        transport = ScriptedTransport([refusal(503), refusal(503), record()])
        ringme = connect(transport)
        ringme._dispatcher.budgets.of(HERE).available = 0

        with pytest.raises(ServerError):
            await ringme.clients.get(12)
        await ringme.clients.get(Tenant(12, auth=TOKEN, base_url=THERE))

        hosts = [request.url.split("/")[2] for request in transport.requests]
        assert hosts == ["pbx.example.com", "other.example.com", "other.example.com"]


class TestTheWallClock:
    async def test_is_used_for_a_retry_after_date_without_a_date_header(
        self, connect: Connect
    ) -> None:
        later = "Sun, 06 Nov 1994 08:50:07 GMT"
        transport = ScriptedTransport([refusal(503, Retry_After=later), record()])
        ringme = connect(transport, retry=RetryPolicy(base=0))
        dispatcher = attrs.evolve(
            ringme._dispatcher, wall_clock=lambda: datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
        )

        await dispatcher.run(ringme.clients._operations.read(12, 60.0))

        first, second = transport.sent_at
        assert second - first == pytest.approx(30)

    async def test_names_the_wait_that_would_have_passed_the_deadline(
        self, connect: Connect
    ) -> None:
        ringme = connect(ScriptedTransport([refusal(503, Retry_After="100")]))

        with pytest.raises(DeadlineExceeded) as caught:
            await ringme.clients.get(12, timeout=60)

        assert caught.value.reason == (
            "the next attempt, in 100.5 s, is beyond the deadline (timeout=60 s)"
        )

    async def test_names_the_wait_for_quota_that_would_have_passed_the_deadline(
        self, connect: Connect
    ) -> None:
        ringme = connect(ScriptedTransport([told(0)]))
        await ringme.clients.get(12)

        with pytest.raises(DeadlineExceeded) as caught:
            await ringme.clients.get(12, timeout=60, on_quota="wait")

        assert caught.value.reason == (
            "the reset of the quota, in 1801.0 s, is beyond the deadline (timeout=60 s)"
        )

    async def test_says_that_the_deadline_passed(self, connect: Connect) -> None:
        with pytest.raises(DeadlineExceeded) as caught:
            await connect(ScriptedTransport([never])).clients.get(12, timeout=2.5)

        assert caught.value.reason == "the deadline passed (timeout=2.5 s)"


class TestAttempts:
    async def test_of_a_call_that_sent_nothing_are_those_of_its_login(self) -> None:
        transport = ScriptedTransport([record()], [refusal(503)])
        auth = ClientCredentials("app", "s3cret")
        async with RingMe(HERE, auth=auth, transport=transport) as ringme:
            with pytest.raises(ServerError) as caught:
                await ringme.clients.get(12)

        assert caught.value.attempts == len(transport.logins) == 4
        assert transport.requests == []

    async def test_are_counted_and_dated_in_the_state(self, connect: Connect) -> None:
        ringme = connect(ScriptedTransport([refusal(503), record()]))
        state = CallState()

        await ringme._dispatcher.run(ringme.clients._operations.read(12, 60.0), state)

        assert (state.attempts, state.sent_at) == (2, 0.5)

    @pytest.mark.parametrize(
        ("code", "maybe"),
        [(299, True), (300, False), (301, False), (408, True), (409, False), (499, False)],
    )
    async def test_of_a_change_may_be_applied_unless_the_answer_rules_it_out(
        self, connect: Connect, code: int, maybe: bool
    ) -> None:
        ringme = connect(ScriptedTransport([refusal(code)]), retry=RetryPolicy(attempts=1))

        with pytest.raises(RingMeError) as caught:
            await ringme.clients.update(12, ClientUpdate(timezone="Asia/Omsk"))

        assert caught.value.maybe_applied is maybe


class TestAnEvent:
    async def test_of_an_attempt_has_its_number(self) -> None:
        told_of: list[Event] = []
        transport = ScriptedTransport([refusal(503), record()])
        async with RingMe(
            HERE, auth=TOKEN, transport=transport, observers=[told_of.append]
        ) as ringme:
            await ringme.clients.get(12)

        sent = [event.attempt for event in told_of if isinstance(event, AttemptSent)]
        assert sent == [1, 2]

    async def test_of_a_retry_has_its_cause(self) -> None:
        told_of: list[Event] = []
        transport = ScriptedTransport([refusal(503), record()])
        async with RingMe(
            HERE, auth=TOKEN, transport=transport, observers=[told_of.append]
        ) as ringme:
            await ringme.clients.get(12)

        kinds = [event.error_type for event in told_of if isinstance(event, RetryScheduled)]
        assert kinds == ["ServerError"]

    async def test_an_error_masks_an_echoed_token(self, connect: Connect) -> None:
        echo = Response(200, {}, b'{"id": "f1xed-token", "name": "Acme"}')
        ringme = connect(ScriptedTransport([echo]))

        with pytest.raises(DecodeError) as caught:
            await ringme.clients.get(12)

        assert caught.value.field == "id"
        assert caught.value.value is None
        assert caught.value.body == b'{"id": "***", "name": "Acme"}'

    async def test_of_an_attempt_gets_the_headers_of_observers(self) -> None:
        class Trace:
            def __call__(self, event: Event) -> None:
                pass

            def headers_for(self, event: AttemptSent) -> dict[str, str]:
                return {"X-Trace": f"attempt {event.attempt}"}

        transport = ScriptedTransport([refusal(503), record()])
        async with RingMe(HERE, auth=TOKEN, transport=transport, observers=[Trace()]) as ringme:
            await ringme.clients.update(12, ClientUpdate(timezone="Asia/Omsk"))

        traces = [request.headers["x-trace"] for request in transport.requests]
        assert traces == ["attempt 1", "attempt 2"]
        assert transport.requests[1].headers["content-type"] == "application/json"
