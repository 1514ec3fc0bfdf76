"""`colony retry`: go on with what a job left undone."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer
from rich.console import Console

console = Console()


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("retry")(retry)


def retry(
    name: Annotated[str, typer.Argument(help="Number, key or workflow id of a job that ended.")],
    step: Annotated[
        str, typer.Option(help="Begin at this step; the first with failed or missing tasks when left out.")
    ] = "",
    whole: Annotated[
        bool, typer.Option("--all", help="Do all tasks of that step again, also those with a good outcome.")
    ] = False,
    job_id: Annotated[str, typer.Option("--id", help="Workflow id of the new job.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Do the failed tasks of a job again, then all steps after them; good outcomes are taken over.

    It is a new job with the same frozen steps and source. Waits, approvals and calls of other jobs happen again.
    """
    from control.retrying import retry_job  # the clients behind it take a second to import

    done = asyncio.run(retry_job(name, step=step, whole=whole, workflow_id=job_id))
    if as_json:
        fields = {"job": done.view.job, "workflow_id": done.view.workflow_id, "retry_of": done.before.job}
        print(json.dumps({**fields, "step": done.step, "tasks": done.again}))  # noqa: T201 -- output of the command
        return
    console.print(
        f"Job {done.view.job} does {done.again} tasks of step {done.step} of job {done.before.job} again."
        f" Follow it with: colony job {done.view.job}",
        markup=False,
        highlight=False,
    )
