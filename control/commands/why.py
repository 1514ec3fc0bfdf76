"""`colony why`: what a job or a task waits for. `colony queues`: how much waits, and where."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated

import typer
from rich.console import Console

console = Console()

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("why")(why)
    app.command("queues")(queues)


def why(
    name: Annotated[str, typer.Argument(help="A job (number, key, workflow id), or a task as JOB/STEP/SEQ.")],
    as_json: Json = False,
) -> None:
    """Say what a job or a task waits for, since when, and what would free it."""
    from control.why import spoken  # the clients behind it take a second to import
    from control.why_facts import explain

    found = asyncio.run(explain(name))
    if as_json:
        reasons = [reason.model_dump(mode="json") for reason in found.reasons]
        fields = {"job": found.job.job, "state": found.job.state, "task": found.task, "reasons": reasons}
        print(json.dumps(fields))  # noqa: T201 -- output of the command
        return
    job = f"job {found.job.workflow_id if found.job.job is None else found.job.job}"
    where = f"Task {found.task} of {job}" if found.task else f"J{job[1:]}"
    lines = [f"{where} ({found.job.template}) waits for", *spoken(found.reasons, time.time())]
    console.print("\n".join(lines), markup=False, highlight=False)


def queues(as_json: Json = False) -> None:
    """Show how much waits by priority and tenant: in task queues, on hosts, for models."""
    from control.queues import queues_here  # the clients behind it take a second to import
    from control.queues_view import render_queues

    found = asyncio.run(queues_here())
    if as_json:
        print(found.model_dump_json())  # noqa: T201 -- output of the command
        return
    console.print(render_queues(found))
