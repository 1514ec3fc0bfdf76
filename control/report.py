"""The report of a job, for the terminal and as files."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

from rich.console import RenderableType

from agents.skills.report import RunFacts, parse_report
from agents.skills.report_terminal import render_terminal
from agents.skills.website_report import KIND as WEBSITE
from agents.skills.website_report import parse_site_report
from agents.skills.website_terminal import render_site_terminal
from colony.contracts import Artifact, JobState, JobView
from colony.errors import NotFound
from colony.jobs import StepKind
from colony.ledger.port import Ledger
from control.session import ledger_here


async def terminal_report(ledger: Ledger, view: JobView) -> RenderableType | None:
    """What to print at the end of a job with a report of its own kind; None for others and jobs without one."""
    if view.state is not JobState.DONE:
        return None
    for artifact in await ledger.artifacts(view.job):
        if artifact.name == "results.json":
            data = json.loads(artifact.content)
            if data.get("kind") == "reviews":
                return render_terminal(parse_report(data), RunFacts.model_validate(data["run"]))
            if data.get("kind") == WEBSITE:
                return render_site_terminal(parse_site_report(data))
    return None


async def how_to_read(ledger: Ledger, view: JobView) -> str:
    """The commands that show what a job has to show; empty for none."""
    if view.state is not JobState.DONE:
        return ""
    names = {artifact.name for artifact in await ledger.artifacts(view.job)}
    plan = await ledger.plan(view.job)
    shown: list[str] = []
    if "report.md" in names:
        shown.append(f"Read the report: colony results {view.job}")
    if "site.zip" in names:
        shown.append(f"the site: colony results {view.job} --format files")
    elif "posts.zip" in names:
        shown.append(f"the posts: colony results {view.job} --format files")
    elif any(step.kind is StepKind.MAP for step in plan.steps):
        shown.append(f"rows: colony results {view.job} --format csv")
    return "   ".join(shown)


async def write_report(ledger: Ledger, view: JobView, folder: Path) -> list[Path]:
    """Write the artifacts of a job below `folder`/job-N, archives unpacked, and return the paths.

    Raises `NotFound` without any.
    """
    artifacts = await ledger.artifacts(view.job)
    if not artifacts:
        raise NotFound(f"Job {view.job} has no artifacts: it is {view.state}.")
    target = folder / f"job-{view.job}"
    target.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for artifact in artifacts:
        if artifact.media_type == "application/zip":
            paths.append(_unpacked(artifact, target / Path(artifact.name).stem))
            continue
        path = target / artifact.name
        path.write_bytes(artifact.content)
        paths.append(path)
    return paths


async def write_files(name: str, folder: Path) -> list[Path]:
    """As `write_report`, for a job by number, key or workflow id."""
    async with ledger_here() as ledger:
        return await write_report(ledger, await ledger.job(name), folder)


def _unpacked(artifact: Artifact, folder: Path) -> Path:
    """The files of an archive below `folder`: `extractall` leaves out what would lead out of it."""
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(artifact.content)) as archive:
        archive.extractall(folder)
    return folder
