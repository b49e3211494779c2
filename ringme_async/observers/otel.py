"""Reports the SDK's events to OpenTelemetry: spans, metrics, and trace context in headers.

It needs the extra ``otel``, which is OpenTelemetry's API alone. It does nothing unless the program
installs and sets up an OpenTelemetry SDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Token

from attrs import define, field

from ringme_async import (
    AttemptEnded,
    AttemptSent,
    CallEnded,
    CallStarted,
    Event,
    Parked,
    RetryScheduled,
    TokenFetched,
    Woken,
    __version__,
)
from ringme_async.observers.semconv import BUCKETS, SCHEMA_URL, Target, method_of, template_of

try:
    from opentelemetry import context, metrics, trace
    from opentelemetry.context import Context
    from opentelemetry.propagators.textmap import Setter, TextMapPropagator
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ModuleNotFoundError as _missing:
    raise ImportError(
        "OpenTelemetry's API is not installed; install it with: pip install 'ringme-async[otel]'"
    ) from _missing

__all__ = ["OpenTelemetryObserver"]

_ATTEMPT_FAILED = 400
_W3C = TraceContextTextMapPropagator()


@define(eq=False)
class _ActiveSpan:
    """A started span, the current one of its task."""

    span: Span
    context: Context
    _token: Token[Context] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._token = context.attach(self.context)

    def end(self, error_type: str | None, description: str | None = None) -> None:
        context.detach(self._token)
        if error_type is not None:
            self.span.set_attribute("error.type", error_type)
            self.span.set_status(Status(StatusCode.ERROR, description))
        self.span.end()


@define(eq=False)
class _Call:
    """The spans and target of a call in flight."""

    active: _ActiveSpan
    attempt: _ActiveSpan | None = None
    target: Target | None = None


class _DictSetter(Setter[dict[str, str]]):
    def set(self, carrier: dict[str, str], key: str, value: str) -> None:
        carrier[key] = value


_DICT_SETTER = _DictSetter()


class OpenTelemetryObserver:
    """Creates spans and metrics by OpenTelemetry's semantic conventions for HTTP clients.

    Each call has a span under the caller's current span, and each attempt has a CLIENT span under
    the call's. Each request carries the trace context of its attempt.

    The metrics are ``http.client.request.duration`` in seconds, and the counters
    ``ringme.client.retries``, ``ringme.client.parks`` and ``ringme.client.tokens``. Spans have the
    client's id as an attribute; metrics never do.

    Args:
        tracer_provider: Creates the spans; default the global one.
        meter_provider: Creates the metrics; default the global one.
        propagator: Writes the trace context into the headers of each attempt. The default writes
            W3C's ``traceparent`` and ``tracestate``, and no baggage, as the server is another
            company's. None writes nothing.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        propagator: TextMapPropagator | None = _W3C,
    ) -> None:
        self._propagator = propagator
        self._calls: dict[int, _Call] = {}
        self._tracer = trace.get_tracer(
            "ringme_async", __version__, tracer_provider, schema_url=SCHEMA_URL
        )
        meter = metrics.get_meter(
            "ringme_async", __version__, meter_provider, schema_url=SCHEMA_URL
        )
        self._duration = meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self._retries = meter.create_counter(
            "ringme.client.retries", unit="{retry}", description="Attempts that are repeated."
        )
        self._parks = meter.create_counter(
            "ringme.client.parks", unit="{park}", description="Waits for an hourly quota."
        )
        self._tokens = meter.create_counter(
            "ringme.client.tokens", unit="{token}", description="Tokens that were fetched."
        )

    def __call__(self, event: Event) -> None:
        """Handle one event."""
        match event:
            case CallStarted():
                self._start_call(event)
            case AttemptSent():
                self._start_attempt(event)
            case AttemptEnded():
                self._end_attempt(event)
            case RetryScheduled(call=call, delay=delay, error_type=error_type):
                self._retries.add(1, {"error.type": error_type})
                self._add_event(call, "retry", {"ringme.delay": delay, "error.type": error_type})
            case Parked(call=call, delay=delay):
                self._parks.add(1)
                self._add_event(call, "parked", {"ringme.delay": delay})
            case Woken(call=call):
                self._add_event(call, "woken", {})
            case TokenFetched(host=host, grant=grant):
                address = Target.of(f"//{host}", None).address
                self._tokens.add(1, {"server.address": address, "ringme.grant": grant})
            case _:
                self._end_call(event)

    def headers_for(self, event: AttemptSent) -> Mapping[str, str]:
        """Return the trace context of an attempt."""
        carrier: dict[str, str] = {}
        call = self._calls.get(event.call)
        if self._propagator is not None and call is not None and call.attempt is not None:
            self._propagator.inject(carrier, call.attempt.context, _DICT_SETTER)
        return carrier

    def _start_call(self, event: CallStarted) -> None:
        template = template_of(event.path, event.client_id)
        name = " ".join(word for word in ("ringme", event.method, template) if word)
        self._calls[event.call] = _Call(
            self._start_span(name, SpanKind.INTERNAL, _client_attributes(event))
        )

    def _start_attempt(self, event: AttemptSent) -> None:
        call = self._calls.get(event.call)
        if call is None:
            return
        target = call.target = Target.of(event.url, event.client_id)
        method = method_of(event.method)
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "url.full": event.url,
            **target.server,
            **_client_attributes(event),
        }
        if method != event.method:
            attributes["http.request.method_original"] = event.method
        if target.template is not None:
            attributes["url.template"] = target.template
        if event.attempt > 1:
            attributes["http.request.resend_count"] = event.attempt - 1
        verb = "HTTP" if method == "_OTHER" else method
        name = verb if target.template is None else f"{verb} {target.template}"
        call.attempt = self._start_span(name, SpanKind.CLIENT, attributes)

    def _end_attempt(self, event: AttemptEnded) -> None:
        call = self._calls.get(event.call)
        if call is None or call.attempt is None or call.target is None:
            return
        attempt, call.attempt = call.attempt, None
        error_type = event.error_type
        attributes: dict[str, str | int] = {
            "http.request.method": method_of(event.method),
            **call.target.server,
        }
        if event.status_code is not None:
            attributes["http.response.status_code"] = event.status_code
            attempt.span.set_attribute("http.response.status_code", event.status_code)
            if event.status_code >= _ATTEMPT_FAILED:
                error_type = str(event.status_code)
        if error_type is not None:
            attributes["error.type"] = error_type
        self._duration.record(event.seconds, attributes, attempt.context)
        attempt.end(error_type)

    def _end_call(self, event: CallEnded) -> None:
        call = self._calls.pop(event.call, None)
        if call is None:
            return
        call.active.span.set_attribute("ringme.attempts", event.attempts)
        call.active.end(event.error_type, event.error_type)

    def _start_span(
        self, name: str, kind: SpanKind, attributes: Mapping[str, str | int]
    ) -> _ActiveSpan:
        """Start a span under the current one, and make it the current one."""
        span = self._tracer.start_span(name, kind=kind, attributes=attributes)
        return _ActiveSpan(span, trace.set_span_in_context(span))

    def _add_event(
        self, number: int | None, name: str, attributes: Mapping[str, str | float]
    ) -> None:
        call = None if number is None else self._calls.get(number)
        if call is not None:
            call.active.span.add_event(name, attributes)


def _client_attributes(event: CallStarted | AttemptSent) -> dict[str, str | int]:
    return {} if event.client_id is None else {"ringme.client_id": event.client_id}


def __dir__() -> list[str]:
    return sorted(__all__)
