"""The demo of `website_build`: a brief becomes a site, built, checked and mended by agents."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Final

from rich.console import Console

from colony.contracts import JobState
from colony.errors import NotFound, Permanent
from control.deploy import deploy, print_proof
from control.phases import Phases
from control.report import write_report
from control.running import run_job
from control.session import endpoints_here, ledger_here

AGENTS: Final = 620
TEMPLATE: Final = "website_build"
BRIEF: Final = Path("examples") / "brief.yaml"


async def demo_website(phases: Phases, console: Console, brief: Path) -> Path:
    """Build the site of `brief` on the running stack; returns its home page. Raises `NotFound`, `Permanent`."""
    source = _below_a_root(brief)
    with phases.phase(f"Deploying {AGENTS} agents"):
        print_proof(console, await deploy(AGENTS, [], None, dry_run=False, console=console))
    with phases.phase(f"Running the workflow {TEMPLATE} on {brief.name}"):
        end = await run_job(
            TEMPLATE, {"source": str(source)}, f"demo-website-{int(time.time())}", wait=True, console=console
        )
    if end.view.state is not JobState.DONE:
        raise Permanent(f"The demo's job ended {end.view.state}: {end.view.reason}", remedy="Look at `colony logs`.")
    if end.report is not None:
        console.print(end.report)
    async with ledger_here() as ledger:
        paths = await write_report(ledger, end.view, Path(endpoints_here().home) / "reports")
    folder = next(path for path in paths if path.name == "site")
    return folder / "index.html"


def print_where(console: Console, home: Path) -> None:
    """Where the site is and how to look at it."""
    console.print("\n[bold]The site[/]")
    console.print(f"  {home}", highlight=False, soft_wrap=True)
    console.print("\n[bold]Look at it[/]")
    console.print(f"  open the file in a browser, or: python3 -m http.server -d {home.parent}", soft_wrap=True)
    console.print("\n[bold]Your own[/]")
    console.print(f"  cp {BRIEF} brief.yaml, change it, then: bin/colony run {TEMPLATE} --source brief.yaml")
    console.print("\nThe stack stays up; `make down` ends it.")


def _below_a_root(brief: Path) -> Path:
    """The brief, copied into the data directory if the stack may not read it where it is."""
    if not brief.is_file():
        raise NotFound(f"There is no brief {brief}.", remedy=f"Copy {BRIEF} and change it.")
    endpoints = endpoints_here()
    whole = brief.resolve()
    if whole.is_relative_to(Path(endpoints.folder).resolve()):
        return whole
    copy = Path(endpoints.home) / "demo" / brief.name
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(whole, copy)
    return copy
