"""Start, follow and cancel jobs for a person at a terminal."""

from __future__ import annotations

import asyncio
from typing import Any

from rich.console import Console, RenderableType
from temporalio.client import WorkflowFailureError, WorkflowHandle

from colony.contracts import JobView
from colony.errors import ColonyError, by_name
from colony.ledger.port import Ledger
from control.report import terminal_report
from control.session import ledger_here, temporal_here
from control.watch import follow_job, wait_for_job
from workflows.client import cancel_job as cancel_workflow
from workflows.client import start_job


async def run_job(
    template: str, request: Any, workflow_id: str | None, *, wait: bool, console: Console
) -> tuple[JobView, RenderableType | None]:
    """Start a job and, with `wait`, follow it to its end; the report comes with a job that is done.

    Raises the error the workflow failed with when it failed before it had a row in the ledger, `AlreadyExists` for
    a workflow id that is taken.
    """
    async with temporal_here() as client, ledger_here() as ledger:
        handle = await start_job(client, template, request, workflow_id=workflow_id)
        view = await _opened(handle, ledger)
        if not wait:
            return view, None
        console.print(f"Job {view.job} · {template} · workflow {view.workflow_id}")
        view = await follow_job(ledger, str(view.job), console)
        return view, await terminal_report(ledger, view)


async def cancel_job(name: str) -> JobView:
    """Ask for the cancel of a job. Raises `NotFound`."""
    async with ledger_here() as ledger:
        view = await ledger.job(name)
        async with temporal_here() as client:
            await cancel_workflow(client, view.workflow_id)
        return view


async def _opened(handle: WorkflowHandle[Any, Any], ledger: Ledger) -> JobView:
    """The job's row, or the error of a workflow that failed before it had one."""
    key = handle.first_execution_run_id or handle.result_run_id or ""
    row = asyncio.create_task(wait_for_job(ledger, key, timeout=60.0))
    end = asyncio.create_task(handle.result())
    try:
        await asyncio.wait({row, end}, return_when=asyncio.FIRST_COMPLETED)
        if row.done():
            return row.result()
        await _raise_failure(end)
        return await row
    finally:
        row.cancel()
        end.cancel()
        await asyncio.gather(row, end, return_exceptions=True)


async def _raise_failure(end: asyncio.Task[Any]) -> None:
    try:
        await end
    except WorkflowFailureError as failure:
        raise as_colony_error(failure) from failure


def as_colony_error(failure: WorkflowFailureError) -> ColonyError:
    """The error of ours at the bottom of a workflow's failure."""
    cause: BaseException | None = failure.cause
    while cause is not None and cause.__cause__ is not None:
        cause = cause.__cause__
    name = getattr(cause, "type", None) or type(cause).__name__
    message = getattr(cause, "message", None) or str(cause)
    return by_name(str(name))(str(message))
