"""Traces and metrics for OpenTelemetry, from the session's events and its health.

This uses OpenTelemetry's API alone. Start the processes under ``opentelemetry-instrument`` to export what it
records; without, it costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
from opentelemetry import metrics, propagate, trace
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.trace import Span, SpanKind, StatusCode

from hoox_async import (
    Answered,
    Event,
    HooxSession,
    LookAccepted,
    LookRef,
    LookSettled,
    LookStatus,
    OutcomeLost,
    Paused,
    SessionHealth,
    Trouble,
)

if TYPE_CHECKING:
    from .orders import Order, Orders

GAUGES = (
    "store_reachable", "key_refused", "unknowns", "unsettled", "oldest_unsettled", "last_poll",
    "polls_for_all", "waiting", "permit_wait", "paused",
)  # fmt: skip
EVERY = 10.0  # seconds between two readings of the gauges
MOST_LINKS = 128  # of one span: OpenTelemetry keeps no more by default
log = logging.getLogger("shop")
Fields = Mapping[str, str | int | float | bool]


class Telemetry:
    """A hook of the session. It keeps the trace of an order together, across processes.

    The request that ordered has a span; its context is stored with the order and sent along as metadata. So
    the span of a settlement belongs to the order's trace, whichever process hears of it. A status request
    serves many orders, of all processes: its span is a trace of its own, with a link to each of them. Ids are
    attributes of spans only, not of metrics.
    """

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._tracer = trace.get_tracer("shop")
        meter = metrics.get_meter("shop")
        self._requests = meter.create_histogram("hoox.request.duration", "s", "from sending to response")
        self._looks = meter.create_histogram("hoox.look.duration", "s", "from acceptance to ready or failed")
        self._credits = meter.create_counter("hoox.credits", "{credit}", "credits of accepted looks")
        self._at_risk = meter.create_counter("hoox.credits.at_risk", "{credit}", "may have been paid")
        self._paused = meter.create_counter("hoox.pause.duration", "s", "time in which nothing was sent")
        self._working: dict[str, Context] = {}  # of the orders that this process works on
        self._health: SessionHealth | None = None
        for name in GAUGES:
            meter.create_observable_gauge(f"hoox.{name}", [partial(self._gauge, name)])
        trouble = "1 while it lasts; each word is a row of the runbook"
        meter.create_observable_gauge("hoox.trouble", [self._trouble], description=trouble)

    @contextmanager
    def ordering(self) -> Iterator[str | None]:
        """A span for taking an order. Gives its context, as text to store with the order."""
        with self._tracer.start_as_current_span("take order"):
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
            yield carrier.get("traceparent")

    @contextmanager
    def work_on(self, order: Order) -> Iterator[None]:
        """A span for a worker's work on an order."""
        with self._tracer.start_as_current_span("make look", _context(order.traceparent)) as span:
            span.set_attribute("shop.order", order.id)
            self._working[order.id] = trace.set_span_in_context(span)
            try:
                yield
            finally:
                self._working.pop(order.id, None)

    def __call__(self, event: Event) -> Coroutine[Any, Any, None] | None:
        """Take one event. What this returns for a status request is run by the session, as an async hook."""
        match event:
            case Answered():
                return self._answered(event)
            case LookAccepted(credits=credits, evidence=evidence):
                self._credits.add(float(credits), {"evidence": str(evidence)})
            case LookSettled():
                self._settled(event)
            case OutcomeLost(credits=credits):
                self._at_risk.add(float(credits))
            case Paused(seconds=seconds):
                self._paused.add(seconds)
        return None

    def _answered(self, event: Answered) -> Coroutine[Any, Any, None] | None:
        fields: Fields = {"endpoint": str(event.endpoint), "http.response.status_code": event.status}
        self._requests.record(event.seconds, fields)
        end = time.time_ns()
        span = self._span(
            f"hoox {event.endpoint}",
            end - int(event.seconds * 1e9),
            self._working.get(event.key or ""),
            fields,
            failed=event.status >= 400,
        )
        if event.looks and span.is_recording():
            return self._link_orders(span, event.looks, end)
        span.end(end)
        return None

    async def _link_orders(self, span: Span, looks: tuple[LookRef, ...], end: int) -> None:
        """Link the span of a status request to the spans of the orders that it was sent for, and end it."""
        span.set_attribute("hoox.looks", len(looks))
        try:
            for traceparent in await self._orders.traceparents(looks[:MOST_LINKS]):
                span.add_link(trace.get_current_span(_context(traceparent)).get_span_context())
        finally:
            span.end(end)

    def _settled(self, event: LookSettled) -> None:
        seconds, look, end = event.seconds or 0.0, event.look, time.time_ns()
        self._looks.record(seconds, {"status": look.status.value})
        fields: Fields = {"shop.order": event.key or "", "hoox.ref": str(look.ref)}
        context = _context(event.metadata.get("traceparent"))
        failed = look.status is LookStatus.FAILED
        self._span("hoox look", end - int(seconds * 1e9), context, fields, failed=failed).end(end)

    def _span(self, name: str, start: int, context: Context | None, fields: Fields, *, failed: bool) -> Span:
        """A span that is not ended yet, in the trace of ``context`` and with a link to its span."""
        context = context or Context()
        span = self._tracer.start_span(name, context, SpanKind.CLIENT, fields, start_time=start)
        order = trace.get_current_span(context).get_span_context()
        if order.is_valid:
            span.add_link(order)
        if failed:
            span.set_status(StatusCode.ERROR)
        return span

    @asynccontextmanager
    async def gauges_of(self, session: HooxSession) -> AsyncIterator[None]:
        """Read the session's health every few seconds, for the gauges, and log what is wrong."""
        reading = asyncio.create_task(self._read(session))
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.wait((reading,))

    async def _read(self, session: HooxSession) -> None:
        while True:
            known = frozenset() if self._health is None else self._health.trouble
            self._health = await session.health()
            log_changes(known, self._health.trouble)
            await asyncio.sleep(EVERY)

    def _gauge(self, name: str, _: CallbackOptions) -> list[Observation]:
        value = None if self._health is None else attrs.asdict(self._health)[name]
        return [] if value is None else [Observation(float(value))]

    def _trouble(self, _: CallbackOptions) -> list[Observation]:
        present = frozenset() if self._health is None else self._health.trouble
        return [Observation(int(word in present), {"trouble": word.value}) for word in Trouble]


def log_changes(before: frozenset[Trouble], now: frozenset[Trouble]) -> None:
    """Log each trouble once when it begins and once when it is over."""
    for word in sorted(now - before):
        log.error("trouble: %s (see the runbook)", word)
    for word in sorted(before - now):
        log.warning("trouble is over: %s", word)


def _context(traceparent: str | None) -> Context | None:
    return propagate.extract({"traceparent": traceparent}) if traceparent else None
