"""`colony scale` and `deploy_agents.py`: one command under two names."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("scale")(scale)


def scale(
    count: Annotated[
        int | None, typer.Option(min=0, help="Agents in all, shared out by the counts of the configuration.")
    ] = None,
    types: Annotated[list[str] | None, typer.Option("--type", help="TYPE=COUNT, repeatable; exact.")] = None,
    config: Annotated[Path | None, typer.Option(help="Another agent_config.yaml.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Deploy or scale the fleet, then prove that every agent answers and passes."""
    from control import deploy  # the clients behind it take a second to import

    console = Console(stderr=True, quiet=True) if as_json else Console()
    done = asyncio.run(deploy.deploy(count, types or [], config, dry_run=dry_run, console=console))
    if as_json:
        print(deploy.as_json(done))  # noqa: T201 -- output of the command
    else:
        deploy.print_proof(console, done)


def main() -> None:
    """Run it as a program of its own."""
    from control.cli import run_app
    from control.exit import run_and_leave

    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(scale)
    run_and_leave(lambda: run_app(app, "deploy_agents.py"))
