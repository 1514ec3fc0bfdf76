"""`colony demo-content`: from nothing to twelve posts."""

from __future__ import annotations

import asyncio
import time

import typer
from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("demo-content")(demo_content)


def demo_content() -> None:
    """Start the stack, deploy 620 agents, write 12 posts from a small corpus, show one and the table of quality."""
    from control.commands.stack import start_stack  # these take a second to import
    from control.demo_content import demo_content as run_demo
    from control.demo_content import print_posts
    from control.phases import Phases

    console = Console()
    started = time.monotonic()
    phases = Phases(console, total=3)
    with phases.phase("Starting the stack"):
        start_stack(console)
    files = asyncio.run(run_demo(phases, console))
    print_posts(console, files)
    console.print(f"Demo done in {time.monotonic() - started:.1f} s.", style="bold green", highlight=False)
