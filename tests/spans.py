"""Spans of tests, kept in memory as they would have left the process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from colony.telemetry.otel import OtelTracer, tracer_into
from colony.telemetry.scrub import Scrubbed


class Spans:
    """A tracer and what it wrote."""

    def __init__(self, service: str = "test", ratio: float | None = None) -> None:
        self._kept = InMemorySpanExporter()
        self.tracer: OtelTracer = tracer_into(SimpleSpanProcessor(Scrubbed(self._kept)), service, ratio)

    @property
    def all(self) -> list[ReadableSpan]:
        return list(self._kept.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        found = self.named(name)
        assert len(found) == 1, [span.name for span in self.all]
        return found[0]


def span_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


def trace_id(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def below(span: ReadableSpan, above: ReadableSpan) -> bool:
    return span.parent is not None and span.parent.span_id == span_id(above) and trace_id(span) == trace_id(above)


def facts(span: ReadableSpan) -> Mapping[str, Any]:
    return span.attributes or {}
