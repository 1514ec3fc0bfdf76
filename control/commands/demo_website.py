"""`colony demo-website`: from a brief to a site."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("demo-website")(demo_website)


def demo_website(
    brief: Annotated[Path, typer.Argument(help="The brief (YAML).")] = Path("examples/brief.yaml"),
) -> None:
    """Start the stack, deploy 620 agents, build the site of a brief, print its checks and where it is."""
    from control.commands.stack import start_stack  # these take a second to import
    from control.demo_website import demo_website as run_demo
    from control.demo_website import print_where
    from control.phases import Phases

    console = Console()
    started = time.monotonic()
    phases = Phases(console, total=3)
    with phases.phase("Starting the stack"):
        start_stack(console)
    home = asyncio.run(run_demo(phases, console, brief))
    print_where(console, home)
    console.print(f"Demo done in {time.monotonic() - started:.1f} s.", style="bold green", highlight=False)
