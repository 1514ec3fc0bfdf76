"""All calls of a job belong to one trace, each with a span of its own."""

from __future__ import annotations

from colony.llm.trace import traceparent
from ray_app.gateway.api.callers import manner_of
from ray_app.gateway.api.settings import ApiSettings


def test_a_job_has_one_trace_and_every_call_a_span() -> None:
    one, two, other = (traceparent(job) for job in ("run-1", "run-1", "run-2"))
    assert one.split("-")[:2] == two.split("-")[:2] != other.split("-")[:2]
    assert one != two
    assert traceparent("") == ""


def test_the_gateway_takes_it_as_one() -> None:
    trace = traceparent("review/2026-10 \u00e9")
    assert manner_of({b"traceparent": trace.encode()}, "r", ApiSettings(key="")).caller.trace == trace
