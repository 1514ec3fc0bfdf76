"""What may leave in a span: names, numbers and classes of errors. No text of users, agents, models; no traceback.

Libraries that make spans of their own write the text of exceptions into them, and ours quote what they refuse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status

KEPT: Final = ("colony.", "temporal", "http.", "messaging.", "gen_ai.")
"""How the names of attributes begin that leave; all others are left out."""

_CLASS = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}")


class Scrubbed(SpanExporter):
    """Hands spans on to `inner` without what must not leave."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`."""
        return self._inner.export([scrubbed(span) for span in spans])

    def shutdown(self) -> None:
        """See `SpanExporter`."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See `SpanExporter`."""
        return self._inner.force_flush(timeout_millis)


def scrubbed(span: ReadableSpan) -> ReadableSpan:
    """The same span with only what may leave."""
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={name: value for name, value in (span.attributes or {}).items() if name.startswith(KEPT)},
        events=[_event(event) for event in span.events if event.name == "exception"],
        links=span.links,
        kind=span.kind,
        status=_status(span.status),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _status(status: Status) -> Status:
    return Status(status.status_code, _class(status.description)) if status.description else status


def _event(event: Event) -> Event:
    found: Mapping[str, Any] = event.attributes or {}
    return Event(event.name, {"exception.type": _class(str(found.get("exception.type", "")))}, event.timestamp)


def _class(text: str | None) -> str:
    """The class with which `Class: text` begins; empty for anything else."""
    name = (text or "").partition(":")[0]
    return name if _CLASS.fullmatch(name) else ""
