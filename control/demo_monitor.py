"""The demo of `website_monitor`: half a minute of watching four little sites, three of which have a bad day."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from colony.errors import NotPermitted
from colony.ledger.port import Ledger
from control.demo_sites import Received, demo_input, demo_sites
from control.deploy import deploy, print_proof
from control.monitor_view import monitor_view, sites_table
from control.phases import Phases
from control.report import write_report
from control.running import cancel_job, run_job
from control.session import endpoints_here, ledger_here, temporal_here
from workflows.client import update_job
from workflows.webhooks import is_signed

AGENTS = 620
WATCH_SECONDS = 28.0
_LOOK_SECONDS = 0.5


async def demo_monitor(phases: Phases, console: Console) -> list[Path]:
    """Run on the running stack; returns the files of the report. Raises `NotPermitted` if hosts may not fetch here."""
    with phases.phase(f"Deploying {AGENTS} agents"):
        print_proof(console, await deploy(AGENTS, [], None, dry_run=False, console=console))
    with demo_sites() as received:
        with phases.phase("Starting the workflow website_monitor"):
            name = f"demo-monitor-{int(time.time())}"
            view = (await run_job("website_monitor", demo_input(), name, wait=False, console=console)).view
        job = str(view.job)
        try:
            with phases.phase(f"Watching for {WATCH_SECONDS:.0f} s"):
                await _watch(console, job, received)
            async with temporal_here() as client:
                await update_job(client, view.workflow_id, "report", 1.0)
            await _print_end(console, job, received)
        finally:
            await cancel_job(job)
    async with ledger_here() as ledger:
        return await write_report(ledger, await ledger.job(job), Path(endpoints_here().home) / "reports")


async def _watch(console: Console, job: str, received: list[Received]) -> None:
    """Print each change of state and each event the webhook gets, as they come."""
    started, states, told = time.monotonic(), dict[str, str](), 0
    async with ledger_here() as ledger:
        while (at := time.monotonic() - started) < WATCH_SECONDS:
            for site in (await monitor_view(ledger, job))["sites"]:
                _check_allowed(site)
                if states.get(site["site"]) != site["state"]:
                    states[site["site"]] = site["state"]
                    found = f" ({site['problem']})" if site["problem"] else ""
                    console.print(f"  {at:5.1f} s  {site['site']:<8} {site['state']}{found}", highlight=False)
            events = [event for post in list(received) for event in post.events()]
            for event in events[told:]:
                said = f"  {at:5.1f} s  webhook: {event['kind']} {event['site']}: {event['reason']}"
                console.print(said, style="magenta", highlight=False, markup=False)
            told = len(events)
            await asyncio.sleep(_LOOK_SECONDS)


def _check_allowed(site: dict[str, Any]) -> None:
    if "may not be fetched" in site["problem"]:
        raise NotPermitted(
            "The running stack may not fetch the demo's sites, which are on this machine.",
            remedy="End it with `make down`, then run `make demo-monitor` again: it starts a stack that may.",
        )


async def _print_end(console: Console, job: str, received: list[Received]) -> None:
    async with ledger_here() as ledger:
        view = await monitor_view(ledger, job)
        secret = (await ledger.monitor(view["job"])).secret
        console.print(sites_table(view, time.time()))
        console.print("\n[bold]Alerts[/]")
        for alert in reversed(view["alerts"]):
            over = (
                "goes on"
                if alert["closed_at"] is None
                else f"over after {alert['closed_at'] - alert['opened_at']:.0f} s"
            )
            console.print(f"  {alert['site']:<8} {alert['worst']:<9} {over}: {alert['reason']}", highlight=False)
        await _print_webhook(console, received, secret)
        await _print_cost(console, ledger, view["job"])


async def _print_webhook(console: Console, received: list[Received], secret: str) -> None:
    signed = sum(is_signed(post.body, secret, post.signature, time.time()) for post in received)
    events = sum(len(post.events()) for post in received)
    console.print(f"\nWebhook: {len(received)} POSTs with {events} events, {signed} with a good signature.")


async def _print_cost(console: Console, ledger: Ledger, job: int) -> None:
    checks = sum(row.checks for row in await ledger.site_checks(job, 0))
    console.print(f"{checks} checks, each a task with one outcome.", highlight=False)


def print_next(console: Console, files: list[Path]) -> None:
    """Where the report is, and what to try next."""
    console.print("\n[bold]The report[/]")
    for path in files:
        console.print(f"  {path}", highlight=False, soft_wrap=True)
    console.print("\n[bold]Your own[/]")
    command = """bin/colony run website_monitor --no-wait --input '{"sites": ["https://example.com"]}'"""
    console.print(f"  {command}", highlight=False, soft_wrap=True, markup=False)
    console.print("\nThe stack stays up; `make down` ends it.")
