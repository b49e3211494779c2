"""Spans and metrics as OpenTelemetry's own SDK records them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from opentelemetry import baggage, context, propagate
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from ringme_async import (
    AttemptEnded,
    AttemptSent,
    BearerToken,
    CallEnded,
    ConnectError,
    Parked,
    Request,
    Response,
    RingMe,
    RingMeError,
)
from ringme_async.observers.otel import OpenTelemetryObserver
from ringme_async.observers.semconv import BUCKETS
from ringme_async.testing import FakeRingMe, faults
from tests.observers.world import make_fake, observed
from tests.scripted import Answer, ScriptedTransport, never, record, refusal

pytestmark = pytest.mark.jumping


def points(metric: Any) -> list[Any]:
    return list(metric.data.data_points)


@define
class Telemetry:
    """An OpenTelemetry SDK that keeps spans and metrics in memory."""

    exporter: InMemorySpanExporter = field(factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(factory=InMemoryMetricReader)
    traces: TracerProvider = field(factory=TracerProvider)
    metrics: MeterProvider = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.traces.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.metrics = MeterProvider([self.reader])

    def observer(self, **settings: Any) -> OpenTelemetryObserver:
        return OpenTelemetryObserver(
            tracer_provider=self.traces, meter_provider=self.metrics, **settings
        )

    def spans(self, kind: SpanKind | None = None) -> list[ReadableSpan]:
        spans = self.exporter.get_finished_spans()
        return [span for span in spans if kind is None or span.kind is kind]

    def call(self) -> ReadableSpan:
        (span,) = self.spans(SpanKind.INTERNAL)
        return span

    def points(self, name: str) -> list[Any]:
        return [point for metric in self._read() if metric.name == name for point in points(metric)]

    def all_points(self) -> list[Any]:
        return [point for metric in self._read() for point in points(metric)]

    def _read(self) -> list[Any]:
        data = self.reader.get_metrics_data()
        if data is None:
            return []
        return [
            metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]

    def counted(self, name: str) -> list[tuple[dict[str, object], int]]:
        return [(dict(point.attributes), point.value) for point in self.points(name)]


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    yield telemetry
    telemetry.traces.shutdown()
    telemetry.metrics.shutdown()


def scripted(telemetry: Telemetry, *script: Answer, url: str = "https://pbx.example.com") -> RingMe:
    return RingMe(
        url,
        auth=BearerToken("t0ken"),
        transport=ScriptedTransport(list(script)),
        observers=[telemetry.observer()],
    )


class TestSpans:
    async def test_of_a_call_and_of_its_attempt_follow_the_conventions(
        self, telemetry: Telemetry
    ) -> None:
        async with scripted(telemetry, record()) as ringme:
            await ringme.clients.get(12)

        attempt, call = telemetry.spans()
        assert call.name == "ringme GET /client/{client_id}/client/"
        assert call.kind is SpanKind.INTERNAL
        assert dict(call.attributes or {}) == {"ringme.client_id": "12", "ringme.attempts": 1}
        assert call.status.status_code is StatusCode.UNSET
        assert attempt.name == "GET /api/ver1.0/client/{client_id}/client/"
        assert attempt.kind is SpanKind.CLIENT
        assert dict(attempt.attributes or {}) == {
            "http.request.method": "GET",
            "http.response.status_code": 200,
            "ringme.client_id": "12",
            "server.address": "pbx.example.com",
            "server.port": 443,
            "url.full": "https://pbx.example.com/api/ver1.0/client/12/client/",
            "url.template": "/api/ver1.0/client/{client_id}/client/",
        }
        assert attempt.status.status_code is StatusCode.UNSET
        assert attempt.parent is not None
        assert call.context is not None
        assert attempt.parent.span_id == call.context.span_id
        assert call.parent is None
        scope = attempt.instrumentation_scope
        assert scope is not None
        assert scope.name == "ringme_async"

    async def test_of_the_rest_of_the_api_hold_no_query(self, telemetry: Telemetry) -> None:
        async with scripted(telemetry, record(), url="http://[::1]:8080") as ringme:
            await ringme.request("GET", "/client/@me/extension/", params={"q": "private"})

        attempt, call = telemetry.spans()
        assert (call.name, attempt.name) == ("ringme GET", "GET")
        attributes = dict(attempt.attributes or {})
        assert attributes["url.full"] == "http://[::1]:8080/api/ver1.0/client/@me/extension/"
        assert (attributes["server.address"], attributes["server.port"]) == ("::1", 8080)
        assert "url.template" not in attributes

    async def test_of_a_method_that_the_conventions_do_not_know(self, telemetry: Telemetry) -> None:
        async with scripted(telemetry, record()) as ringme:
            await ringme.request("PURGE", "/cache/")

        attempt, _ = telemetry.spans()
        assert attempt.name == "HTTP"
        assert attempt.attributes is not None
        assert attempt.attributes["http.request.method"] == "_OTHER"
        assert attempt.attributes["http.request.method_original"] == "PURGE"

    async def test_of_attempts_count_how_often_a_request_was_sent_again(
        self, telemetry: Telemetry
    ) -> None:
        async with scripted(telemetry, refusal(503), refusal(500), record()) as ringme:
            await ringme.clients.get(12)

        first, second, third = telemetry.spans(SpanKind.CLIENT)
        resent = "http.request.resend_count"
        assert resent not in (first.attributes or {})
        assert (second.attributes or {})[resent] == 1
        assert (third.attributes or {})[resent] == 2
        assert [(span.attributes or {}).get("error.type") for span in (first, second, third)] == [
            "503",
            "500",
            None,
        ]
        assert first.status.status_code is StatusCode.ERROR
        assert first.status.description is None
        call = telemetry.call()
        assert call.status.status_code is StatusCode.UNSET
        assert [event.name for event in call.events] == ["retry", "retry"]

    async def test_of_a_failed_call_have_its_error(self, telemetry: Telemetry) -> None:
        async with scripted(telemetry, refusal(404, "client_not_found")) as ringme:
            with pytest.raises(RingMeError):
                await ringme.clients.get(12)

        attempt, call = telemetry.spans()
        assert (attempt.attributes or {})["error.type"] == "404"
        assert (call.attributes or {})["error.type"] == "ClientNotFound"
        assert call.status.status_code is StatusCode.ERROR
        assert call.status.description == "ClientNotFound"

    async def test_of_an_attempt_without_an_answer_name_the_error(
        self, telemetry: Telemetry
    ) -> None:
        async with scripted(telemetry, ConnectError("refused"), record()) as ringme:
            await ringme.clients.get(12)

        failed, _ = telemetry.spans(SpanKind.CLIENT)
        assert (failed.attributes or {})["error.type"] == "ConnectError"
        assert "http.response.status_code" not in (failed.attributes or {})
        assert failed.status.status_code is StatusCode.ERROR

    async def test_of_an_unreadable_answer_name_the_error(self, telemetry: Telemetry) -> None:
        async with scripted(telemetry, Response(200, {}, b"<html>")) as ringme:
            with pytest.raises(RingMeError):
                await ringme.clients.get(12)

        attempt = telemetry.spans(SpanKind.CLIENT)[0]
        assert (attempt.attributes or {})["http.response.status_code"] == 200
        assert (attempt.attributes or {})["error.type"] == "DecodeError"

    async def test_of_a_cancelled_call_are_ended(self, telemetry: Telemetry) -> None:
        async with scripted(telemetry, never) as ringme:
            call = asyncio.ensure_future(ringme.clients.get(12))
            await asyncio.sleep(1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

        assert [(span.attributes or {})["error.type"] for span in telemetry.spans()] == [
            "CancelledError",
            "CancelledError",
        ]

    async def test_of_a_parked_call_record_the_wait(self, telemetry: Telemetry) -> None:
        async with observed(make_fake(ceiling=1), telemetry.observer()) as ringme:
            await ringme.clients.get(1)
            await ringme.clients.get(2, on_quota="wait", timeout=7200)

        _, call = telemetry.spans(SpanKind.INTERNAL)
        assert [event.name for event in call.events] == ["parked", "woken"]


class TestNesting:
    async def test_concurrent_calls_are_children_of_the_users_spans(
        self, telemetry: Telemetry
    ) -> None:
        tracer = telemetry.traces.get_tracer("user")

        async def read(ringme: RingMe, number: int) -> None:
            with tracer.start_as_current_span(f"user {number}"):
                await ringme.clients.get(number)

        async with observed(make_fake(20, latency=0.1), telemetry.observer()) as ringme:
            await asyncio.gather(*(read(ringme, number) for number in range(1, 21)))

        spans = {span.context.span_id: span for span in telemetry.spans() if span.context}
        for attempt in telemetry.spans(SpanKind.CLIENT):
            assert attempt.parent is not None
            call = spans[attempt.parent.span_id]
            assert call.parent is not None
            user = spans[call.parent.span_id]
            number = (attempt.attributes or {})["ringme.client_id"]
            assert (call.attributes or {})["ringme.client_id"] == number
            assert user.name == f"user {number}"
        assert len(telemetry.spans(SpanKind.CLIENT)) == 20

    async def test_the_calls_of_a_bulk_run_are_children_of_the_span_that_started_it(
        self, telemetry: Telemetry
    ) -> None:
        fake = make_fake(30, latency=lambda random: random.uniform(0.01, 0.2))
        fake.faults.random(seed=7, status=0.1, busy=0.1)
        tracer = telemetry.traces.get_tracer("user")
        async with observed(fake, telemetry.observer()) as ringme:
            with tracer.start_as_current_span("nightly") as nightly:
                await ringme.clients.get_many(range(1, 31), concurrency=8)

        calls = [span for span in telemetry.spans(SpanKind.INTERNAL) if span.name != "nightly"]
        own = {span.context.span_id: span for span in calls if span.context}
        assert len(calls) == 30
        for call in calls:
            assert call.parent is not None
            assert call.parent.span_id == nightly.get_span_context().span_id
        for attempt in telemetry.spans(SpanKind.CLIENT):
            assert attempt.parent is not None
            call = own[attempt.parent.span_id]
            assert (call.attributes or {})["ringme.client_id"] == (attempt.attributes or {})[
                "ringme.client_id"
            ]

    async def test_the_attempt_is_the_current_span_while_it_is_sent_and_not_after(
        self, telemetry: Telemetry
    ) -> None:
        current: list[int] = []

        async def respond(request: Request) -> Response:
            current.append(get_current_span().get_span_context().span_id)
            return record()

        async with scripted(telemetry, respond) as ringme:
            await ringme.clients.get(12)

        (attempt,) = telemetry.spans(SpanKind.CLIENT)
        assert attempt.context is not None
        assert current == [attempt.context.span_id]
        assert not get_current_span().get_span_context().is_valid

    async def test_the_caller_finds_its_own_span_again_after_a_failure(
        self, telemetry: Telemetry
    ) -> None:
        tracer = telemetry.traces.get_tracer("user")
        async with scripted(telemetry, refusal(404)) as ringme:
            with tracer.start_as_current_span("mine") as mine:
                with pytest.raises(RingMeError):
                    await ringme.clients.get(12)
                assert get_current_span() is mine


class TestPropagation:
    async def sent(self, observer: OpenTelemetryObserver) -> list[Request]:
        transport = ScriptedTransport([refusal(503), record()])
        async with RingMe(
            "https://pbx.example.com",
            auth=BearerToken("t0ken"),
            transport=transport,
            observers=[observer],
        ) as ringme:
            await ringme.clients.get(12)
        return transport.requests

    async def test_each_attempt_carries_its_own_trace_context(self, telemetry: Telemetry) -> None:
        requests = await self.sent(telemetry.observer())

        for request, span in zip(requests, telemetry.spans(SpanKind.CLIENT), strict=True):
            assert span.context is not None
            trace_id, span_id = span.context.trace_id, span.context.span_id
            assert f"00-{trace_id:032x}-{span_id:016x}-" in request.headers["traceparent"]

    async def test_baggage_is_not_sent_unless_configured(self, telemetry: Telemetry) -> None:
        token = context.attach(baggage.set_baggage("order", "17"))
        try:
            plain, _ = await self.sent(telemetry.observer())
            asked = telemetry.observer(propagator=propagate.get_global_textmap())
            laden, _ = await self.sent(asked)
        finally:
            context.detach(token)

        assert "baggage" not in plain.headers
        assert laden.headers["baggage"] == "order=17"
        assert "traceparent" in laden.headers

    async def test_propagator_none_writes_no_headers(self, telemetry: Telemetry) -> None:
        requests = await self.sent(telemetry.observer(propagator=None))

        assert all("traceparent" not in request.headers for request in requests)


class TestMetrics:
    async def test_time_each_attempt_in_seconds_by_the_conventions(
        self, telemetry: Telemetry
    ) -> None:
        async with scripted(telemetry, refusal(503), record()) as ringme:
            await ringme.clients.get(12)

        points = telemetry.points("http.client.request.duration")
        server = {"server.address": "pbx.example.com", "server.port": 443}
        attribute_sets = [dict(point.attributes) for point in points]
        assert sorted(attribute_sets, key=len) == [
            {"http.request.method": "GET", "http.response.status_code": 200, **server},
            {
                "error.type": "503",
                "http.request.method": "GET",
                "http.response.status_code": 503,
                **server,
            },
        ]
        assert [point.count for point in points] == [1, 1]
        assert {tuple(point.explicit_bounds) for point in points} == {BUCKETS}

    async def test_count_retries_parks_and_logins(self, telemetry: Telemetry) -> None:
        fake = make_fake(4, ceiling=3)
        fake.faults.next(faults.ServerError(503))
        async with observed(fake, telemetry.observer()) as ringme:
            await ringme.clients.get_many([1, 2, 3, 4], concurrency=1)

        host = fake.base_url.partition("://")[2]
        assert telemetry.counted("ringme.client.retries") == [({"error.type": "ServerError"}, 1)]
        assert telemetry.counted("ringme.client.parks") == [({}, 1)]
        ((attributes, logins),) = telemetry.counted("ringme.client.tokens")
        assert attributes == {"server.address": host, "ringme.grant": "client_credentials"}
        assert logins == fake.logins

    async def test_never_hold_a_tenants_id(self, telemetry: Telemetry) -> None:
        fake = FakeRingMe(ceiling=50)
        fake.add_tenants(8, first_id=91000)
        fake.add_dealer("app-id", "app-secret", ceiling=5)
        fake.faults.next(faults.ServerError(503))
        async with observed(fake, telemetry.observer()) as ringme:
            await ringme.clients.get_many([*range(91000, 91008), 91999])

        attribute_sets = [point.attributes for point in telemetry.all_points()]
        values = {str(value) for attributes in attribute_sets for value in attributes.values()}
        assert len(attribute_sets) > 4
        assert not [value for value in values if "910" in value]
        assert {key for attributes in attribute_sets for key in attributes} <= {
            "error.type",
            "http.request.method",
            "http.response.status_code",
            "ringme.grant",
            "server.address",
            "server.port",
        }
        counts = Counter(span.name for span in telemetry.spans())
        assert len(counts) == 2


class TestByItself:
    def test_calls_started_before_the_observer_are_left_alone(self, telemetry: Telemetry) -> None:
        observer = telemetry.observer()
        sent = AttemptSent(1, "GET", "/", "a", 1, None, "https://a/")

        observer(sent)
        observer(AttemptEnded(1, "GET", "/", "a", 1, 0.1, 200, None))
        observer(CallEnded(1, "GET", "/", None, 1, 0.1, None))
        observer(Parked(None, 1.0, 1))

        assert observer.headers_for(sent) == {}
        assert telemetry.spans() == []

    async def test_without_an_opentelemetry_sdk_calls_work_and_send_no_trace_headers(self) -> None:
        transport = ScriptedTransport([record()])
        async with RingMe(
            "https://pbx.example.com",
            auth=BearerToken("t0ken"),
            transport=transport,
            observers=[OpenTelemetryObserver()],
        ) as ringme:
            assert (await ringme.clients.get(12)).id == 12

        assert "traceparent" not in transport.requests[0].headers

    def test_a_missing_extra_is_told_in_one_line(self) -> None:
        program = (
            "import sys\n"
            "sys.modules['opentelemetry'] = None\n"
            "import ringme_async.observers\n"
            "try:\n"
            "    import ringme_async.observers.otel\n"
            "except ImportError as error:\n"
            "    print(error)\n"
        )
        said = subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
        ).stdout

        assert said.strip().endswith("install it with: pip install 'ringme-async[otel]'")
