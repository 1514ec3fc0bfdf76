"""Histories of earlier versions must replay. To record them again after a change on purpose:

COLONY_RECORD_HISTORIES=tests/unit/workflows/histories pytest tests/integration/workflows
"""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from colony.errors import ColonyError
from colony.telemetry.otel import tracer_into
from workflows.monitor import WebsiteMonitor
from workflows.pipeline import Pipeline
from workflows.templates import BUILT_IN_TEMPLATES
from workflows.tracing import JobTracing
from workflows.worker import SANDBOX

HISTORIES = {path.stem: path.read_text() for path in sorted((Path(__file__).parent / "histories").glob("*.json"))}


def test_histories_are_there() -> None:
    assert set(HISTORIES) >= set(BUILT_IN_TEMPLATES) | {
        "review_analysis",
        "second_generation",
        "cancelled",
        "trouble_with_hosts",
        "loop_and_branch",
        "hand_off",
        "approved",
        "paused",
        "called",
        "cancelled_while_closing",
        "cut_while_closing_fails",
        "cut_while_closing_whole",
        "website_monitor",
        "monitor_signals",
        "content_creation_newsroom",
    }


@pytest.mark.parametrize("traced", [False, True], ids=["plain", "traced"])
@pytest.mark.parametrize("name", HISTORIES)
async def test_a_history_replays(name: str, traced: bool) -> None:
    seen = InMemorySpanExporter()
    tracing = [JobTracing(tracer_into(SimpleSpanProcessor(seen), "test"))]
    replayer = Replayer(
        workflows=[Pipeline, WebsiteMonitor],
        workflow_runner=SANDBOX,
        workflow_failure_exception_types=[ColonyError],
        data_converter=pydantic_data_converter,
        interceptors=tracing if traced else [],
    )
    history = WorkflowHistory.from_json(name, HISTORIES[name])
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    assert result.replay_failure is None
    assert not seen.get_finished_spans(), "a replay writes no spans"


async def test_a_changed_decision_is_noticed() -> None:
    """The check itself works: a history in which another activity ran does not replay."""
    forged = HISTORIES["review_analysis"].replace('"name": "tally_step"', '"name": "count_step"', 1)
    replayer = Replayer(workflows=[Pipeline], workflow_runner=SANDBOX, data_converter=pydantic_data_converter)
    history = WorkflowHistory.from_json("forged", forged)
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    assert result.replay_failure is not None
