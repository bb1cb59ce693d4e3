"""Spans and metrics for OpenTelemetry, made from the session's events by one hook.

    pip install opentelemetry-sdk
    python examples/opentelemetry_hook.py

Take `OpenTelemetryHook` into your own program and give it your own providers' tracer and meter. Here they
come from the SDK and are read from memory. Without a key this runs on a sandbox; with HOOX_API_KEY it
spends 4 credits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from _workspace import workspace
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, Tracer

from hoox_async import (
    Answered,
    DeliveryReceived,
    Event,
    LookAccepted,
    LookSettled,
    LookStatus,
    OutcomeLost,
    Paused,
    PromptAvatar,
    RequestSent,
    Retried,
)

Fields = Mapping[str, str | int | float | bool]


class OpenTelemetryHook:
    """One span a request and one a look, and what they cost, as metrics.

    A span is made by the event that says that something ended: no span is open in between, so none leaks when
    a process ends. Keys and refs are attributes of spans only: as labels of metrics they would have no bound.
    """

    def __init__(self, tracer: Tracer, meter: Meter) -> None:
        self._tracer = tracer
        self._requests = meter.create_histogram("hoox.request.duration", "s", "from sending to response")
        self._sent = meter.create_counter(
            "hoox.requests", "{request}", "requests that took a place in the quota"
        )
        self._looks = meter.create_histogram("hoox.look.duration", "s", "from acceptance to ready or failed")
        self._credits = meter.create_counter("hoox.credits", "{credit}", "credits of accepted looks")
        self._at_risk = meter.create_counter(
            "hoox.credits.at_risk", "{credit}", "credits that may have been paid"
        )
        self._retries = meter.create_counter("hoox.retries", "{retry}", "requests sent again")
        self._pauses = meter.create_counter("hoox.pause.duration", "s", "time in which nothing could be sent")
        self._deliveries = meter.create_counter("hoox.deliveries", "{delivery}", "webhooks with a good token")

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case RequestSent(endpoint=endpoint):
                self._sent.add(1, {"endpoint": str(endpoint)})
            case Answered():
                self._answered(event)
            case LookAccepted(credits=credits, evidence=evidence):
                self._credits.add(float(credits), {"evidence": str(evidence)})
            case LookSettled():
                self._settled(event)
            case OutcomeLost(credits=credits):
                self._at_risk.add(float(credits))
            case Retried(endpoint=endpoint, reason=reason):
                self._retries.add(1, {"endpoint": str(endpoint), "reason": reason})
            case Paused(seconds=seconds):
                self._pauses.add(seconds)
            case DeliveryReceived(status=status, used=used):
                self._deliveries.add(1, {"status": status, "used": used})

    def _answered(self, event: Answered) -> None:
        labels: Fields = {"endpoint": str(event.endpoint), "http.response.status_code": event.status}
        self._requests.record(event.seconds, labels)
        fields = {**labels, "hoox.key": event.key} if event.key else labels
        failed = event.status >= 400
        self._span(f"hoox {event.endpoint}", SpanKind.CLIENT, event.seconds, fields, failed=failed)

    def _settled(self, event: LookSettled) -> None:
        look = event.look
        self._looks.record(event.seconds or 0.0, {"status": look.status.value})
        fields: Fields = {
            "hoox.ref": str(look.ref),
            "hoox.status": look.status.value,
            "hoox.key": event.key or "",
        }
        failed = look.status is LookStatus.FAILED
        self._span("hoox look", SpanKind.INTERNAL, event.seconds or 0.0, fields, failed=failed)

    def _span(self, name: str, kind: SpanKind, seconds: float, fields: Fields, *, failed: bool) -> None:
        end = time.time_ns()
        start = end - int(seconds * 1e9)
        span = self._tracer.start_span(name, kind=kind, start_time=start, attributes=fields)
        if failed:
            span.set_status(StatusCode.ERROR)
        span.end(end)


async def main() -> None:
    """Two avatars, then what was recorded of them."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    traces, metrics = TracerProvider(), MeterProvider([reader])
    traces.add_span_processor(SimpleSpanProcessor(exporter))
    hook = OpenTelemetryHook(traces.get_tracer("hoox"), metrics.get_meter("hoox"))
    async with workspace(hooks=[hook]) as session:
        prompts = ("Young entrepreneur, confident smile", "Retired sea captain, white hair")
        await asyncio.gather(*[session.run(PromptAvatar(prompt)) for prompt in prompts])
    show(exporter, reader)
    traces.shutdown()
    metrics.shutdown()


def show(exporter: InMemorySpanExporter, reader: InMemoryMetricReader) -> None:
    """Print the spans, then the metrics."""
    for span in exporter.get_finished_spans():
        seconds = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
        print(f"{span.name:<14} {seconds:6.2f} s  {dict(span.attributes or {})}")
    data = reader.get_metrics_data()
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    value = getattr(point, "value", None) or getattr(point, "sum", 0)
                    print(f"{metric.name:<24} {value:8.2f}  {dict(point.attributes or {})}")


if __name__ == "__main__":
    asyncio.run(main())
