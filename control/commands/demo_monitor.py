"""`colony demo-monitor`: watch sites that fail on a schedule."""

from __future__ import annotations

import asyncio
import os
import time

import typer
from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("demo-monitor")(demo_monitor)


def demo_monitor() -> None:
    """Start the stack, watch four little sites of this machine for half a minute, print alerts and the webhook."""
    from control.commands.stack import start_stack  # these take a second to import
    from control.demo_monitor import demo_monitor as run_demo
    from control.demo_monitor import print_next
    from control.demo_sites import allowed_targets_text
    from control.phases import Phases

    console = Console()
    started = time.monotonic()
    phases = Phases(console, total=4)
    # Sites on loopback are out of bounds unless listed: the stack of the demo lists those of the demo.
    os.environ.setdefault("COLONY_FETCH__ALLOW_PRIVATE", allowed_targets_text())
    with phases.phase("Starting the stack"):
        start_stack(console)
    files = asyncio.run(run_demo(phases, console))
    print_next(console, files)
    console.print(f"Demo done in {time.monotonic() - started:.1f} s.", style="bold green", highlight=False)
