"""Trace a run with OpenTelemetry: one line for each span and each metric, on stdout.

Run it as ``python traced.py 1 2 3``; it needs opentelemetry-sdk beside the extra ``otel``. Host and
credentials come from the environment, as in read_one.py. In a program of yours the exporters are
those of whoever collects your traces, such as OTLP's.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

from ringme_async import RingMe
from ringme_async.observers.otel import OpenTelemetryObserver


def one_line(span: ReadableSpan) -> str:
    """Write a span as one line of JSON."""
    return json.dumps({"span": span.name, **(span.attributes or {})}) + "\n"


def set_up() -> tuple[TracerProvider, MeterProvider]:
    """Make the providers that the whole program uses."""
    traces = TracerProvider()
    traces.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(formatter=one_line)))
    trace.set_tracer_provider(traces)
    reader = PeriodicExportingMetricReader(
        ConsoleMetricExporter(formatter=lambda data: data.to_json(indent=None) + "\n")
    )
    meters = MeterProvider([reader])
    metrics.set_meter_provider(meters)
    return traces, meters


async def read(client_ids: Iterable[str]) -> bool:
    """Read clients beneath a span of this program."""
    async with RingMe.from_env(observers=[OpenTelemetryObserver()]) as ringme:
        with trace.get_tracer("traced.py").start_as_current_span("read some clients"):
            report = await ringme.clients.get_many(client_ids)
    return report.ok


def main() -> int:
    """Read, and let nothing of what was told get lost."""
    traces, meters = set_up()
    try:
        return 0 if asyncio.run(read(sys.argv[1:])) else 1
    finally:
        traces.shutdown()
        meters.shutdown()


if __name__ == "__main__":
    sys.exit(main())
