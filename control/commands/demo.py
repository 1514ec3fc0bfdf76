"""`colony demo`: from nothing to a report."""

from __future__ import annotations

import asyncio
import time

import typer
from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("demo")(demo)


def demo() -> None:
    """Start the stack, deploy 620 agents, analyse 1,000 real reviews, print the report and the addresses."""
    from control.commands.stack import start_stack  # these take a second to import
    from control.demo import demo as run_demo
    from control.demo import print_addresses
    from control.phases import Phases

    console = Console()
    started = time.monotonic()
    phases = Phases(console, total=4)
    with phases.phase("Starting the stack"):
        start_stack(console)
    files = asyncio.run(run_demo(phases, console))
    print_addresses(console, files)
    console.print(f"Demo done in {time.monotonic() - started:.1f} s.", style="bold green", highlight=False)
