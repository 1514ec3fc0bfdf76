"""Start, follow and cancel jobs for a person at a terminal."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple, cast

from rich.console import Console, RenderableType
from temporalio.client import Client

from colony.contracts import JobState, JobView
from colony.errors import BadInput, NotFound, Permanent
from colony.ledger.port import Ledger
from control import session
from control.report import how_to_read, terminal_report
from control.session import ledger_here, temporal_here, tracing_here
from control.steering import Steerable, has_ended
from control.unopened import Unopened, cancel_unopened, find_unopened, job_or_unopened
from control.waits import approvals_by
from control.watch import follow_job, wait_for_job
from workflows.client import StartedJob, await_job, start_job
from workflows.contracts import JobResult


class RunEnd(NamedTuple):
    """How a job ended, or stands when nobody waited."""

    view: JobView
    report: RenderableType | None
    reading: str
    """Commands that show its results; empty for none."""


async def run_job(template: str, request: Any, workflow_id: str | None, *, wait: bool, console: Console) -> RunEnd:
    """Start a job and, with `wait`, follow it to its end; the report comes with a job that is done.

    Raises the error the workflow failed with when it failed before it had a row in the ledger, `AlreadyExists` for
    a workflow id that is taken.
    """
    async with tracing_here() as tracing, temporal_here(tracing) as client, ledger_here() as ledger:
        if not isinstance(request, dict):
            raise BadInput(
                "The input of a job is a JSON object.", remedy='For example: --input \'{"source": "a.csv"}\'.'
            )
        with tracing.tracer.span(f"colony run {template[:80]}", kind="client"):
            started = await start_job(client, template, cast("dict[str, Any]", request), workflow_id=workflow_id)
        view = await opened_job(client, started, ledger)
        if not wait:
            return RunEnd(view, None, "")
        console.print(f"Job {view.job} · {template} · workflow {view.workflow_id}")
        view = await follow_job(ledger, str(view.job), console, asked=approvals_by(client))
        if view.state is JobState.DONE:
            view = _timed(view, await await_job(client, started.workflow_id))
        return RunEnd(view, await terminal_report(ledger, view), await how_to_read(ledger, view))


def _timed(view: JobView, result: JobResult) -> JobView:
    """`view` with the times of its steps, which only the workflow knows."""
    seconds = {step.number: step.seconds for step in result.steps}
    steps = tuple(step.model_copy(update={"seconds": seconds.get(step.number, 0.0)}) for step in view.steps)
    return view.model_copy(update={"steps": steps})


async def cancel_job(name: str) -> JobView | Unopened | Steerable:
    """Ask for the cancel of a job; one that is kept until Temporal answers never starts.

    Raises `NotFound`, also for one that has ended.
    """
    async with session.ledger_here() as ledger:
        try:
            found = await job_or_unopened(ledger, session.failure_here, name)
        except NotFound:
            await _cancel_workflow(name)  # perhaps a workflow in code, which has no row: Temporal says
            return Steerable(name)
        if isinstance(found, Unopened):
            await cancel_unopened(ledger, _cancel_workflow, found)
            return await find_unopened(ledger, session.failure_here, name)
        try:
            # Also of a job that has ended: its id may be used again, by a run without a row as yet.
            await _cancel_workflow(found.workflow_id)
        except NotFound:
            if found.state is JobState.RUNNING:
                raise
            raise has_ended(found) from None
        return found


async def _cancel_workflow(workflow_id: str) -> None:
    async with session.engine_here() as engine:
        await engine.cancel(workflow_id)


async def opened_job(client: Client, started: StartedJob, ledger: Ledger) -> JobView:
    """The job's row, or the error of a workflow that failed before it had one."""
    row = asyncio.create_task(wait_for_job(ledger, started.key, timeout=60.0), name="row of the job")
    end = asyncio.create_task(await_job(client, started.workflow_id), name="end of the job")
    try:
        await asyncio.wait({row, end}, return_when=asyncio.FIRST_COMPLETED)
        if not row.done() and end.exception() is not None:
            raise end.exception() or Permanent("The workflow ended without a word.")
        view = await row
        if view.state is JobState.FAILED and not view.steps:
            await end  # refused: its error says more than its row, and has its own exit code
        return view
    finally:
        row.cancel()
        end.cancel()
        await asyncio.gather(row, end, return_exceptions=True)
