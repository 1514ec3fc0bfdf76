"""The demo: the embedded stack, 620 agents, 1,000 real reviews, one durable job, one report."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from colony.contracts import JobState, JobView
from colony.errors import Permanent
from control.demo_data import fetch_reviews
from control.deploy import deploy, print_proof
from control.phases import Phases
from control.report import write_report
from control.running import run_job
from control.session import endpoints_here, ledger_here

AGENTS = 620
REVIEWS = 1_000


async def demo(phases: Phases, console: Console) -> list[Path]:
    """Run the parts that need a running stack; returns the files of the report."""
    with phases.phase(f"Deploying {AGENTS} agents"):
        print_proof(console, await deploy(AGENTS, [], None, dry_run=False, console=console))
    source = Path(endpoints_here().folder) / ".colony-demo" / "reviews.csv"
    home = Path(endpoints_here().home)
    if home.is_relative_to(endpoints_here().folder):
        source = home / "demo" / "reviews.csv"
    with phases.phase(f"Fetching {REVIEWS:,} product reviews rated by people"):
        source.parent.mkdir(parents=True, exist_ok=True)
        fetch_reviews(source, REVIEWS)
    with phases.phase("Running the workflow review_analysis on them"):
        view, report, _ = await run_job(
            "review_analysis", {"source": str(source)}, f"demo-{int(time.time())}", wait=True, console=console
        )
    if view.state is not JobState.DONE:
        raise Permanent(f"The demo's job ended {view.state}: {view.reason}", remedy="Look at `colony logs`.")
    if report is not None:
        console.print(report)
    return await _files(view, home)


async def _files(view: JobView, home: Path) -> list[Path]:
    async with ledger_here() as ledger:
        return await write_report(ledger, view, home / "reports")


def print_addresses(console: Console, files: list[Path]) -> None:
    """Where to look, and what to try next."""
    endpoints = endpoints_here()
    console.print("\n[bold]The report[/]")
    for path in files:
        console.print(f"  {_short(path)}", highlight=False, soft_wrap=True)
    console.print("\n[bold]Addresses[/]")
    shown = {
        "Temporal UI": endpoints.temporal.ui,
        "Temporal": endpoints.temporal.address,
        "Ray dashboard": endpoints.ray.dashboard,
        "Consul UI": f"{endpoints.registry.address}/ui" if endpoints.registry.kind == "consul" else "",
        "NATS monitoring": endpoints.nats.monitoring,
    }
    for name, address in shown.items():
        if address:
            console.print(f"  {name:<16} {address}", highlight=False)
    console.print("\n[bold]Next[/]")
    for command, what in (
        ("bin/colony status", "what runs and what it costs"),
        ("bin/colony jobs", "the jobs so far"),
        (".venv/bin/python deploy_agents.py --count 1000", "scale the fleet"),
    ):
        console.print(f"  {command:<46} {what}", highlight=False)
    console.print("\nThe stack stays up; `make down` ends it.")


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
