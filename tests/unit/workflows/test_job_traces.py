"""Headers of unknown clients: a job runs on, with a trace of its own, and what is said to it arrives."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import temporalio.worker
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter

from tests.spans import Spans
from workflows.tracing import JobSpans, JobTracing

KEPT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


def plain(data: bytes) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=data)


@pytest.mark.parametrize(
    ("payload", "handed"),
    [
        (None, ""),
        (Payload(metadata={"encoding": b"binary/encrypted"}, data=b"??"), ""),
        (Payload(metadata={"encoding": b"json/plain"}, data=b"no json"), ""),
        (Payload(metadata={"encoding": b"json/plain"}, data=b"[1]"), ""),
        (Payload(metadata={"encoding": b"json/plain"}, data=b'{"traceparent": "%b"}' % KEPT.encode()), KEPT),
    ],
)
def test_a_header_is_read_or_ignored(monkeypatch: pytest.MonkeyPatch, payload: Payload | None, handed: str) -> None:
    headers = {} if payload is None else {"_tracer-data": payload}
    monkeypatch.setattr(workflow, "info", lambda: SimpleNamespace(headers=headers))
    spans = cast("Any", JobSpans.__new__(JobSpans))
    spans.header_key, spans.payload_converter = "_tracer-data", PayloadConverter.default
    assert spans._handed() == handed


class Arrivals(temporalio.worker.WorkflowInboundInterceptor):
    """What is below the interceptor of traces."""

    def __init__(self) -> None:
        self.headers: list[Any] = []

    async def handle_signal(self, input: temporalio.worker.HandleSignalInput) -> None:  # noqa: A002 -- the SDK's name
        self.headers.append(input.headers)

    async def handle_query(self, input: temporalio.worker.HandleQueryInput) -> Any:  # noqa: A002 -- the SDK's name
        self.headers.append(input.headers)

    def handle_update_validator(self, input: temporalio.worker.HandleUpdateInput) -> None:  # noqa: A002 -- the SDK's name
        self.headers.append(input.headers)

    async def handle_update_handler(self, input: temporalio.worker.HandleUpdateInput) -> Any:  # noqa: A002 -- the SDK's name
        self.headers.append(input.headers)


class Running:
    """A workflow that runs, as far as spans ask for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.spans, self.below = Spans(), Arrivals()
        offered: dict[str, Any] = {}
        asked = temporalio.worker.WorkflowInterceptorClassInput(unsafe_extern_functions=offered)
        made = JobTracing(self.spans.tracer).workflow_interceptor_class(asked)
        ids = {"workflow_id": "w", "run_id": "r", "first_execution_run_id": "r", "continued_run_id": None}
        info = SimpleNamespace(headers={}, workflow_type="pipeline", **ids)
        monkeypatch.setattr(workflow, "info", lambda: info)
        monkeypatch.setattr(workflow, "extern_functions", lambda: offered)
        monkeypatch.setattr(workflow, "time_ns", lambda: 1)
        monkeypatch.setattr(workflow.unsafe, "is_replaying", lambda: False)
        self.interceptor = made(self.below)

    async def hears(self, kind: str, headers: dict[str, Payload]) -> None:
        if kind == "signal":
            await self.interceptor.handle_signal(temporalio.worker.HandleSignalInput("pause", (), headers))
        elif kind == "query":
            await self.interceptor.handle_query(temporalio.worker.HandleQueryInput("1", "progress", (), headers))
        else:
            update = temporalio.worker.HandleUpdateInput("1", "pause", (), headers)
            if kind == "validator":
                self.interceptor.handle_update_validator(update)
            else:
                await self.interceptor.handle_update_handler(update)


@pytest.mark.parametrize("kind", ["signal", "query", "validator", "update"])
@pytest.mark.parametrize(
    "payload",
    [
        Payload(metadata={"encoding": b"binary/encrypted"}, data=b"??"),
        plain(b"no json"),
        plain(b"[1]"),
        plain(b'{"traceparent": 5}'),
        plain(b'{"traceparent": "none"}'),
        Payload(),
    ],
    ids=["encrypted", "broken", "list", "number", "word", "empty"],
)
async def test_words_with_a_header_of_no_use_arrive_without_it(
    monkeypatch: pytest.MonkeyPatch, kind: str, payload: Payload
) -> None:
    running = Running(monkeypatch)
    other = plain(b"1")
    await running.hears(kind, {"_tracer-data": payload, "other": other})
    assert running.below.headers == [{"other": other}]


@pytest.mark.parametrize("kind", ["signal", "query", "validator", "update"])
async def test_words_with_a_good_header_keep_it_and_what_else_came_in_it_does_not_matter(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    running = Running(monkeypatch)
    data = b'{"traceparent": "%b", "baggage": 5, "tracestate": []}' % KEPT.encode()
    await running.hears(kind, {"_tracer-data": plain(data)})
    kept = running.below.headers[0]["_tracer-data"]
    assert PayloadConverter.default.from_payloads([kept]) == [{"traceparent": KEPT}]
    (span,) = running.spans.all
    named = [link.context for link in span.links] if kind != "query" else [span.parent]
    assert [f"{each.trace_id:032x}" for each in named if each is not None] == ["a" * 32]
