"""Traces across services: W3C `traceparent` in metadata, spans only where an exporter is configured.

Span names are methods, attributes are codes, reasons and durations; nothing a caller sent goes into a span.
Without `otlp_endpoint` a caller's trace still passes through to the stages, and its id stands in the logs.
"""

from __future__ import annotations

import re
import threading
from contextvars import ContextVar

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags, Tracer

__all__ = ["TRACEPARENT_KEY", "Tracing", "start_client_span", "traceparent_of"]

TRACEPARENT_KEY = "traceparent"
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_tracer: ContextVar[Tracer | None] = ContextVar("interactvlm_tracer", default=None)


class Tracing:
    """Makes a process's spans.

    Args:
        service: name of the process in the traces.
        endpoint: OTLP/gRPC collector; "" records nothing.
        exporter: takes the place of the OTLP exporter (tests).
    """

    def __init__(self, service: str, endpoint: str = "", *, exporter: SpanExporter | None = None) -> None:
        self._provider: TracerProvider | None = None
        if exporter is None and endpoint:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter(endpoint=endpoint, insecure=not endpoint.startswith("https://"), timeout=5)
        if exporter is not None:
            self._provider = TracerProvider(resource=Resource.create({"service.name": service}))
            self._provider.add_span_processor(
                BatchSpanProcessor(exporter, schedule_delay_millis=1000, max_export_batch_size=128)
            )
        self._tracer = self._provider.get_tracer("interactvlm") if self._provider else None

    def serve(self, method: str, traceparent: str | None) -> Span | None:
        """Begin the span of a call being served and make it current in this task; None when there is no trace."""
        parent = _parse(traceparent)
        if self._tracer is not None:
            above = trace.set_span_in_context(NonRecordingSpan(parent)) if parent else None
            span = self._tracer.start_span(method.lstrip("/"), context=above, kind=SpanKind.SERVER)
            _tracer.set(self._tracer)
        elif parent is not None:
            span = NonRecordingSpan(parent)
        else:
            return None
        otel_context.attach(trace.set_span_in_context(span))
        return span

    def close(self, *, seconds: float = 2.0) -> None:
        """Send what is left; an unreachable collector delays the end of the process by at most `seconds`."""
        if self._provider is None:
            return
        ending = threading.Thread(target=self._provider.shutdown, name="tracing-close", daemon=True)
        ending.start()
        ending.join(seconds)


def start_client_span(method: str) -> Span | None:
    """Begin the span of an outgoing call; None when nothing is recorded here. The caller ends it."""
    tracer = _tracer.get()
    return None if tracer is None else tracer.start_span(method.lstrip("/"), kind=SpanKind.CLIENT)


def traceparent_of(span: Span | None) -> str | None:
    """`traceparent` to send along: of `span`, else of the current one; None when there is no trace."""
    found = (span or trace.get_current_span()).get_span_context()
    return _format(found) if found.is_valid else None


def _format(found: SpanContext) -> str:
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"


def _parse(traceparent: str | None) -> SpanContext | None:
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if match is None:
        return None
    found = SpanContext(
        trace_id=int(match[1], 16),
        span_id=int(match[2], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(match[3], 16)),
    )
    return found if found.is_valid else None
