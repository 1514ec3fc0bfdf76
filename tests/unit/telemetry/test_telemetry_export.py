"""What leaves a process, and that nothing waits for it."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import ValidationError

from colony.config.telemetry import TelemetryConfig
from colony.errors import BadInput, NotFound
from colony.telemetry import otel
from colony.telemetry.context import parse
from colony.telemetry.open import open_tracer
from colony.telemetry.otel import read_headers, tracer_into
from colony.telemetry.port import OFF
from tests.eventually import assert_eventually
from tests.servers.collector import collecting
from tests.spans import Spans, below, facts, span_id, trace_id

SECRET = "sk-do-not-show"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SERVICE_NAME", "OTEL_TRACES_SAMPLER", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)


async def test_off_by_default_and_by_the_usual_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with open_tracer(TelemetryConfig(), "worker", str(tmp_path)) as tracer:
        assert tracer is OFF
        with tracer.span("anything") as span:
            assert (span.trace, tracer.current(), tracer.begin("x").trace) == ("", "", "")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    async with open_tracer(TelemetryConfig(enabled=True), "worker", str(tmp_path)) as tracer:
        assert tracer is OFF


async def test_spans_arrive_with_the_headers_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"authorization: Bearer {SECRET}\n\nx-team: a\n")
    with collecting() as collector:
        config = TelemetryConfig(enabled=True, endpoint=collector.url, headers_file="key")
        async with open_tracer(config, "worker", str(tmp_path)) as tracer:
            with tracer.span("above", facts={"colony.job": 7}), tracer.span("below"):
                pass
        above, inner = collector.named("above")[0], collector.named("below")[0]
    assert (above.service, above.facts) == ("colony-worker", {"colony.job": 7})
    assert collector.parent(inner) == above
    assert collector.headers[0]["authorization"] == f"Bearer {SECRET}"
    assert collector.headers[0]["x-team"] == "a"
    assert all(SECRET.encode() not in body for body in collector.bodies)


async def test_the_usual_variables_say_what_the_configuration_leaves_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
        async with open_tracer(TelemetryConfig(enabled=True), "worker", str(tmp_path)) as tracer:
            with tracer.span("kept"):
                pass
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
        async with open_tracer(TelemetryConfig(enabled=True), "worker", str(tmp_path)) as tracer:
            with tracer.span("left"):
                pass
    assert [(span.service, span.name) for span in collector.spans] == [("mine", "kept")]


async def test_settings_that_do_not_fit_cost_the_traces_and_nothing_else(tmp_path: Path) -> None:
    config = TelemetryConfig(enabled=True, headers_file="missing")
    with structlog.testing.capture_logs() as lines:
        async with open_tracer(config, "worker", str(tmp_path)) as tracer:
            assert tracer is OFF
    assert [line["event"] for line in lines] == ["no traces are written"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),  # below the size of a batch
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100000"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-5"),
    ],
)
async def test_variables_that_do_not_fit_cost_the_traces_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with structlog.testing.capture_logs() as lines:
        async with open_tracer(TelemetryConfig(enabled=True), "worker", str(tmp_path)) as tracer:
            assert tracer is OFF
    assert [line["event"] for line in lines] == ["no traces are written"]
    assert "OTEL_*" in lines[0]["error"]


def test_headers_that_are_none_are_refused_without_being_repeated(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET)
    with pytest.raises(BadInput) as refused:
        read_headers(tmp_path / "key")
    assert SECRET not in str(refused.value)
    with pytest.raises(NotFound):
        read_headers(tmp_path / "none")


@pytest.mark.parametrize("url", ["localhost:4318", "ftp://host", f"http://user:{SECRET}@host", "http://h/?key=1"])
def test_an_endpoint_is_a_plain_url(url: str) -> None:
    with pytest.raises(ValidationError):
        TelemetryConfig(endpoint=url)


@pytest.mark.timeout(60)  # work that waited for the collector would take 200 s: twenty exports of 10 s
@pytest.mark.parametrize("trouble", ["away", "refuses", "hangs"])
async def test_a_collector_in_trouble_slows_nothing(
    trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(otel, "CLOSE_SECONDS", 0.2)
    caplog.set_level(logging.CRITICAL)
    with collecting() as collector:
        collector.status = 500 if trouble == "refuses" else 200
        collector.hangs = threading.Event() if trouble == "hangs" else None
        url = "http://127.0.0.1:9" if trouble == "away" else collector.url
        async with open_tracer(TelemetryConfig(enabled=True, endpoint=url), "worker", str(tmp_path)) as tracer:
            for _ in range(10_000):
                with tracer.span("work"):
                    pass
        assert collector.spans == []
    # A thread that goes on trying draws random waits while other tests run, which hypothesis takes for theirs.
    await assert_eventually(lambda: not [each for each in threading.enumerate() if "span" in each.name.lower()], 30)


def test_what_waits_for_the_collector_is_bounded() -> None:
    release, kept = threading.Event(), InMemorySpanExporter()

    class Slow(InMemorySpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            release.wait(20)
            return kept.export(spans)

    processor = BatchSpanProcessor(Slow(), max_queue_size=64, max_export_batch_size=16, schedule_delay_millis=10)
    tracer = tracer_into(processor, "test")
    for _ in range(5_000):
        with tracer.span("work"):
            pass
    release.set()
    processor.shutdown()
    assert 0 < len(kept.get_finished_spans()) <= 64 + 16


def test_no_text_of_an_error_and_no_unknown_fact_leaves() -> None:
    spans = Spans()
    with (
        pytest.raises(ValueError, match="sk-"),
        # As libraries write spans of their own: with the text and the traceback.
        spans.tracer.otel.start_as_current_span("theirs", attributes={"db.statement": SECRET, "temporalRunID": "r"}),
        spans.tracer.span("ours"),
    ):
        raise ValueError(SECRET)
    theirs, ours = spans.one("theirs"), spans.one("ours")
    assert SECRET not in theirs.to_json() + ours.to_json()
    assert (theirs.status.description, ours.status.description) == ("ValueError", "ValueError")
    assert [dict(event.attributes or {}) for event in theirs.events] == [{"exception.type": "ValueError"}]
    assert dict(facts(theirs)) == {"temporalRunID": "r"}


def test_a_share_of_the_traces_is_kept_and_the_caller_decides_first() -> None:
    spans = Spans(ratio=0.0)
    with spans.tracer.span("left") as left:
        assert (found := parse(left.trace)) is not None
        assert not found.sampled
    with spans.tracer.span("kept", parent="00-" + "a" * 32 + "-" + "b" * 16 + "-01"):
        pass
    assert [span.name for span in spans.all] == ["kept"]
    assert not spans.tracer.keeps("a" * 32)
    assert Spans(ratio=1.0).tracer.keeps("a" * 32)


async def test_what_began_elsewhere_goes_on_and_log_lines_name_the_trace() -> None:
    spans = Spans()
    begun = spans.tracer.begin("stream", kind="server")
    with spans.tracer.within(begun.trace), spans.tracer.span("inside"):
        bound = structlog.contextvars.get_contextvars()["trace_id"]
    begun.end()
    assert below(spans.one("inside"), spans.one("stream"))
    assert bound == trace_id(spans.one("stream"))
    assert "trace_id" not in structlog.contextvars.get_contextvars()


def test_a_span_with_a_name_of_its_own_can_be_written_by_anybody() -> None:
    spans = Spans()
    own = parse("00-" + "c" * 32 + "-" + "d" * 16 + "-01")
    assert own is not None
    spans.tracer.record("job", own, "", (1_000, 2_000), error="Cancelled")
    with spans.tracer.span("step", parent=str(own)):
        pass
    job = spans.one("job")
    assert (trace_id(job), f"{span_id(job):016x}", job.parent) == ("c" * 32, "d" * 16, None)
    assert (job.start_time, job.end_time, job.status.description) == (1_000, 2_000, "Cancelled")
    assert below(spans.one("step"), job)


def test_nothing_of_opentelemetry_is_imported_while_traces_are_off() -> None:
    code = (
        "import sys, control.processes.worker, control.processes.api, ray_app.host, ray_app.gateway.traced;"
        "print([name for name in sys.modules if name.startswith('opentelemetry.exporter.otlp')"
        " or name.startswith('temporalio.contrib.opentelemetry') or name == 'colony.telemetry.otel'])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
