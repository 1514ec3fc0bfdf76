"""Headers of unknown clients: a job runs on, with a trace of its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter

from workflows.tracing import JobSpans

KEPT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


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
