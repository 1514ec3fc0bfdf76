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
        str,
        typer.Option(help="Begin here; else where tasks failed or are missing, or at the first step not completed."),
    ] = "",
    whole: Annotated[
        bool, typer.Option("--all", help="Do all tasks of that step again, also those with a good outcome.")
    ] = False,
    priority: Annotated[
        int | None, typer.Option(help="1 (first) to 5 (last); that of the job when left out.", min=1, max=5)
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="For whom; that of the job when left out.")] = None,
    tokens: Annotated[
        int | None, typer.Option(help="Tokens of models it may use; as many as the job when left out.", min=1)
    ] = None,
    job_id: Annotated[str, typer.Option("--id", help="Workflow id of the new job.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Do the failed tasks of a job again, then all steps after them; good outcomes are taken over.

    Where no task failed, as after a rejected approval or a failed report, it goes on at the first step not completed.

    It is a new job with the same frozen steps and source. Waits, approvals and calls of other jobs happen again.
    """
    from control.retrying import retry_job  # the clients behind it take a second to import

    given = {"priority": priority, "tenant": tenant, "llm_tokens": tokens}
    more = {field: value for field, value in given.items() if value is not None}
    done = asyncio.run(retry_job(name, step=step, whole=whole, workflow_id=job_id, more=more))
    if as_json:
        fields = {"job": done.view.job, "workflow_id": done.view.workflow_id, "retry_of": done.before.job}
        print(json.dumps({**fields, "step": done.step, "tasks": done.again}))  # noqa: T201 -- output of the command
        return
    what = f"does {done.again} tasks of step {done.step} of job {done.before.job} again"
    if not done.again:
        what = f"goes on with job {done.before.job} at step {done.step}"
    console.print(
        f"Job {done.view.job} {what}. Follow it with: colony job {done.view.job}",
        markup=False,
        highlight=False,
    )
