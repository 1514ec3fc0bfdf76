"""The `colony` command: its groups, and the one place that turns errors into messages and exit codes."""

from __future__ import annotations

import logging
import sys

import structlog
import typer
from rich.console import Console

from colony.errors import ColonyError, DeadlineExceeded, Overloaded, Unavailable
from control.commands import (
    bench,
    config,
    dead_letters,
    demo,
    demo_content,
    demo_monitor,
    demo_website,
    deploy,
    fleet,
    jobs,
    llm,
    memory,
    messages,
    monitor,
    prune,
    retry,
    schedule,
    stack,
    steer,
    templates,
    why,
    worker,
)
from control.exit import NOT_NOW, WRONG, run_and_leave

COMMANDS = (
    stack,
    demo,
    demo_content,
    demo_monitor,
    demo_website,
    jobs,
    dead_letters,
    monitor,
    steer,
    schedule,
    messages,
    retry,
    why,
    templates,
    deploy,
    fleet,
    prune,
    llm,
    memory,
    config,
    worker,
    bench,
)
"""Modules with `register(app)`; they import what is heavy only when a command runs."""


def build_app() -> typer.Typer:
    """The whole command."""
    app = typer.Typer(
        name="colony",
        help="Durable, distributed runtime for AI agents on CPU machines.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # boxes around the help cost a third of a second at every start
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for module in COMMANDS:
        module.register(app)
    return app


def run_app(app: typer.Typer, name: str = "colony") -> None:
    """Run a command; an error of ours becomes a message with its remedy on standard error, never a traceback.

    Exit codes: 2 for what is wrong or refused, 3 for what may work later.
    """
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        app(prog_name=name)
    except ColonyError as error:
        console = Console(stderr=True, soft_wrap=True)
        console.print(error.message, style="bold red", markup=False, highlight=False)
        if error.remedy:
            console.print(error.remedy, markup=False, highlight=False)
        elif isinstance(error, Unavailable):
            console.print("Is the stack up? Look at `colony status`; `colony up` starts it.", highlight=False)
        sys.exit(NOT_NOW if isinstance(error, Unavailable | DeadlineExceeded | Overloaded) else WRONG)
    except KeyboardInterrupt:
        sys.exit(130)


def main() -> None:
    """Entry point."""
    run_and_leave(lambda: run_app(build_app()))
