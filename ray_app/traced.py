"""Spans of a host: one for each batch, one each for some of its tasks, one for each message that belongs to a trace."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final, Protocol

from agents.base import AgentTask
from colony.contracts import BatchReport, BatchRequest
from colony.telemetry.context import kept_trace
from colony.telemetry.port import NO_SPAN, Fact, Span, Tracer
from ray_app.lanes import Lane
from ray_app.perform import Handled
from ray_app.population import AgentCell

_NOTHING: Final = nullcontext(NO_SPAN)


@dataclass(frozen=True, slots=True)
class HostTracing:
    """What a host needs to trace its batches."""

    tracer: Tracer
    host: str
    task_spans: int
    """Most tasks of a batch with a span of their own."""


class Performs(Protocol):
    """Runs an agent: `ray_app.perform.Performer`, or something around it."""

    async def perform(self, lane: Lane, cell: AgentCell, task: AgentTask, limit: float) -> Handled:
        """See `ray_app.perform.Performer`."""
        ...


class TracedTasks:
    """The tasks of one batch: the first `most` have a span, all others count as work of the batch."""

    def __init__(self, inner: Performs, tracer: Tracer, batch: str, most: int) -> None:
        self._inner = inner
        self._tracer = tracer
        self._batch = batch
        self._left = most if kept_trace(batch) else 0

    async def perform(self, lane: Lane, cell: AgentCell, task: AgentTask, limit: float) -> Handled:
        """See `Performs`."""
        if self._left <= 0:
            with self._tracer.within(self._batch):
                return await self._inner.perform(lane, cell, task, limit)
        self._left -= 1
        facts: dict[str, Fact] = {**_about(cell, task), "colony.task": task.seq, "colony.generation": task.generation}
        with self._tracer.span(f"task {cell.kind.name}", parent=self._batch, facts=facts) as span:
            handled = await self._inner.perform(lane, cell, task, limit)
            if handled.error:
                span.fail(handled.error)
            return handled


def message_span(tracer: Tracer, cell: AgentCell, task: AgentTask, trace: str) -> AbstractContextManager[Span]:
    """Around the handling of a message; `trace` is what it says. Without one the work belongs to no trace."""
    if not tracer.on:
        return _NOTHING
    if not kept_trace(trace):
        return _outside(tracer, trace)
    return tracer.span("message", parent=trace, kind="consumer", facts=_about(cell, task))


@contextmanager
def _outside(tracer: Tracer, trace: str) -> Generator[Span]:
    with tracer.within(trace):
        yield NO_SPAN


def batch_facts(host: str, request: BatchRequest) -> dict[str, Fact]:
    """What the span of a batch says at its start."""
    return {
        "colony.host": host,
        "colony.job": request.job,
        "colony.job.key": request.key,
        "colony.step": request.step,
        "colony.generation": request.generation,
        "colony.batch.first": request.first,
        "colony.batch.end": request.end,
    }


def report_facts(report: BatchReport) -> dict[str, Fact]:
    """What it says at its end."""
    return {
        "colony.batch.ok": report.ok,
        "colony.batch.failed": report.failed,
        "colony.batch.skipped": report.skipped,
        "colony.batch.left": report.left,
        "colony.batch.left_reason": report.left_reason,
    }


def _about(cell: AgentCell, task: AgentTask) -> dict[str, Fact]:
    return {
        "colony.agent": str(cell.agent_id),
        "colony.agent.type": str(cell.kind.name),
        "colony.action": str(task.action or ""),
    }
