"""`colony run · jobs · job · results · cancel`."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from colony.errors import BadInput
from control.exit import FAILED_JOB

if TYPE_CHECKING:
    from colony.contracts import JobState, JobView  # takes a moment to import
    from control.unopened import Unopened, UnopenedState

console = Console()

Name = Annotated[str, typer.Argument(help="Number, key or workflow id of the job.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("run")(run)
    app.command("jobs")(jobs)
    app.command("job")(job)
    app.command("results")(results)
    app.command("cancel")(cancel)


def run(
    template: Annotated[str, typer.Argument(help="Name of the workflow, such as review_analysis.")],
    source: Annotated[str, typer.Option(help="File with the input rows (CSV, JSON Lines or Parquet).")] = "",
    input_json: Annotated[str, typer.Option("--input", help="The whole input as a JSON object.")] = "",
    job_id: Annotated[str, typer.Option("--id", help="Workflow id; refused when it is taken.")] = "",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Start it and return.")] = False,
    as_json: Json = False,
) -> None:
    """Start a job, show its progress, print its report. Exit code 1 if the job fails."""
    from colony.contracts import JobState
    from control.running import run_job  # the clients behind it take a second to import

    view, report, reading = asyncio.run(
        run_job(template, _input(source, input_json), job_id or None, wait=not no_wait, console=_quiet(as_json))
    )
    if as_json:
        print(view.model_dump_json())  # noqa: T201 -- output of the command
    elif no_wait:
        console.print(f"Started job {view.job} ({view.workflow_id}). Follow it with: colony job {view.job}")
    else:
        if report is not None:
            console.print(report)
        _closing_line(view, reading)
    if view.state in (JobState.FAILED, JobState.CANCELLED):
        raise typer.Exit(FAILED_JOB)


def jobs(
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=10_000)] = 20,
    as_json: Json = False,
) -> None:
    """List jobs, newest first."""
    from control.session import failure_here, ledger_here
    from control.unopened import unopened_jobs

    async def read() -> tuple[list[Unopened], list[JobView]]:
        async with ledger_here() as ledger:
            waiting, _ = await unopened_jobs(ledger, failure_here, limit)
            return waiting, await ledger.jobs(limit - len(waiting)) if len(waiting) < limit else []

    waiting, views = asyncio.run(read())
    if as_json:
        found = [*(each.as_job() for each in waiting), *(view.model_dump(mode="json") for view in views)]
        print(json.dumps(found))  # noqa: T201 -- output of the command
        return
    table = Table("job", "workflow id", "template", "state", "opened UTC", "took", box=None, pad_edge=False)
    for each in waiting:
        opened = datetime.fromtimestamp(each.accepted_at, UTC).strftime("%m-%d %H:%M")
        table.add_row("", each.workflow_id, each.template, _coloured(each.state), opened, "")
    for view in views:
        took = "" if view.closed_at is None else f"{view.closed_at - view.opened_at:.1f} s"
        opened = datetime.fromtimestamp(view.opened_at, UTC).strftime("%m-%d %H:%M")
        table.add_row(str(view.job), view.workflow_id, view.template, _coloured(view.state), opened, took)
    console.print(
        table if waiting or views else "No job yet. Start one: colony run review_analysis --source reviews.csv"
    )


def job(
    name: Name,
    transcript: Annotated[bool, typer.Option("--transcript", help="What its agents said, and models to them.")] = False,
    agent: Annotated[str, typer.Option(help="Of a transcript: what this agent said or was told.")] = "",
    step: Annotated[str, typer.Option(help="Of a transcript: name or number of a step.")] = "",
    task: Annotated[int | None, typer.Option(help="Of a transcript: number of a task.", min=0)] = None,
    limit: Annotated[int, typer.Option(help="Of a transcript: how much at once.", min=1, max=1_000)] = 50,
    after: Annotated[str, typer.Option(help="Of a transcript: `next` of the page before.")] = "",
    whole: Annotated[bool, typer.Option("--whole", help="Of a transcript: long texts to their end.")] = False,
    as_json: Json = False,
) -> None:
    """Show one job, live until it ends; or what was said in it."""
    if transcript:
        _transcript(name, limit, agent=agent, step=step, seq=task, cursor=after, whole=whole, as_json=as_json)
        return
    if agent or step or task is not None or after or whole:
        raise BadInput("--agent, --step, --task, --after and --whole are for a transcript.", remedy="Add --transcript.")
    _progress(name, as_json=as_json)


def _transcript(name: str, limit: int, *, whole: bool, as_json: bool, **wanted: Any) -> None:
    from control.session import ledger_here
    from control.transcript import TranscriptPage, read_page, spoken

    async def read() -> TranscriptPage:
        async with ledger_here() as ledger:
            return await read_page(ledger, await ledger.job(name), limit, **wanted)

    page = asyncio.run(read())
    if as_json:
        print(page.model_dump_json())  # noqa: T201 -- output of the command
        return
    lines = spoken(page, min(console.width, 120), whole=whole)
    if page.next:
        lines.append(f"More: the same with --after {page.next}")
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _progress(name: str, *, as_json: bool) -> None:
    from control.report import how_to_read
    from control.session import failure_here, ledger_here, temporal_later_here
    from control.unopened import Unopened, job_or_unopened, why_unopened
    from control.waits import approvals_by
    from control.watch import follow_job

    async def read() -> tuple[JobView | Unopened, str]:
        async with ledger_here() as ledger:
            view = await job_or_unopened(ledger, failure_here, name)
            if as_json or isinstance(view, Unopened):
                return view, ""
            console.print(f"Job {view.job} · {view.template} · {view.workflow_id} · {_coloured(view.state)}")
            asked = approvals_by(await temporal_later_here())
            view = await follow_job(ledger, str(view.job), console, asked=asked)
            return view, await how_to_read(ledger, view)

    view, reading = asyncio.run(read())
    if isinstance(view, Unopened):
        if as_json:
            print(json.dumps(view.as_job()))  # noqa: T201 -- output of the command
            return
        console.print(f"Job {escape(view.workflow_id)} · {view.template} · {_coloured(view.state)}")
        console.print(f"It waits for {why_unopened(view).what}.", markup=False, highlight=False)
        return
    if as_json:
        print(view.model_dump_json())  # noqa: T201 -- output of the command
        return
    _closing_line(view, reading)


def results(
    name: Name,
    form: Annotated[str, typer.Option("--format", help="json, csv, md or files.")] = "md",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file; for files, below this folder.")
    ] = None,
) -> None:
    """Print the results of a job: its report (md), its rows (csv), everything (json); or write its files."""
    from control.report import write_files
    from control.results import render_results

    if form not in ("json", "csv", "md", "files"):
        raise BadInput(f"--format {form!r} is unknown.", remedy="Use json, csv, md or files.")
    if form == "files":
        for path in asyncio.run(write_files(name, output or Path("reports"))):
            console.print(str(path), highlight=False, soft_wrap=True)
        return
    text = asyncio.run(render_results(name, form))
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")


def cancel(name: Name) -> None:
    """Cancel a job: its agents stop, what is done stays."""
    from control.running import cancel_job

    view = asyncio.run(cancel_job(name))
    if view.job is None:
        said = "is cancelled" if view.state == "cancelled" else "is told to stop"
        console.print(f"Job {view.workflow_id} {said}.", markup=False, highlight=False, soft_wrap=True)
        return
    console.print(f"Cancel of job {view.job} ({view.workflow_id}) is requested.")


def _input(source: str, input_json: str) -> Any:
    try:
        given: Any = json.loads(input_json or "{}")
    except ValueError as error:
        raise BadInput(f"--input is no JSON: {error}.") from error
    if not source:
        return given
    if not isinstance(given, dict):
        raise BadInput("--source needs --input to be an object, or no --input.")
    return {**cast("dict[str, Any]", given), "source": str(Path(source).absolute())}


def _quiet(as_json: bool) -> Console:
    return Console(stderr=True, quiet=True) if as_json else console


def _coloured(state: JobState | UnopenedState) -> str:
    colour = {"running": "cyan", "done": "green", "failed": "red", "cancelled": "yellow"}.get(state, "magenta")
    return f"[{colour}]{state}[/]"


def _closing_line(view: JobView, reading: str) -> None:
    took = "" if view.closed_at is None else f" after {view.closed_at - view.opened_at:.1f} s"
    reason = f": {view.reason}" if view.reason else ""
    console.print(f"Job {view.job} is {_coloured(view.state)}{took}{reason}")
    if view.trace:
        console.print(f"Trace {view.trace}", highlight=False)
    if reading:
        console.print(reading)
