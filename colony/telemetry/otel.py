"""Spans by OpenTelemetry's SDK, sent by OTLP over HTTP from a thread with a bounded queue."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final

import structlog
from opentelemetry import context as otel_context
from opentelemetry import trace as otel
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, TraceIdRatioBased

from colony.config.telemetry import TelemetryConfig
from colony.errors import BadInput, NotFound
from colony.telemetry.context import SpanName, kept_trace, parse
from colony.telemetry.port import NO_FACTS, Fact, Kind, Span
from colony.telemetry.scrub import Scrubbed

CLOSE_SECONDS: Final = 2.0
"""Longest wait for the last spans to leave when a process ends."""

GIVE_UP_SECONDS: Final = 1.0
"""Longest wait for the sending thread to end once it was told to give up."""

SEND_SECONDS: Final = 10.0
"""Longest one export may take in its thread, tries included; spans that come meanwhile wait in a bounded queue."""

_LIMITS: Final = SpanLimits(max_span_attributes=32, max_events=4, max_links=4, max_attribute_length=256)
_KINDS: Final[Mapping[Kind, otel.SpanKind]] = {
    "internal": otel.SpanKind.INTERNAL,
    "server": otel.SpanKind.SERVER,
    "client": otel.SpanKind.CLIENT,
    "producer": otel.SpanKind.PRODUCER,
    "consumer": otel.SpanKind.CONSUMER,
}
_wanted: ContextVar[SpanName | None] = ContextVar("wanted_span", default=None)


class _Ids(RandomIdGenerator):
    """Random ids, but for a span that has its name already."""

    def generate_span_id(self) -> int:
        wanted = _wanted.get()
        return super().generate_span_id() if wanted is None else int(wanted.span_id, 16)

    def generate_trace_id(self) -> int:
        wanted = _wanted.get()
        return super().generate_trace_id() if wanted is None else int(wanted.trace_id, 16)


class OtelSpan:
    """See `Span`."""

    def __init__(self, span: otel.Span) -> None:
        self._span = span
        self.trace = traceparent_of(span)

    def note(self, facts: Mapping[str, Fact]) -> None:
        """See `Span`."""
        self._span.set_attributes(facts)

    def rename(self, name: str) -> None:
        """See `Span`."""
        self._span.update_name(name)

    def fail(self, error: str) -> None:
        """See `Span`."""
        self._span.set_status(otel.Status(otel.StatusCode.ERROR, error))

    def end(self) -> None:
        """See `Span`."""
        self._span.end()


class OtelTracer:
    """See `Tracer`. `otel` is the same for libraries that make spans of their own."""

    on = True

    def __init__(self, provider: TracerProvider, give_up: Callable[[], None] | None = None) -> None:
        """`give_up` ends an attempt to send that is under way."""
        self._provider = provider
        self._give_up = give_up
        self.otel = provider.get_tracer("colony")

    def current(self) -> str:
        """See `Tracer`."""
        return traceparent_of(otel.get_current_span())

    @contextmanager
    def span(
        self, name: str, *, parent: str = "", kind: Kind = "internal", facts: Mapping[str, Fact] = NO_FACTS
    ) -> Generator[Span]:
        """See `Tracer`."""
        span = self._started(name, parent, kind, facts)
        made = OtelSpan(span)
        with (
            otel.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False),
            named_in_logs(made.trace),
        ):
            try:
                yield made
            except asyncio.CancelledError:
                span.set_attribute("colony.cancelled", True)
                raise
            except BaseException as error:
                made.fail(type(error).__name__)
                raise

    def begin(
        self, name: str, *, parent: str = "", kind: Kind = "internal", facts: Mapping[str, Fact] = NO_FACTS
    ) -> Span:
        """See `Tracer`."""
        return OtelSpan(self._started(name, parent, kind, facts))

    def _started(self, name: str, parent: str, kind: Kind, facts: Mapping[str, Fact]) -> otel.Span:
        around = context_of(parent) if parent else None
        return self.otel.start_span(name, around, kind=_KINDS[kind], attributes=dict(facts))

    @contextmanager
    def within(self, trace: str) -> Generator[None]:
        """See `Tracer`."""
        token = otel_context.attach(context_of(trace))
        try:
            yield
        finally:
            otel_context.detach(token)

    def record(
        self,
        name: str,
        own: SpanName,
        parent: str,
        times: tuple[int, int],
        *,
        facts: Mapping[str, Fact] = NO_FACTS,
        error: str = "",
    ) -> None:
        """Write a span that is over and has its name already; `times` are nanoseconds of the wall clock.

        Whoever computes the same name twice writes the same span twice, which hurts nobody.
        """
        token = _wanted.set(own)
        try:
            around = context_of(parent) if parent else otel_context.Context()
            span = self.otel.start_span(name, around, attributes=dict(facts), start_time=times[0])
        finally:
            _wanted.reset(token)
        if error:
            span.set_status(otel.Status(otel.StatusCode.ERROR, error))
        span.end(end_time=times[1])

    def keeps(self, trace_id: str) -> bool:
        """Whether a trace of this id that begins here is kept."""
        found = self._provider.sampler.should_sample(None, int(trace_id, 16), "job")
        return found.decision is Decision.RECORD_AND_SAMPLE

    async def aclose(self) -> None:
        """Send what is left, for at most two seconds; then the attempts end, and their thread with them."""
        # The SDK itself waits half a minute for a collector that is away.
        ending = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, CLOSE_SECONDS)
        if ending.is_alive() and self._give_up is not None:
            self._give_up()
            await asyncio.to_thread(ending.join, GIVE_UP_SECONDS)


def traceparent_of(span: otel.Span) -> str:
    """`traceparent` of a span; empty for the one that stands for none."""
    found = span.get_span_context()
    if not found.is_valid:
        return ""
    return str(SpanName(f"{found.trace_id:032x}", f"{found.span_id:016x}", found.trace_flags.sampled))


def context_of(traceparent: str) -> otel_context.Context:
    """A context in which the named span is the current one; an empty one for no valid `traceparent`."""
    found = parse(traceparent)
    if found is None:
        return otel_context.Context()
    flags = otel.TraceFlags(otel.TraceFlags.SAMPLED if found.sampled else otel.TraceFlags.DEFAULT)
    context = otel.SpanContext(int(found.trace_id, 16), int(found.span_id, 16), is_remote=True, trace_flags=flags)
    return otel.set_span_in_context(otel.NonRecordingSpan(context), otel_context.Context())


@contextmanager
def named_in_logs(traceparent: str) -> Generator[None]:
    """Log lines in the block hold `trace_id`, where the trace is kept."""
    trace_id = kept_trace(traceparent)
    if not trace_id:
        yield
        return
    with structlog.contextvars.bound_contextvars(trace_id=trace_id):
        yield


def exporting_tracer(config: TelemetryConfig, service: str, folder: Path) -> OtelTracer:
    """A tracer that sends to the collector of the configuration, else to that of `OTEL_*`.

    Raises `NotFound`, `BadInput` for the file of the headers; `BadInput` for `OTEL_*` that the SDK cannot use.
    """
    headers = read_headers(folder / config.headers_file) if config.headers_file else None
    try:
        exporter = OTLPSpanExporter(
            endpoint=f"{config.endpoint.removesuffix('/v1/traces')}/v1/traces" if config.endpoint else None,
            headers=headers,
            timeout=None if "OTEL_EXPORTER_OTLP_TIMEOUT" in os.environ else SEND_SECONDS,
        )
        processor = BatchSpanProcessor(Scrubbed(exporter))
        return tracer_into(processor, service, config.sample_ratio, give_up=exporter.shutdown)
    except (ValueError, TypeError) as error:
        said = str(error)[:200].rstrip(".")
        raise BadInput(
            f"OpenTelemetry refuses its settings: {said}.", remedy="Look at the variables OTEL_*."
        ) from error


def tracer_into(
    processor: SpanProcessor,
    service: str,
    ratio: float | None = None,
    *,
    give_up: Callable[[], None] | None = None,
) -> OtelTracer:
    """A tracer that hands what it makes to `processor`. Not the global one: no other library writes into it."""
    own = {"service.name": f"colony-{service}", "service.namespace": "colony", "process.pid": os.getpid()}
    provider = TracerProvider(
        sampler=_sampler(ratio),
        resource=Resource.create(own).merge(OTELResourceDetector().detect()),
        shutdown_on_exit=False,  # it would hold up the end of the process; see `aclose`
        id_generator=_Ids(),
        span_limits=_LIMITS,
    )
    provider.add_span_processor(processor)
    return OtelTracer(provider, give_up)


def _sampler(ratio: float | None) -> Sampler | None:
    """None: what `OTEL_TRACES_SAMPLER` says."""
    return None if ratio is None else ParentBased(TraceIdRatioBased(ratio))


def read_headers(path: Path) -> dict[str, str]:
    """Headers from a file, one `name: value` on each line. Raises `NotFound`, `BadInput`; the text is not repeated."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        raise NotFound(f"The file {path} with headers for the collector is missing.") from None
    except (UnicodeDecodeError, OSError) as error:
        raise BadInput(f"The file {path} cannot be read ({type(error).__name__}).") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        name, separator, value = line.partition(":")
        if not line.strip():
            continue
        if not separator or not name.strip() or not value.strip():
            raise BadInput(f"Line {number} of {path} is no header.", remedy="Write `name: value` on each line.")
        found[name.strip()] = value.strip()
    return found
